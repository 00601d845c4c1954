"""Prepares one photograph or video: finds its faces, cuts them out, and writes them as files.

What cannot be prepared is a result with its reason, never an exception.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from faceproof import settings
from faceproof.data.digests import content_digest
from faceproof.data.image_io import UnreadableImageError, read_image
from faceproof.io.stamps import stamp_of
from faceproof.prepare.cropping import CropConfig, cut, encode, sharpness_of
from faceproof.prepare.face import Face, FaceDetector
from faceproof.prepare.finding import FoundFaces, find_faces, find_in_frames
from faceproof.prepare.tracks import Track, Tracker, largest_track, steadiest_track
from faceproof.prepare.video import Frame, PresentFrames, UnreadableVideoError, Video, open_video
from faceproof.settings import (
    COUNT,
    Rule,
    SettingError,
    UnknownSettingError,
    is_number,
    one_of,
    optional,
)
from faceproof.words import counted

OK, NO_FACE, REJECTED, BLURRED, UNREADABLE = (
    "prepared", "no face", "too small or unsure", "blurred", "unreadable",
)  # fmt: skip
LARGEST, ALL, STEADIEST = "largest", "all", "steadiest"
FRAMES = Rule(lambda value: value == "all" or COUNT.fits(value), "a count from 1 on, or 'all'")
LOG_SHARPNESS = Rule(is_number, "a number")


@dataclass(frozen=True)
class PrepareSettings:
    """What is made of photographs and videos; the same settings make the same files.

    Attributes:
        crop: how faces are found and cut out.
        faces: which faces of a photograph or video: the `largest`, `all`, or the `steadiest`, which
            moves least between the frames of a video.
        frames: how many frames of a video, evenly spaced by time, or `all`.
        every: every so many frames instead, by their number; None for `frames`.
        min_sharpness: of a face, the log variance of its Laplacian; None for any.
    """

    crop: CropConfig = field(default_factory=CropConfig)
    faces: str = LARGEST
    frames: int | str = 32
    every: int | None = None
    min_sharpness: float | None = None

    def __post_init__(self) -> None:
        settings.check(
            self, faces=one_of(LARGEST, ALL, STEADIEST), frames=FRAMES, every=optional(COUNT),
            min_sharpness=optional(LOG_SHARPNESS),
        )  # fmt: skip
        if self.every is not None and self.frames != PrepareSettings.frames:
            raise SettingError("every", f"= {self.every} and frames = {self.frames}: give one")

    def frames_of(self, video: Video) -> Iterator[Frame | None]:
        """Yield the frames of a video that are wanted; None for one that is lost."""
        if self.every is not None or self.frames == "all":
            return video.every(self.every or 1)
        return video.evenly(int(self.frames))


def prepare_settings(values: Mapping[str, Any]) -> PrepareSettings:
    """Return the settings of a preparation from plain values, those of the crops beside the others.

    Raises:
        SettingError: one is not known, or has no meaning.
    """
    of_crop = {field.name for field in fields(CropConfig)}
    crop = {name: value for name, value in values.items() if name in of_crop}
    others = {name: value for name, value in values.items() if name not in of_crop}
    known = of_crop | {field.name for field in fields(PrepareSettings)} - {"crop"}
    for name in others:
        if name not in known:
            raise UnknownSettingError(name, known)
    return PrepareSettings(CropConfig(**crop), **others)


@dataclass(frozen=True)
class Media:
    """A photograph or video, and where its crops go: files whose names begin with `place`."""

    path: str
    place: str  # below the prepared folder, divided by /
    is_video: bool


@dataclass(frozen=True)
class Crop:
    """A face that was cut out.

    Attributes:
        file: below the prepared folder, divided by /.
        content: digest of its bytes; see `digests.content_digest`.
        time: of the frame, in seconds from the start; None of a photograph.
        track: which face of the video it is; of a photograph, which of its faces.
        side: of the crop, in pixels.
        sharpness: see `cropping.sharpness_of`.
        inside: the share of its box that lies inside the image.
    """

    file: str
    content: str
    num_bytes: int
    time: float | None
    track: int
    face: Face
    side: int
    sharpness: float
    inside: float


@dataclass(frozen=True)
class Result:
    """What was made of a photograph or video.

    Attributes:
        stamp: of the file, before it was read; see `io.stamps`.
        status: one of `OK`, `NO_FACE`, `REJECTED`, `BLURRED` and `UNREADABLE`.
        reason: what is wrong with it, in words; None if nothing is.
        height: of the image, in pixels.
        seconds: of a video.
        num_frames: how many frames were read, and how many were `lost`.
        most_faces: the largest number of faces in one frame.
        num_tracks: how many faces the video or photograph shows.
        rejected: faces that were too small or unsure.
        blurred: crops that were not sharp enough.
    """

    stamp: str | None
    status: str
    reason: str | None = None
    height: int = 0
    width: int = 0
    seconds: float | None = None
    num_frames: int = 0
    lost: int = 0
    most_faces: int = 0
    num_tracks: int = 0
    rejected: int = 0
    blurred: int = 0
    crops: tuple[Crop, ...] = ()


def prepare_media(
    media: Media, folder: Path, wanted: PrepareSettings, detector: FaceDetector
) -> Result:
    """Write the crops of a photograph or video below a folder, and return what they are."""
    stamp = stamp_of(media.path)
    try:
        if media.is_video:
            return _VideoPreparation(media, folder, wanted).run(detector, stamp)
        return _prepare_image(media, folder, wanted, detector, stamp)
    except (UnreadableImageError, UnreadableVideoError) as error:
        return Result(stamp, UNREADABLE, str(error))


def _prepare_image(
    media: Media, folder: Path, wanted: PrepareSettings, detector: FaceDetector, stamp: str | None
) -> Result:
    image = read_image(media.path)
    found = find_faces(image, detector, wanted.crop)
    every = wanted.faces == ALL
    writer = _Writer(folder, media.place, wanted)
    for number, face in enumerate(found.faces):
        ending = f"_{number}" if every and len(found.faces) > 1 else ""
        writer.write(Frame(0.0, image), face, number if every else 0, ending)
        if writer.crops and not every:  # the largest one that is sharp enough
            break
    crops = tuple(Crop(**{**vars(one), "time": None}) for one in writer.crops)
    height, width = image.shape[1:]
    num = len(found.faces)
    status, reason = _status(crops, num, found.rejected, writer.blurred, "the image")
    return Result(
        stamp, status, reason, height, width, num_frames=1, most_faces=num, num_tracks=num,
        rejected=found.rejected, blurred=writer.blurred, crops=crops,
    )  # fmt: skip


class _Writer:
    """Writes the crops of one photograph or video."""

    def __init__(self, folder: Path, place: str, wanted: PrepareSettings) -> None:
        self.folder, self.place, self.wanted = folder, place, wanted
        self.crops: list[Crop] = []
        self.blurred = 0

    def write(self, frame: Frame, face: Face, track: int, ending: str) -> None:
        """Write a crop of a frame, unless it is not sharp enough."""
        sharpness = round(sharpness_of(frame.image, face), 4)
        if self.wanted.min_sharpness is not None and sharpness < self.wanted.min_sharpness:
            self.blurred += 1
            return
        pixels = cut(frame.image, face, self.wanted.crop)
        content = encode(pixels, self.wanted.crop)
        digest = content_digest(content).hex()
        file = f"{self.place}{ending}{self.wanted.crop.suffix}"
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        inside = round(face.share_inside(*frame.image.shape[1:]), 4)
        self.crops.append(
            Crop(
                file, digest, len(content), round(frame.time, 6), track, face,
                pixels.shape[1], sharpness, inside,
            )
        )  # fmt: skip


class _VideoPreparation:
    """The preparation of one video, whose frames pass once and are not held."""

    def __init__(self, media: Media, folder: Path, wanted: PrepareSettings) -> None:
        self.media, self.folder, self.wanted = media, folder, wanted
        # Each file has its video's name: the audit takes files of one name for counterparts.
        name = media.place.rpartition("/")[2]
        self.writer = _Writer(folder, f"{media.place}/{name}_", wanted)
        self.tracker = Tracker()
        self.num_taken = self.most_faces = self.rejected = 0
        self.size = (0, 0)

    def run(self, detector: FaceDetector, stamp: str | None) -> Result:
        """Read the video from start to end, and return what was made of it."""
        place = self.folder / self.media.place
        if place.exists():  # of a command that was stopped
            shutil.rmtree(place)
        with open_video(self.media.path) as video:
            frames = PresentFrames(self.wanted.frames_of(video))
            for one in find_in_frames(frames, detector, self.wanted.crop, self.tracker):
                self._take(*one)
            seconds = round(video.seconds, 6)
        if not frames.present:
            raise UnreadableVideoError("no frame of the video can be read")
        crops = self._chosen()
        tracks = self.tracker.tracks
        num = sum(len(track.frames) for track in tracks)
        status, reason = _status(crops, num, self.rejected, self.writer.blurred, "any frame")
        if frames.lost:
            total = frames.present + frames.lost
            cut = f"{frames.lost} of {total} frames cannot be read: the file is cut off or damaged"
            reason = "; ".join(filter(None, (reason, cut)))
        return Result(
            stamp, status, reason, *self.size, seconds, frames.present, frames.lost,
            self.most_faces, len(tracks), self.rejected, self.writer.blurred, crops,
        )  # fmt: skip

    def _take(self, frame: Frame, found: FoundFaces, tracks: list[int]) -> None:
        self.size = (frame.image.shape[1], frame.image.shape[2])
        self.most_faces = max(self.most_faces, len(found.faces))
        self.rejected += found.rejected
        for face, track in zip(found.faces, tracks, strict=True):
            self.writer.write(frame, face, track, f"{self.num_taken:06d}_{track}")
        self.num_taken += 1

    def _chosen(self) -> tuple[Crop, ...]:
        """Return the crops of the wanted tracks, in the order of time; delete the others.

        A track without a sharp crop is not chosen.
        """
        written = {crop.track for crop in self.writer.crops}
        tracks = [track for track in self.tracker.tracks if track.number in written]
        wanted = {track.number for track in _wanted(tracks, self.wanted.faces)}
        for crop in self.writer.crops:
            if crop.track not in wanted:
                (self.folder / crop.file).unlink()
        return tuple(crop for crop in self.writer.crops if crop.track in wanted)


def _wanted(tracks: list[Track], faces: str) -> list[Track]:
    if not tracks or faces == ALL:
        return tracks
    return [largest_track(tracks) if faces == LARGEST else steadiest_track(tracks)]


def _status(
    crops: tuple[Crop, ...], num_faces: int, rejected: int, blurred: int, where: str
) -> tuple[str, str | None]:
    """Return the status of a photograph or video, and its reason."""
    if crops:
        return OK, None
    if blurred:
        return BLURRED, f"{counted(blurred, 'face')}, none sharp enough"
    if rejected and not num_faces:
        return REJECTED, f"{counted(rejected, 'detection')}, all too small or too unsure"
    return NO_FACE, f"no face is found in {where}"
