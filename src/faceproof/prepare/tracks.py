"""Follows faces through a video: the same face over frames is one track, another face a second.

Between two frames a face is the same if its box lies where it lay, and looks alike; or if it looks
much alike, wherever it lies, so that a cut to another scene and back does not make two of one. What
a face looks like is its image of 24 pixels, turned upright by its landmarks. Nothing here knows who
people are: somebody who comes back turned or lit otherwise is another track.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from faceproof.data.image_io import Pixels
from faceproof.data.image_statistics import resized
from faceproof.prepare.alignment import aligned
from faceproof.prepare.boxes import Box, crop
from faceproof.prepare.cropping import is_alignable
from faceproof.prepare.face import Face

LOOK_SIDE = 24  # pixels
SAME_PLACE = 0.3  # intersection over union of two boxes of one face, in frames that follow
# Correlation of the looks of one face, in one place and in another. Of photographs of different
# people 1 % are more alike than 0.7 to 0.8, and of one face found twice 5 % less than 0.75.
ALIKE_HERE, ALIKE_ANYWHERE = 0.5, 0.75
MOST_KNOWN = 64  # tracks that were seen last, among which a face is looked for
MIN_SIZES = 0.5  # ratio of the sizes of a face in one place, in two frames

Look = npt.NDArray[np.float32]


@dataclass
class Track:
    """A face over frames.

    Attributes:
        number: from 0, in the order in which the faces appear.
        frames: numbers of the frames in which it was found, rising.
        boxes: where it was, in each of them.
    """

    number: int
    look: Look
    frames: list[int] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)

    @property
    def area(self) -> int:
        """The pixels of all its boxes."""
        return sum(box.area for box in self.boxes)

    @property
    def movement(self) -> float:
        """How far it moves from one frame to the next at the median, as a share of its size."""
        places = np.array([(b.left + b.right, b.top + b.bottom) for b in self.boxes]) / 2
        sizes = np.array([max(b.right - b.left, b.bottom - b.top) for b in self.boxes])
        if len(places) < 2:
            return 0.0
        steps = np.hypot(*np.diff(places, axis=0).T)
        return float(np.median(steps / np.maximum(sizes[1:], 1)))


class Tracker:
    """Gives each face of the frames of one video, in their order, the number of its track."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []

    def update(self, frame: int, image: Pixels, faces: Sequence[Face]) -> list[int]:
        """Return the number of the track of each face of a frame.

        Args:
            frame: its number.
            image: (3, H, W) uint8.
            faces: those found in it.
        """
        looks = [look_of(image, face) for face in faces]
        known = sorted(self.tracks, key=lambda track: -track.frames[-1])[:MOST_KNOWN]
        scores = np.array(
            [
                [_likeness(track, frame, face.box, look) for track in known]
                for face, look in zip(faces, looks, strict=True)
            ]
        ).reshape(len(faces), len(known))
        chosen: dict[int, Track] = {}
        for here, there in zip(*linear_sum_assignment(scores, maximize=True), strict=True):
            if scores[here, there] > 0:
                chosen[int(here)] = known[there]
        numbers = []
        for place, (face, look) in enumerate(zip(faces, looks, strict=True)):
            if place not in chosen:
                chosen[place] = Track(len(self.tracks), look)
                self.tracks.append(chosen[place])
            track = chosen[place]
            track.look = look
            track.frames.append(frame)
            track.boxes.append(face.box)
            numbers.append(track.number)
        return numbers


def look_of(image: Pixels, face: Face) -> Look:
    """Return the small image of a face, of mean 0 and norm 1, (3 * 24 * 24,)."""
    alignable = is_alignable(face)
    pixels = aligned(image, face.landmarks, 0.0) if alignable else crop(image, face.box, 0.0)
    small = [resized(channel, LOOK_SIDE) for channel in pixels.astype(np.float32)]
    values = np.stack(small).ravel()
    centred = values - values.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-6), np.float32)


def _likeness(track: Track, frame: int, box: Box, look: Look) -> float:
    """Return how surely a face of a frame continues a track; 0 if it does not."""
    alike = float(track.look @ look)
    before = track.boxes[-1]
    sizes = min(before.area, box.area) / max(before.area, box.area, 1)
    if track.frames[-1] == frame - 1 and sizes >= MIN_SIZES**2:
        overlap = before.overlap(box)
        if overlap >= SAME_PLACE and alike >= ALIKE_HERE:
            return 1 + overlap + alike
    return alike if alike >= ALIKE_ANYWHERE else 0.0


def largest_track(tracks: Sequence[Track]) -> Track:
    """Return the track with the most pixels over all frames; of equal ones the first."""
    return max(tracks, key=lambda track: (track.area, -track.number))


def steadiest_track(tracks: Sequence[Track]) -> Track:
    """Return the track that moves least between frames, of those at least half as long as any."""
    longest = max(len(track.frames) for track in tracks)
    long = [track for track in tracks if 2 * len(track.frames) >= longest]
    return min(long, key=lambda track: (track.movement, -track.area, track.number))
