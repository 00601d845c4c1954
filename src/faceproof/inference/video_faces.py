"""Judges a video by the faces in it: each face that is followed through it is judged by itself.

The video is called what its face with the highest probability of the positive class is called, as
an image is; one unlike the training images decides only where no other is called positive. A face
must be seen in three frames, or a tenth of them if that is fewer, to decide.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from faceproof.data.image_io import thumbnail
from faceproof.data.model_input import Fit
from faceproof.inference.faces import FaceOptions, choose_face
from faceproof.inference.predictor import Predictor, fit_all, stack_fitted
from faceproof.inference.verdicts import Fitted
from faceproof.inference.video import THUMBNAIL, Clip
from faceproof.inference.video_verdict import VideoVerdict, judge_clip
from faceproof.prepare.boxes import Box
from faceproof.prepare.cropping import cut_as_stored
from faceproof.prepare.detectors import load_detector
from faceproof.prepare.finding import find_in_frames
from faceproof.prepare.tracks import Tracker
from faceproof.prepare.video import (
    UNBOUNDED,
    Bounds,
    PresentFrames,
    UnreadableVideoError,
    open_video,
)
from faceproof.words import counted

RULE = (
    "one on the face with the highest probability of the positive class (one unlike the training "
    "images only where no other is called positive)"
)

# Frames in which a face must be seen to decide: so many, or such a share if that is fewer.
MIN_SEEN, MIN_SHARE = 3, 0.1
DASH = "-"


@dataclass(frozen=True)
class FacesClip:
    """The faces of a video.

    Attributes:
        seconds: duration by the file's own header.
        wanted: how many different frames were to be read.
        num_frames: how many could be read.
        tracks: the crops of each face over its frames, that of the most pixels first.
        whole: the frames as they are, where no face is found and they shall be judged then.
    """

    seconds: float
    wanted: int
    num_frames: int
    tracks: Sequence[Clip]
    whole: Clip | None = None


@dataclass(frozen=True)
class FacesVideoVerdict:
    """The verdict on a video by its faces.

    Attributes:
        video: the verdict on the face that decides, or on the whole frames.
        tracks: the verdicts on the faces, that of the most pixels first.
        num_frames: how many frames were looked at.
        wanted: how many were to be.
    """

    video: VideoVerdict
    tracks: Sequence[VideoVerdict]
    num_frames: int
    wanted: int

    @property
    def summary(self) -> str | None:
        """Return what should be known about the faces and their frames."""
        cut = None
        if self.num_frames < self.wanted:
            read = f"only {self.num_frames} of the {self.wanted} wanted frames could be read"
            cut = f"{read}: the file is cut off or damaged"
        if not self.tracks:
            return self.video.summary or cut
        each = [
            DASH if one.probability is None else f"{one.probability:.3f}" for one in self.tracks
        ]
        faces = counted(len(self.tracks), "face")
        listed = f" ({', '.join(each)})" if len(each) > 1 else ""
        seen = (
            f"{faces}{listed}, the deciding one in {len(self.video.frames)} of {self.num_frames} "
            "frames"
        )
        return "; ".join(filter(None, (seen, self.video.summary, cut)))

    def deciding_clip(self, clip: FacesClip) -> Clip | None:
        """Return the frames that decide: of one face, or whole ones; None without a face."""
        for one, track in zip(clip.tracks, self.tracks, strict=True):
            if track is self.video:
                return one
        return clip.whole

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain values, with those on its faces."""
        return {
            **self.video.to_json(),
            **({"rule": f"{RULE}: {self.video.rule}"} if self.tracks else {}),
            "note": self.summary,
            "frames_wanted": self.wanted,
            "frames_read": self.num_frames,
            "tracks": [track.to_json() for track in self.tracks],
        }


class _Track:
    """What is gathered of one face."""

    def __init__(self) -> None:
        self.area = 0
        self.times: list[float] = []
        self.fitted: list[Fitted] = []
        self.thumbnails: list[Any] = []

    def add(self, time: float, crop: Tensor, fits: Sequence[Fit], box: Box) -> None:
        self.area += box.area
        self.times.append(time)
        self.fitted.append(fit_all(crop, fits))
        self.thumbnails.append(thumbnail(crop.numpy(), THUMBNAIL))

    def clip(self, seconds: float) -> Clip:
        fitted = stack_fitted(self.fitted)
        return Clip(seconds, len(self.times), self.times, fitted, self.thumbnails)


def read_faces(
    source: str | Path | BinaryIO,
    fits: Sequence[Fit],
    num_frames: int,
    options: FaceOptions,
    bounds: Bounds = UNBOUNDED,
) -> FacesClip:
    """Read evenly spaced frames of a video, and cut out the faces in them.

    Raises:
        UnknownVideoError: the file is no video, or PyAV is not installed.
        UnreadableVideoError: no frame can be read.
        TooManyPixelsError: the frames are larger than `bounds` allows.
        TimeoutError: reading takes longer than `bounds` allows.
    """
    tracker, whole = Tracker(), _Track()
    tracks: dict[int, _Track] = {}
    detector = load_detector(options.crop.detector)
    with open_video(source, bounds) as video:
        frames = PresentFrames(video.evenly(num_frames))
        for frame, found, numbers in find_in_frames(frames, detector, options.crop, tracker):
            for face, number in zip(found.faces, numbers, strict=True):
                crop = torch.from_numpy(cut_as_stored(frame.image, face, options.crop))
                tracks.setdefault(number, _Track()).add(frame.time, crop, fits, face.box)
            if options.whole_if_none and not tracks:
                height, width = frame.image.shape[1:]
                everything = Box(0, 0, width, height)
                whole.add(frame.time, torch.from_numpy(frame.image), fits, everything)
        seconds = video.seconds
    if not frames.present:
        raise UnreadableVideoError("no frame of the video can be read")
    largest = sorted(tracks.values(), key=lambda track: -track.area)[: options.most]
    clips = [track.clip(seconds) for track in largest]
    judged_whole = whole.clip(seconds) if options.whole_if_none and not clips else None
    return FacesClip(seconds, frames.present + frames.lost, frames.present, clips, judged_whole)


def judge_video_faces(
    predictor: Predictor, clip: FacesClip, batch_size: int = 8
) -> FacesVideoVerdict:
    """Return the verdict on a video by its faces."""
    if clip.whole is not None:
        said = judge_clip(predictor, clip.whole, batch_size)
        return FacesVideoVerdict(said, (), clip.num_frames, clip.wanted)
    tracks = [judge_clip(predictor, one, batch_size) for one in clip.tracks]
    # A wrong find is seen in few frames, and would decide as surely as a face.
    enough = min(MIN_SEEN, math.ceil(MIN_SHARE * clip.num_frames))
    seen = [one for one in tracks if len(one.frames) >= enough] or tracks
    chosen = choose_face(seen, predictor.task.positive)
    if chosen is None:
        nothing = Clip(clip.seconds, 0, [], {}, [])
        chosen = tracks[0] if tracks else judge_clip(predictor, nothing)
    return FacesVideoVerdict(chosen, tuple(tracks), clip.num_frames, clip.wanted)
