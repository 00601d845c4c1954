"""The face detector: where the faces in an image are.

`find_faces` is the only way by which the rest of the package finds faces. It uses scikit-image's
cascade of local binary patterns, a file of scikit-image's wheel, so nothing is downloaded. The
cascade finds upright faces that look at the camera, and has many false positives. So a detection
counts only if it is found again in the mirror image, and then in an enlarged crop of itself that is
searched more finely, and in the mirror image of that crop.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from faceproof.errors import FaceproofError
from faceproof.prepare.boxes import Box

MAX_FACES = 8
# The image is reduced until its shorter side has this many pixels, which is fine enough for a face
# of SMALLEST. In a larger image the search takes seconds, and most of what it finds is texture.
SEARCHED_SIDE = 320
MAX_LONG = 4  # aspect ratio at that side; a longer image is reduced further
SMALLEST = 0.1  # of the shorter side
WINDOW = 24  # pixels; the cascade finds nothing smaller
# The whole image is searched coarsely, in about half a second, and each detection finely.
COARSE = {"scale_factor": 1.15, "step_ratio": 1.15, "min_neighbor_number": 1}
FINE = {"scale_factor": 1.1, "step_ratio": 1.0, "min_neighbor_number": 2}
SECOND_SIDE = 96  # pixels; of the crop for the second, finer search
SECOND_MARGIN = 0.4
SAME = 0.35  # intersection over union from which two boxes are the same face
OVERLAP = 0.3  # share of the smaller box from which only the larger one counts

Pixels = npt.NDArray[np.uint8]


@lru_cache(maxsize=1)
def load_detector() -> Any:
    """Return the cascade; each process reads it once."""
    try:
        from skimage.data import lbp_frontal_face_cascade_filename
        from skimage.feature import Cascade
    except ImportError as error:
        raise FaceproofError(
            "finding faces needs scikit-image, which is not installed: "
            "pip install 'faceproof[faces]'"
        ) from error
    return Cascade(lbp_frontal_face_cascade_filename())  # type: ignore[no-untyped-call]


def find_faces(image: Tensor, most: int = MAX_FACES, smallest: float = SMALLEST) -> list[Box]:
    """Find upright faces that look at the camera; the same image always gives the same boxes.

    Args:
        image: (3, H, W) uint8 RGB.
        most: how many boxes are returned at most, the largest first; they do not overlap much.
        smallest: side of the smallest face to look for, as a share of the image's shorter side.
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
    found = _in_both(pixels, max(WINDOW, round(smallest * shorter)), COARSE)
    faces = _largest(found, most, lambda box: _confirmed(pixels, box))
    return [_enlarge(box, scale, width, height) for box in faces]


def _pixels(image: Tensor, scale: float) -> Pixels:
    """Return (3, H, W) as (H, W, 3), reduced."""
    if scale < 1:
        size = [max(1, round(scale * side)) for side in image.shape[-2:]]
        image = F.resize(image, size, antialias=True)
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def _detect(pixels: Pixels, smallest: int, search: dict[str, Any]) -> list[Box]:
    largest = min(pixels.shape[:2])
    if largest < smallest:
        return []
    sizes = {"min_size": (smallest, smallest), "max_size": (largest, largest)}
    found = load_detector().detect_multi_scale(pixels, **sizes, **search)
    corners = [(one["c"], one["r"], one["width"], one["height"]) for one in found]
    return [Box(int(c), int(r), int(c + width), int(r + height)) for c, r, width, height in corners]


def _in_both(pixels: Pixels, smallest: int, search: dict[str, Any]) -> list[Box]:
    """Return the detections in an image that are also found in its mirror image."""
    found = _detect(pixels, smallest, search)
    if not found:
        return []
    width = pixels.shape[1]
    mirrored = _detect(np.ascontiguousarray(pixels[:, ::-1]), smallest, search)
    back = [Box(width - box.right, box.top, width - box.left, box.bottom) for box in mirrored]
    return [box for box in found if any(_same(box, other) for other in back)]


def _confirmed(pixels: Pixels, box: Box) -> bool:
    """Search a second time, in a crop that shows the face at the size the cascade finds best."""
    side = box.right - box.left
    around = round(SECOND_MARGIN * side)
    padded = np.pad(pixels, ((around, around), (around, around), (0, 0)), "edge")
    part = padded[box.top : box.bottom + 2 * around, box.left : box.right + 2 * around]
    tensor = torch.from_numpy(part.copy()).permute(2, 0, 1)
    fitted = F.resize(tensor, [SECOND_SIDE, SECOND_SIDE], antialias=True)
    scale = SECOND_SIDE / part.shape[0]
    near, far = round(around * scale), round((around + side) * scale)
    wanted = Box(near, near, far, far)
    again = _in_both(_pixels(fitted, 1.0), WINDOW, FINE)
    return any(_same(wanted, other) for other in again)


def _same(one: Box, other: Box) -> bool:
    common = one.common(other)
    return common >= SAME * (one.area + other.area - common)


def _largest(boxes: list[Box], most: int, confirmed: Callable[[Box], bool]) -> list[Box]:
    """Return the confirmed boxes, of overlapping ones the largest, by size and then by place."""
    chosen: list[Box] = []
    for box in sorted(boxes, key=lambda box: (-box.area, box)):
        if len(chosen) == most:
            break
        # `confirmed` is slow, so it comes last.
        if all(box.common(other) < OVERLAP * box.area for other in chosen) and confirmed(box):
            chosen.append(box)
    return chosen


def _enlarge(box: Box, scale: float, width: int, height: int) -> Box:
    """Return a box of a reduced image in pixels of the whole one."""
    left, top, right, bottom = (round(place / scale) for place in box)
    return Box(left, top, min(right, width), min(bottom, height))
