"""Reads evenly spaced frames of a video, by presentation time, without decoding all of it.

The duration is divided into as many equal parts as frames are wanted; of each part, the frame shown
in its middle is read. A still scene of a minute therefore counts as a minute, whatever the frame
rate is.

Only plain containers are opened. Playlists and the like, which name other files or addresses, are
refused, because ffmpeg would follow them.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from faceproof.data.image_io import thumbnail
from faceproof.data.model_input import fit_image
from faceproof.errors import FaceproofError
from faceproof.inference.verdicts import Fit, Fitted

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

NUM_FRAMES = 32
CONTAINERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg"
THUMBNAIL = 200  # pixels, the longer side
NEAR = 2.0  # seconds; to a frame that is nearer, decoding is faster than seeking
# Seconds by which to seek earlier, where a seek has landed after the time that was sought.
MARGINS = (0.0, 5.0, 30.0)


class UnreadableVideoError(FaceproofError):
    """A file of which no frame can be read; the message is the reason alone."""


class UnknownVideoError(UnreadableVideoError):
    """A file that is no video, or of a format that cannot be read here."""


class TooManyPixelsError(FaceproofError):
    """An image or video that is larger than allowed."""


@dataclass(frozen=True)
class Clip:
    """Frames of a video.

    Attributes:
        seconds: duration by the file's own header.
        wanted: how many different frames were to be read; fewer than the caller asked for if the
            video has no more.
        times: of the frames that could be read, in seconds from the start, rising.
        fitted: the frames resized for the networks, (F, 3, S, S) uint8.
        thumbnails: of the frames, the longer side 200 pixels or less.
    """

    seconds: float
    wanted: int
    times: list[float]
    fitted: Fitted
    thumbnails: list[Image.Image]


@dataclass(frozen=True)
class Bounds:
    """Limits on reading a video.

    Attributes:
        max_pixels: of a frame; None for no limit.
        deadline: by `time.monotonic`; None for no limit.
        reserve: called with the pixels of a frame before any is decoded; what it returns is held
            while frames are read, and may wait for memory.
    """

    max_pixels: int | None = None
    deadline: float | None = None
    reserve: Callable[[int], AbstractContextManager[None]] = lambda num_pixels: nullcontext()

    def check(self, width: int, height: int) -> None:
        """Check the size of a frame, and the time."""
        if self.max_pixels is not None and width * height > self.max_pixels:
            raise TooManyPixelsError(
                f"the video has {width} x {height} pixels; at most {self.max_pixels:,} are allowed"
            )
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise TimeoutError


UNBOUNDED = Bounds()


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
    if isinstance(source, str | Path):
        with _file(source) as file:
            return read_clip(file, fits, num_frames, bounds)
    with _opened(source) as container:
        if not container.streams.video:
            raise UnreadableVideoError("it has no video stream")
        stream = container.streams.video[0]
        width, height = stream.codec_context.width, stream.codec_context.height
        bounds.check(width, height)
        start, end = _span(container, stream, bounds)
        step = (end - start) / num_frames
        targets = [start + (number + 0.5) * step for number in range(num_frames)]
        with bounds.reserve(width * height):
            return _take(_Reader(container, stream, bounds), targets, fits, start, end)


def _file(path: str | Path) -> BinaryIO:
    try:
        if Path(path).is_fifo():  # opening it would wait for a writer
            raise UnreadableVideoError("it is a pipe")
        return Path(path).open("rb")
    except FileNotFoundError as error:
        raise UnreadableVideoError("the file is not there") from error
    except OSError as error:
        raise UnreadableVideoError(error.strerror or str(error)) from error


@contextmanager
def _opened(file: BinaryIO) -> Iterator["InputContainer"]:
    """Open a file as a video; formats that refer to other files are refused."""
    try:
        import av
    except ImportError as error:
        raise UnknownVideoError(
            "videos need the package av, which is not installed: pip install 'faceproof[video]'"
        ) from error
    file.seek(0)
    try:
        container = av.open(file, "r", container_options={"format_whitelist": CONTAINERS})
    except (av.FFmpegError, OSError, ValueError) as error:
        what = "no video format that can be read, or a file without its end"
        raise UnknownVideoError(what) from error
    with closing(container):
        yield container


def _span(
    container: "InputContainer", stream: "VideoStream", bounds: Bounds
) -> tuple[float, float]:
    """Return the start and the end of a video, in seconds of its own clock."""
    unit = stream.time_base or Fraction(1)
    start = float((stream.start_time or 0) * unit)
    if stream.duration:
        return start, start + float(stream.duration * unit)
    if "DURATION" in stream.metadata:  # of Matroska; of this stream, without the sound
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return start, 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    if container.duration:
        return start, start + container.duration / 1_000_000
    # A browser's recording has no duration in its header. Packets are read without decoding.
    end = start
    for packet in _packets(container, stream):
        bounds.check(0, 0)
        if packet.pts is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * unit))
    container.seek(0)
    return start, end


def _packets(
    container: "InputContainer", stream: "VideoStream"
) -> Iterator["av.Packet[VideoStream]"]:
    """Yield the packets of a stream until it ends or is cut off."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            yield next(packets)
        except (StopIteration, av.FFmpegError, OSError):
            return


class _Reader:
    """A position in a video that moves forward, by seeking where that saves decoding."""

    def __init__(self, container: "InputContainer", stream: "VideoStream", bounds: Bounds) -> None:
        self.container = container
        self.stream = stream
        self.bounds = bounds
        self.unit = float(stream.time_base or 1)
        self.gap = 0.0  # seconds between the last two frames, for files without frame durations
        self._begin()

    def _begin(self) -> None:
        self.frames = self._decode()
        self.shown: VideoFrame | None = None
        self.coming = next(self.frames, None)

    def _decode(self) -> Iterator["VideoFrame"]:
        import av

        for packet in _packets(self.container, self.stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            for frame in frames:
                self.bounds.check(frame.width, frame.height)
                if not frame.is_corrupt:
                    yield frame

    def at(self, target: float) -> "VideoFrame | None":
        """Return the frame that is shown at a time; None if the file is cut off before it."""
        if self._worth_seeking(target):
            self._seek(target)
        while self.coming is not None and self.time(self.coming) <= target:
            if self.shown is not None:
                self.gap = self.time(self.coming) - self.time(self.shown)
            self.shown, self.coming = self.coming, next(self.frames, None)
        if self.coming is not None:  # before the first frame, the first frame is shown
            return self.shown or self.coming
        return self.shown if self.shown is not None and self._lasts(self.shown, target) else None

    def time(self, frame: "VideoFrame") -> float:
        """Return the time at which a frame is shown, in seconds of the video's clock."""
        stamp = frame.pts if frame.pts is not None else frame.dts
        return (stamp or 0) * self.unit

    def _lasts(self, frame: "VideoFrame", target: float) -> bool:
        """Return whether the last frame is still shown, rather than later ones being lost."""
        usual = 1 / float(self.stream.average_rate) if self.stream.average_rate else 0.0
        return target <= self.time(frame) + max((frame.duration or 0) * self.unit, usual, self.gap)

    def _worth_seeking(self, target: float) -> bool:
        if self.coming is None or target - self.time(self.coming) < NEAR:
            return False
        entries = self.stream.index_entries
        if not len(entries):
            return True
        place = entries.search_timestamp(int(target / self.unit))
        # Without a key frame in between, a seek would decode the same frames again.
        return place >= 0 and entries[place].timestamp * self.unit > self.time(self.coming)

    def _seek(self, target: float) -> None:
        import av

        for margin in MARGINS:
            stamp = int(max(target - margin, 0.0) / self.unit)
            try:
                self.container.seek(stamp, stream=self.stream)
            except av.FFmpegError:
                continue  # the file may be cut off before that time
            self._begin()
            if self.coming is not None and self.time(self.coming) <= target:
                return


def _take(
    reader: _Reader, targets: Sequence[float], fits: Sequence[Fit], start: float, end: float
) -> Clip:
    """Read the frames shown at some times, each frame once."""
    times: list[float] = []
    fitted: dict[Fit, list[Tensor]] = {fit: [] for fit in fits}
    thumbnails: list[Image.Image] = []
    lost = 0
    for target in targets:
        frame = reader.at(target)
        if frame is None:
            lost += 1
            continue
        shown = max(reader.time(frame) - start, 0.0)
        if times and shown <= times[-1]:
            continue  # a frame that is shown for long, or a video with few frames
        image = _upright(frame)
        times.append(shown)
        thumbnails.append(thumbnail(image.numpy(), THUMBNAIL))
        for fit in fits:
            fitted[fit].append(fit_image(image, *fit))
    if not times:
        raise UnreadableVideoError("no frame of the video can be read")
    stacked = {fit: torch.stack(frames) for fit, frames in fitted.items()}
    return Clip(max(end - start, 0.0), len(times) + lost, times, stacked, thumbnails)


def _upright(frame: "VideoFrame") -> Tensor:
    """Return a frame as (3, H, W) uint8 RGB, rotated as players show it."""
    # One thread: PyAV would leave several running, and a process forked from this one would hang.
    pixels = frame.to_ndarray(format="rgb24", threads=1)
    turned = np.rot90(pixels, round(frame.rotation / 90))
    return torch.from_numpy(np.ascontiguousarray(turned.transpose(2, 0, 1)))
