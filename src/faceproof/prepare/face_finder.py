"""Where the faces in an image are, by scikit-image's cascade of local binary patterns.

The cascade is a file of scikit-image's wheel: nothing is fetched. It knows upright faces that look
at the camera, and takes much for a face that is none. So a find must be found again in the mirror
image, and then in a crop of itself that is searched more finely, there in both directions too.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from faceproof.errors import FaceproofError

MAX_FACES = 8
MARGIN = 0.3  # of a face's side, added on each side of it
# The shorter side is searched at no more than this: what is fine enough for a face of SMALLEST.
# Beyond it the search takes seconds, and most of what more it finds is texture.
SEARCHED_SIDE = 320
MAX_LONG = 4  # times as long as wide, at that side; what is longer is reduced further
SMALLEST = 0.1  # of the shorter side
WINDOW = 24  # the cascade's own, in pixels: it sees nothing smaller
# One look at the whole, coarse enough to take half a second; then a finer one at each find.
COARSE = {"scale_factor": 1.15, "step_ratio": 1.15, "min_neighbor_number": 1}
FINE = {"scale_factor": 1.1, "step_ratio": 1.0, "min_neighbor_number": 2}
SECOND_SIDE = 96  # of the crop for the second look, in pixels
SECOND_MARGIN = 0.4
SAME = 0.35  # intersection over union from which two boxes are the same face
OVERLAP = 0.3  # share of the smaller box from which only the larger one is kept

Pixels = npt.NDArray[np.uint8]


class Box(NamedTuple):
    """A rectangle in pixels; `right` and `bottom` are the first ones outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        """Return how many pixels it holds."""
        return max(0, self.right - self.left) * max(0, self.bottom - self.top)

    def common(self, other: "Box") -> int:
        """Return how many pixels it shares with another."""
        return Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        ).area


@lru_cache(maxsize=1)
def load_cascade() -> Any:
    """Return the cascade, which each process reads once.

    Raises:
        FaceproofError: scikit-image is not installed.
    """
    try:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade
    except ImportError as error:
        raise FaceproofError(
            "finding faces takes scikit-image, which is not installed: "
            "pip install 'faceproof[faces]'"
        ) from error
    file = lbp_frontal_face_cascade_filename()  # type: ignore[no-untyped-call]
    return Cascade(file)


def find_faces(image: Tensor, most: int = MAX_FACES, smallest: float = SMALLEST) -> list[Box]:
    """Find upright faces that look at the camera; the same image always gives the same boxes.

    Args:
        image: (3, H, W) uint8 RGB.
        most: of many faces, so many are returned.
        smallest: side of the smallest face to look for, as a share of the image's shorter side.

    Returns:
        Boxes of which none overlaps another by much, the largest first.

    Raises:
        FaceproofError: scikit-image is not installed, or an argument is out of range.
    """
    if most < 1 or not 0 < smallest <= 1:
        raise FaceproofError(
            f"most = {most} must be a count from 1 on, and smallest = {smallest} a share above 0 "
            "and up to 1"
        )
    height, width = image.shape[-2:]
    side = max(SEARCHED_SIDE, WINDOW / smallest)
    scale = min(1.0, side / min(height, width), math.sqrt(MAX_LONG * side**2 / (height * width)))
    pixels = _pixels(image, scale)
    shorter = min(pixels.shape[:2])
    finds = _in_both(pixels, max(WINDOW, round(smallest * shorter)), COARSE)
    sure = _largest(finds, most, lambda box: _holds(pixels, box))
    return [_enlarge(box, scale, width, height) for box in sure]


def crop(image: Tensor, box: Box, margin: float = MARGIN) -> Tensor:
    """Cut a square around a face out of an image.

    At a border the square is moved inwards, and where the image is too small it shrinks to the
    image's shorter side; it is never filled up, and never distorted.

    Args:
        image: (3, H, W) uint8.
        box: the face.
        margin: what is added on each side, as a share of the box's longer side.

    Returns:
        (3, S, S) uint8.
    """
    height, width = image.shape[-2:]
    longer = max(box.right - box.left, box.bottom - box.top)
    side = max(1, min(round(longer * (1 + 2 * margin)), height, width))
    left = _inside((box.left + box.right - side) // 2, side, width)
    top = _inside((box.top + box.bottom - side) // 2, side, height)
    return image[:, top : top + side, left : left + side]


def _inside(start: int, side: int, length: int) -> int:
    """Move an interval into [0, length)."""
    return max(0, min(start, length - side))


def _pixels(image: Tensor, scale: float) -> Pixels:
    """Return (3, H, W) as (H, W, 3), reduced."""
    if scale < 1:
        size = [max(1, round(scale * side)) for side in image.shape[-2:]]
        image = F.resize(image, size, antialias=True)
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def _detect(pixels: Pixels, smallest: int, look: dict[str, Any]) -> list[Box]:
    """Return what the cascade alone takes for faces in (H, W, 3)."""
    largest = min(pixels.shape[:2])
    if largest < smallest:
        return []
    sizes = {"min_size": (smallest, smallest), "max_size": (largest, largest)}
    found = load_cascade().detect_multi_scale(pixels, **sizes, **look)
    return [
        Box(
            int(one["c"]),
            int(one["r"]),
            int(one["c"] + one["width"]),
            int(one["r"] + one["height"]),
        )
        for one in found
    ]


def _in_both(pixels: Pixels, smallest: int, look: dict[str, Any]) -> list[Box]:
    """Return what is found in an image and at the same place in its mirror image."""
    found = _detect(pixels, smallest, look)
    if not found:
        return []
    width = pixels.shape[1]
    mirrored = _detect(np.ascontiguousarray(pixels[:, ::-1]), smallest, look)
    back = [Box(width - box.right, box.top, width - box.left, box.bottom) for box in mirrored]
    return [box for box in found if any(_same(box, other) for other in back)]


def _holds(pixels: Pixels, box: Box) -> bool:
    """Look a second time, at a crop that shows the face at the size the cascade likes."""
    side = box.right - box.left
    around = round(SECOND_MARGIN * side)
    padded = np.pad(pixels, ((around, around), (around, around), (0, 0)), "edge")
    part = padded[box.top : box.bottom + 2 * around, box.left : box.right + 2 * around]
    fitted = F.resize(
        torch.from_numpy(part.copy()).permute(2, 0, 1), [SECOND_SIDE, SECOND_SIDE], antialias=True
    )
    scale = SECOND_SIDE / part.shape[0]
    near, far = round(around * scale), round((around + side) * scale)
    wanted = Box(near, near, far, far)
    again = _in_both(_pixels(fitted, 1.0), WINDOW, FINE)
    return any(_same(wanted, other) for other in again)


def _same(one: Box, other: Box) -> bool:
    common = one.common(other)
    return common >= SAME * (one.area + other.area - common)


def _largest(boxes: list[Box], most: int, holds: Callable[[Box], bool]) -> list[Box]:
    """Keep what holds, and the largest of what overlaps; order by size, then place.

    `holds` takes its time: it is asked only of a box that would be kept, and no more often once
    there are enough.
    """
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda box: (-box.area, box)):
        if len(kept) == most:
            break
        if all(box.common(other) < OVERLAP * box.area for other in kept) and holds(box):
            kept.append(box)
    return kept


def _enlarge(box: Box, scale: float, width: int, height: int) -> Box:
    """Return a box of a reduced image in pixels of the whole one."""
    left, top, right, bottom = (round(place / scale) for place in box)
    return Box(left, top, min(right, width), min(bottom, height))
