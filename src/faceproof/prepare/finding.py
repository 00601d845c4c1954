"""Finds the faces in frames of a video, batch by batch, and follows them from frame to frame."""

import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from faceproof.data.image_io import Pixels
from faceproof.errors import FaceproofError
from faceproof.prepare.boxes import Box
from faceproof.prepare.cropping import CropConfig
from faceproof.prepare.face import Face, FaceDetector
from faceproof.prepare.tracks import Tracker
from faceproof.prepare.video import Frame

FRAMES_AT_ONCE = 4  # decoded, in memory; a batch of the detector


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
    return _good(checked(detector([image]), 1, detector)[0], config)


def find_in_frames(
    frames: Iterable[Frame], detector: FaceDetector, config: CropConfig, tracker: Tracker
) -> Iterator[FramesFaces]:
    """Yield the frames of one video with their faces; few frames are held at a time."""
    coming, number = iter(frames), 0
    while some := list(islice(coming, FRAMES_AT_ONCE)):
        answer = checked(detector([one.image for one in some]), len(some), detector)
        for frame, faces in zip(some, answer, strict=True):
            found = _good(faces, config)
            yield FramesFaces(frame, found, tracker.update(number, frame.image, found.faces))
            number += 1


def checked(answer: Any, num_images: int, detector: FaceDetector) -> list[list[Face]]:
    """Return what a detector found, as whole and finite numbers.

    Raises:
        FaceproofError: it is no list of faces for each image.
    """
    try:
        found = [[_plain(face) for face in faces] for faces in answer]
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FaceproofError(
            f"the face detector {detector.name} gave what are no faces ({error}); it returns a "
            "list of faceproof.prepare.face.Face for each image"
        ) from error
    if len(found) != num_images:
        raise FaceproofError(
            f"the face detector {detector.name} gave {len(found)} lists of faces for {num_images} "
            "images; it returns one for each"
        )
    return found


def _plain(face: Face) -> Face:
    box = Box(*(round(float(place)) for place in face.box))
    landmarks = tuple((float(x), float(y)) for x, y in face.landmarks)
    score = float(face.score)
    if not all(map(math.isfinite, (score, *(place for point in landmarks for place in point)))):
        raise ValueError("a number is not finite")
    return Face(box, score, landmarks)


def _good(faces: Iterable[Face], config: CropConfig) -> FoundFaces:
    every = sorted(faces, key=lambda face: (-face.box.area, face.box))
    good = [face for face in every if config.takes(face)]
    return FoundFaces(good, len(every) - len(good))
