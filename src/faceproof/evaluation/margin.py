"""The margin of a comparison; the command's settings read it, and import nothing heavy."""

MARGIN = 0.01  # of ROC-AUC: what is surely behind by less is called as good as the best
