"""Turns a face upright: the similarity transform that lays its landmarks onto a template.

The template is the one that face recognition has used since SphereFace (Liu et al., CVPR 2017):
where the five landmarks of an average face lie, as shares of a square around it.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from faceproof.data.image_io import Pixels
from faceproof.prepare.face import Landmarks

# Left eye, right eye, nose, left and right corner of the mouth, in a square of 112 pixels.
TEMPLATE = (
    np.array(
        [
            (38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366),
            (41.5493, 92.3655), (70.7299, 92.2041),
        ]
    )
    / 112
)  # fmt: skip


@dataclass(frozen=True)
class Similarity:
    """A turn, a scale and a shift: x' = a x - b y + c, y' = b x + a y + d."""

    a: float
    b: float
    c: float
    d: float

    @property
    def scale(self) -> float:
        """By how much it enlarges."""
        return math.hypot(self.a, self.b)


def similarity(sources: Landmarks, targets: npt.ArrayLike) -> Similarity:
    """Return the similarity transform that brings points nearest to others, by least squares.

    After Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns" (1991); mirror images are not allowed, and `sources` must not all be one point.
    """
    here, there = np.asarray(sources, np.float64), np.asarray(targets, np.float64)
    middle, aim = here.mean(0), there.mean(0)
    x, y = (here - middle).T
    u, v = (there - aim).T
    total = float((x * x + y * y).sum())
    a, b = float((x * u + y * v).sum()) / total, float((x * v - y * u).sum()) / total
    c = float(aim[0] - a * middle[0] + b * middle[1])
    return Similarity(a, b, c, float(aim[1] - b * middle[0] - a * middle[1]))


def template_side(points: Landmarks) -> float:
    """Return the side of the square around a face by its landmarks, in pixels; 0 for one point."""
    if len(set(points)) < 2:
        return 0.0
    scale = similarity(points, TEMPLATE).scale
    return 1 / scale if scale > 0 else 0.0


def framed_template(margin: float) -> npt.NDArray[np.float64]:
    """Return where the landmarks lie in an aligned crop, (5, 2), as shares of its side."""
    return np.asarray((TEMPLATE - 0.5) / (1 + 2 * margin) + 0.5)


def aligned(image: Pixels, points: Landmarks, margin: float) -> Pixels:
    """Cut out a face, turned upright, at the size at which it is in the image.

    Beyond the image's border the nearest pixel of it is repeated.

    Args:
        image: (3, H, W) uint8.
        points: the five landmarks of the face.
        margin: what is added on each side of the template's square, as a share of its side.

    Returns:
        (3, S, S) uint8, resampled by cubic interpolation.
    """
    framed = framed_template(margin)
    # No larger than the image: what is beyond its border is repeated.
    side = max(1, min(round(1 / similarity(points, framed).scale), max(image.shape[1:])))
    there = similarity(points, framed * side)
    # Pillow asks where in the image each pixel of the result lies.
    norm = there.scale**2
    a, b = there.a / norm, -there.b / norm
    c = -(a * there.c - b * there.d)
    d = -(b * there.c + a * there.d)
    corners = np.array([(0, 0), (side, 0), (0, side), (side, side)])
    xs, ys = a * corners[:, 0] - b * corners[:, 1] + c, b * corners[:, 0] + a * corners[:, 1] + d
    part, left, top = _with_border(image, xs, ys)
    # Rounded: what is a whole pixel but for the last digits must not be interpolated.
    places = [round(value, 9) for value in (a, -b, c - left, b, a, d - top)]
    flat = Image.fromarray(np.ascontiguousarray(part.transpose(1, 2, 0)))
    turned = flat.transform((side, side), Image.Transform.AFFINE, places, Image.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(turned).transpose(2, 0, 1))


def _with_border(
    image: Pixels, xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64]
) -> tuple[Pixels, int, int]:
    """Return the part of an image that holds some points, its border repeated where they lie out.

    With it come the place of its left upper corner in the image, x and y.
    """
    height, width = image.shape[1:]
    spare = 3  # pixels that cubic interpolation looks at
    left, right = math.floor(xs.min()) - spare, math.ceil(xs.max()) + spare
    top, bottom = math.floor(ys.min()) - spare, math.ceil(ys.max()) + spare
    rows = np.clip(np.arange(top, bottom), 0, height - 1)
    columns = np.clip(np.arange(left, right), 0, width - 1)
    return image[:, rows[:, None], columns[None]], left, top
