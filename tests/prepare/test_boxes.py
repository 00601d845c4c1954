"""The square that is cut out around a face."""

import numpy as np
import pytest

from faceproof.prepare.boxes import Box, crop


def numbered(height, width):
    """Return an image whose pixels tell where they come from: row, column, 0."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, 0 * rows]).astype(np.uint8)


@pytest.mark.parametrize(
    ("box", "top_left", "side"),
    [
        (Box(40, 50, 60, 70), (44, 34), 32),  # in the middle: 20 and 0.3 of it on each side
        (Box(0, 0, 20, 20), (0, 0), 32),  # moved inwards at the corner
        (Box(80, 100, 100, 120), (88, 68), 32),
        (Box(10, 10, 90, 90), (0, 0), 100),  # no more than the shorter side
        (Box(40, 50, 50, 70), (44, 29), 32),  # the longer side counts
    ],
)
def test_a_crop_is_a_square_inside_the_image(box, top_left, side):
    part = crop(numbered(120, 100), box, 0.3)
    assert part.shape == (3, side, side)
    assert tuple(part[:2, 0, 0].tolist()) == top_left
    assert part[0, -1, -1] == top_left[0] + side - 1
    assert part[1, -1, -1] == top_left[1] + side - 1


def test_a_crop_without_margin_is_the_box():
    part = crop(numbered(120, 100), Box(40, 50, 60, 70), margin=0.0)
    assert np.array_equal(part, numbered(120, 100)[:, 50:70, 40:60])


def test_the_overlap_of_boxes_is_a_share():
    box = Box(0, 0, 10, 10)
    assert box.overlap(box) == 1
    assert box.overlap(Box(5, 0, 15, 10)) == 50 / 150
    assert box.overlap(Box(10, 10, 20, 20)) == 0
