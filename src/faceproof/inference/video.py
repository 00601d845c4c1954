"""Reads what is judged of a video: evenly spaced frames, resized or cropped for the networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from PIL import Image
from torch import Tensor

from faceproof.data.image_io import thumbnail
from faceproof.data.model_input import Fit, fit_image
from faceproof.inference.verdicts import Fitted
from faceproof.prepare.video import UNBOUNDED, Bounds, UnreadableVideoError, open_video

NUM_FRAMES = 32
THUMBNAIL = 200  # pixels, the longer side


@dataclass(frozen=True)
class Clip:
    """Frames of a video.

    Attributes:
        seconds: duration by the file's own header.
        wanted: how many different frames were to be read; fewer than the caller asked for if the
            video has no more.
        times: of the frames that could be read, in seconds from the start, rising.
        fitted: the frames as the networks want them, F in the place of B in `Fitted`.
        thumbnails: of the frames, the longer side 200 pixels or less.
    """

    seconds: float
    wanted: int
    times: list[float]
    fitted: Fitted
    thumbnails: list[Image.Image]


def read_clip(
    source: str | Path | BinaryIO,
    fits: Sequence[Fit],
    num_frames: int = NUM_FRAMES,
    bounds: Bounds = UNBOUNDED,
) -> Clip:
    """Read one or more evenly spaced frames of a video: a path, or an open file that can seek.

    Raises:
        UnknownVideoError: the file is no video, or PyAV is not installed.
        UnreadableVideoError: no frame can be read.
        TooManyPixelsError: the frames are larger than `bounds` allows.
        TimeoutError: reading takes longer than `bounds` allows.
    """
    times: list[float] = []
    fitted: dict[Fit, list[Tensor]] = {fit: [] for fit in fits}
    thumbnails: list[Image.Image] = []
    lost = 0
    with open_video(source, bounds) as video:
        for frame in video.evenly(num_frames):
            if frame is None:
                lost += 1
                continue
            times.append(frame.time)
            thumbnails.append(thumbnail(frame.image, THUMBNAIL))
            for fit in fits:
                fitted[fit].append(fit_image(frame.image, *fit))
        if not times:
            raise UnreadableVideoError("no frame of the video can be read")
        stacked = {fit: torch.stack(frames) for fit, frames in fitted.items()}
        return Clip(video.seconds, len(times) + lost, times, stacked, thumbnails)
