"""Finds the faces in frames of a video, batch by batch, and follows them from frame to frame."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from faceproof.data.image_io import Pixels
from faceproof.prepare.cropping import CropConfig
from faceproof.prepare.face import Face, FaceDetector
from faceproof.prepare.tracks import Tracker
from faceproof.prepare.video import Frame

FRAMES_AT_ONCE = 16  # decoded, in memory; a batch of the detector


class FoundFaces(NamedTuple):
    """The faces in an image, the largest first.

    Attributes:
        faces: those that are good enough to be cut out.
        rejected: how many more the detector has found, which are too small or unsure.
    """

    faces: list[Face]
    rejected: int


class FramesFaces(NamedTuple):
    """A frame with the faces in it, and the number of each one's track."""

    frame: Frame
    found: FoundFaces
    tracks: list[int]


def find_faces(image: Pixels, detector: FaceDetector, config: CropConfig) -> FoundFaces:
    """Find the faces in an image, (3, H, W) uint8 RGB."""
    return _good(detector([image])[0], config)


def find_in_frames(
    frames: Iterable[Frame], detector: FaceDetector, config: CropConfig, tracker: Tracker
) -> Iterator[FramesFaces]:
    """Yield the frames of one video with their faces; few frames are held at a time."""
    coming, number = iter(frames), 0
    while some := list(islice(coming, FRAMES_AT_ONCE)):
        for frame, faces in zip(some, detector([one.image for one in some]), strict=True):
            found = _good(faces, config)
            yield FramesFaces(frame, found, tracker.update(number, frame.image, found.faces))
            number += 1


def _good(faces: Iterable[Face], config: CropConfig) -> FoundFaces:
    every = sorted(faces, key=lambda face: (-face.box.area, face.box))
    good = [face for face in every if config.takes(face)]
    return FoundFaces(good, len(every) - len(good))
