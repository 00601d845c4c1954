"""What the draws of a training image are of: the number that stands in their seed.

Draws of two kinds must not be the same numbers, so that all kinds stand here.
"""

OF_ROW, OF_PAIR = 0, 1  # of a row of the image table, or of its pair: damage and crops
OF_CROPS = 2  # where a crop lies
OF_SYNTHESIS = 3  # what a pseudo-fake is
