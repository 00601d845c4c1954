"""Rectangles around faces, and the square that is cut out around one."""

from typing import NamedTuple

from faceproof.data.image_io import Pixels


class Box(NamedTuple):
    """A rectangle in pixels; `right` and `bottom` are the first ones outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        """Return the number of pixels inside."""
        return max(0, self.right - self.left) * max(0, self.bottom - self.top)

    def common(self, other: "Box") -> int:
        """Return the number of pixels that lie in both boxes."""
        return Box(
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        ).area

    def overlap(self, other: "Box") -> float:
        """Return the intersection over the union of both, from 0 to 1."""
        common = self.common(other)
        return common / max(self.area + other.area - common, 1)


def square_around(box: Box, margin: float, height: int, width: int) -> tuple[int, int, int]:
    """Return left, top and side of the square around a face in an image of that size.

    At a border the square is moved inwards, and in an image that is too small it shrinks to the
    image's shorter side.
    """
    longer = max(box.right - box.left, box.bottom - box.top)
    side = max(1, min(round(longer * (1 + 2 * margin)), height, width))
    left = _inside((box.left + box.right - side) // 2, side, width)
    return left, _inside((box.top + box.bottom - side) // 2, side, height), side


def crop(image: Pixels, box: Box, margin: float) -> Pixels:
    """Cut a square around a face out of an image; nothing is padded or distorted.

    Args:
        image: (3, H, W) uint8, of which (3, S, S) are returned, as a view.
        box: the face.
        margin: what is added on each side, as a share of the box's longer side.
    """
    left, top, side = square_around(box, margin, *image.shape[-2:])
    return image[:, top : top + side, left : left + side]


def _inside(start: int, side: int, length: int) -> int:
    """Move an interval into [0, length)."""
    return max(0, min(start, length - side))
