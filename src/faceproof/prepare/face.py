"""A face that was found in an image, and what every face detector gives and takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from faceproof.data.image_io import Pixels
from faceproof.prepare.boxes import Box

NUM_LANDMARKS = 5
Landmarks = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Face:
    """A face in an image.

    Attributes:
        box: around forehead, chin and cheeks, in pixels; it may reach beyond the image.
        score: how sure the detector is, from 0 to 1.
        landmarks: x and y of the five landmarks in pixels: the eyes, the tip of the nose and the
            corners of the mouth, each time the one on the left of the image first; empty where the
            detector finds none.
    """

    box: Box
    score: float
    landmarks: Landmarks = ()

    @property
    def has_landmarks(self) -> bool:
        """Whether it has the five landmarks."""
        return len(self.landmarks) == NUM_LANDMARKS

    @property
    def size(self) -> int:
        """The longer side of its box, in pixels."""
        return max(self.box.right - self.box.left, self.box.bottom - self.box.top)

    def share_inside(self, height: int, width: int) -> float:
        """Return the share of its box that lies inside an image of that size."""
        return self.box.common(Box(0, 0, width, height)) / max(self.box.area, 1)


class FaceDetector(Protocol):
    """What finds faces; of one's own, a class without arguments that has these.

    Several threads of a process call it at the same time.
    """

    name: str
    version: str  # of its code and weights: another one may find other boxes

    def __call__(self, images: Sequence[Pixels]) -> list[list[Face]]:
        """Find the faces in images of one size, (3, H, W) uint8 RGB each, in any order."""
