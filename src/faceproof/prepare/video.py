"""Reads the frames of a video: some, evenly spaced by presentation time, or every nth of them.

For evenly spaced ones the duration is divided into as many equal parts as frames are wanted; of
each part, the frame shown in its middle is read, without decoding all of the video. A still scene
of a minute therefore counts as a minute, whatever the frame rate is.

Only plain containers are opened. Playlists and the like, which name other files or addresses, are
refused, because ffmpeg would follow them.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from faceproof.data.image_io import Pixels
from faceproof.errors import FaceproofError

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

CLOCK = re.compile(r"(\d{1,4}):(\d{1,2}):(\d{1,2}(?:\.\d+)?)")
CONTAINERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg"
USUAL_GAP = 100  # frames, of which the longest time between two is what is usual
MOST_MISSING = 1.0  # seconds behind the last frame, beyond which a file is cut off
MOST_LOST = 10**6  # frames
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
class Frame:
    """A frame of a video, upright: (3, H, W) uint8 RGB, shown at `time` seconds from the start."""

    time: float
    image: Pixels


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


@contextmanager
def open_video(source: str | Path | BinaryIO, bounds: Bounds = UNBOUNDED) -> Iterator["Video"]:
    """Open a video: a path, or an open file that can seek.

    Raises:
        UnknownVideoError: the file is no video, or PyAV is not installed.
        UnreadableVideoError: it has no video stream, or cannot be opened.
        TooManyPixelsError: the frames are larger than `bounds` allows.
        TimeoutError: reading takes longer than `bounds` allows.
    """
    if isinstance(source, str | Path):
        with _file(source) as file, open_video(file, bounds) as video:
            yield video
        return
    with _opened(source) as container:
        streams = [one for one in container.streams.video if not _is_cover(one)]
        if not streams:
            covers = "only a cover picture" if container.streams.video else "no video stream"
            raise UnreadableVideoError(f"it has {covers}")
        stream = streams[0]
        width, height = stream.codec_context.width, stream.codec_context.height
        bounds.check(width, height)
        start, end = _span(container, stream, bounds)
        with bounds.reserve(width * height):
            yield Video(_Reader(container, stream, bounds), start, max(end - start, 0.0))


def _is_cover(stream: "VideoStream") -> bool:
    """Say whether a stream is a picture that belongs to a sound file."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


class Video:
    """An open video; its frames are read once, from start to end.

    Attributes:
        seconds: its duration, by the file's own header.
    """

    def __init__(self, reader: "_Reader", start: float, seconds: float) -> None:
        self._reader, self._start = reader, start
        self.seconds = seconds

    def evenly(self, num: int) -> Iterator[Frame | None]:
        """Yield the frames shown in the middle of `num` equal parts, each once.

        None stands for one that is lost, because the file is cut off or damaged there.
        """
        last = -1.0
        for number in range(num):
            target = self._start + (number + 0.5) * self.seconds / num
            found = self._reader.at(target)
            if found is None:
                yield None
                continue
            time = self._time(found)
            if time > last:  # else a frame that is shown for long, or a video with few frames
                last = time
                yield Frame(time, _upright(found))

    def every(self, step: int = 1) -> Iterator[Frame | None]:
        """Yield every frame whose number, from 0, is divisible by `step`.

        Where the file is damaged, or cut off, None stands for each of those that lie there, by the
        usual time between two frames.
        """
        number, last, gap = -1, 0.0, 0.0
        for found, follows_damage in self._reader.rest():
            time = self._time(found)
            if follows_damage and gap > 0:
                missing = min(max(round((time - last) / gap) - 1, 0), MOST_LOST)
                yield from [None] * ((number + missing) // step - number // step)
                number += missing
            elif number < USUAL_GAP:
                gap = max(gap, time - last)
            number, last = number + 1, time
            if number % step == 0:
                yield Frame(time, _upright(found))
        behind = self.seconds - last - gap
        if gap > 0 and behind > MOST_MISSING:
            yield from [None] * min(round(behind / gap / step), MOST_LOST)

    def _time(self, frame: "VideoFrame") -> float:
        return max(self._reader.time(frame) - self._start, 0.0)


class PresentFrames:
    """Passes on the frames that are there, and counts them and those that are lost."""

    def __init__(self, frames: Iterable[Frame | None]) -> None:
        self._frames = frames
        self.present = self.lost = 0

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._frames:
            if frame is None:
                self.lost += 1
            else:
                self.present += 1
                yield frame


def _file(path: str | Path) -> BinaryIO:
    if "\0" in str(path):  # each version of Python words this error in another way
        raise UnreadableVideoError("its path holds a null byte")
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
    # Of Matroska; of this stream, without the sound. It is text, and may say anything.
    if said := CLOCK.fullmatch(stream.metadata.get("DURATION", "")):
        hours, minutes, seconds = said.groups()
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
        self.coming: VideoFrame | None = None
        self.follows_damage = False  # the frame that is coming
        self._next()

    def _next(self) -> None:
        self.coming, self.follows_damage = next(self.frames, (None, False))

    def _decode(self) -> Iterator[tuple["VideoFrame", bool]]:
        """Yield the frames that can be read, and whether something before each cannot."""
        import av

        damaged = False
        for packet in _packets(self.container, self.stream):
            damaged |= packet.is_corrupt
            try:
                frames = packet.decode()
            except av.FFmpegError:
                damaged = True
                continue
            for frame in frames:
                self.bounds.check(frame.width, frame.height)
                if frame.is_corrupt:
                    damaged = True
                    continue
                yield frame, damaged
                damaged = False

    def at(self, target: float) -> "VideoFrame | None":
        """Return the frame that is shown at a time; None if the file is damaged there."""
        if self._worth_seeking(target):
            self._seek(target)
        while self.coming is not None and self.time(self.coming) <= target:
            if self.shown is not None and not self.follows_damage:
                self.gap = self.time(self.coming) - self.time(self.shown)
            self.shown = self.coming
            self._next()
        if self.coming is not None and (self.shown is None or not self.follows_damage):
            return self.shown or self.coming  # before the first frame, the first frame is shown
        return self.shown if self.shown is not None and self._lasts(self.shown, target) else None

    def rest(self) -> Iterator[tuple["VideoFrame", bool]]:
        """Yield all frames from here on, and whether a damaged part lies before each."""
        if self.coming is not None:
            yield self.coming, self.follows_damage
        yield from self.frames

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


def _upright(frame: "VideoFrame") -> Pixels:
    """Return a frame as (3, H, W) uint8 RGB, rotated as players show it."""
    # One thread: PyAV would leave several running, and a process forked from this one would hang.
    pixels = frame.to_ndarray(format="rgb24", threads=1)
    turned = np.rot90(pixels, round(frame.rotation / 90))
    return np.ascontiguousarray(turned.transpose(2, 0, 1))
