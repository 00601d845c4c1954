"""The JSON files of DeepfakeBench, and of DF40, which takes their form.

A file holds data set → label → split → video (for FaceForensics++ compression → video), and of
each video a label and its frames.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from faceproof.data.json_lists import read_json
from faceproof.data.layout import USUAL_SPLITS, Words
from faceproof.data.listing import MAPPING, absolute
from faceproof.data.lists import ListedPaths
from faceproof.data.names import IDENTITY, SOURCE_VIDEO, credible_values
from faceproof.data.protocols.clips import IMAGES, tell_missing
from faceproof.data.protocols.originals import original_of
from faceproof.data.protocols.protocol import FAKE, OFFICIAL, REAL, Entry, ProtocolData
from faceproof.data.swapped import class_in
from faceproof.errors import FaceproofError
from faceproof.io.names import folded
from faceproof.settings import PLACE, TEXT, SettingError, optional
from faceproof.task import get_task
from faceproof.words import meaning

WANTED = (
    '{"DATASET": {"LABEL": {"train": {"VIDEO": {"label": "LABEL", "frames": ["PATH.png", ...]}}}}}'
)
LATEST = ("train", "val", "test")  # a video of several splits is of the last of them

log = logging.getLogger(__name__)


class Video(NamedTuple):
    """A video of the file: where it stands there, and what it says."""

    dataset: str
    label: str
    split: str
    name: str
    frames: tuple[str, ...]


@dataclass(frozen=True)
class DeepfakeBenchData(ProtocolData):
    """Frames that a JSON file of DeepfakeBench or DF40 lists.

    A video that the file has in several splits is taken once: for testing, else for validation.

    Attributes:
        file: the JSON file.
        root: the folder that the paths of frames start from.
        labels: labels of the file, and their classes; those whose name says real or fake, such as
            FF-real or DFD_fake, need none. Null leaves their videos out.
        compression: the one that is read, where the file has several.
    """

    TREE: ClassVar[str] = "    the frames that the file names"

    file: str
    labels: Words | None = None
    compression: str | None = None

    def __post_init__(self) -> None:
        self.check(file=PLACE, labels=optional(MAPPING), compression=optional(TEXT))
        if self.media not in (None, IMAGES):
            raise SettingError("media", f"= {self.media!r} changes nothing: the file lists frames")
        for word, label in (self.labels or {}).items():
            if label not in (REAL, FAKE, None):
                raise SettingError(f"labels.{word}", f"= {label!r} must be real, fake or null")

    def check_place(self) -> None:
        """Refuse a file or a root that is not there."""
        if not (file := absolute(self.file)).is_file():
            raise FaceproofError(f"there is no file {file}; set data.file to one of DeepfakeBench")
        super().check_place()

    def entries(self, root: Path) -> list[Entry]:
        """Return the videos of the file whose frames are there."""
        file = absolute(self.file)
        videos = self._once(list(self._videos(file)), file)
        paths, missing, total = ListedPaths(root, file), list[str](), 0
        entries = list[Entry]()
        values = credible_values([f"{video.name}/0.png" for video in videos], trusted=True)
        for video, shown in zip(videos, values, strict=True):
            if (label := self._label(video, file)) is None:
                continue
            places = [paths.find(path) for path in video.frames]
            there = tuple(place for place in places if Path(place).is_file())
            missing += [place for place in places if not Path(place).is_file()]
            total += len(places)
            original = original_of(video.name)
            people = {
                key: tuple(dict.fromkeys(value.name for value in shown if value.key == key))
                for key in (SOURCE_VIDEO, IDENTITY)
            }
            entry = Entry(
                there, f"{video.dataset}/{video.label}/{video.name}", label, None,
                video.label if label == FAKE else None, original,
                people[SOURCE_VIDEO], people[IDENTITY], original,
            )  # fmt: skip
            split = video.split if self.splits == OFFICIAL else None
            entries.append(replace(entry, split=split))
        tell_missing(file, "frames", missing, total, "set data.root to where their paths start")
        return entries

    def _label(self, video: Video, file: Path) -> str | None:
        labels = {folded(str(word)): label for word, label in (self.labels or {}).items()}
        if folded(video.label) in labels:
            return labels[folded(video.label)]
        if (said := class_in(video.label, get_task(self.task))) is None:
            raise FaceproofError(
                f"{file} has the label {video.label!r}, whose name does not say whether it is real "
                f"or fake: say it by {meaning('data.labels', video.label, FAKE)} (null leaves its "
                "videos out)"
            )
        return said

    def _once(self, videos: list[Video], file: Path) -> list[Video]:
        """Return every video once, of the split that lies farthest from training."""
        chosen: dict[tuple[str, str, str], Video] = {}
        several: dict[tuple[str, str, str], None] = {}
        for video in videos:
            key = (video.dataset, video.label, video.name)
            if (other := chosen.get(key)) is None:
                chosen[key] = video
                continue
            several[key] = None
            if LATEST.index(video.split) > LATEST.index(other.split):
                chosen[key] = video
        if several and self.splits == OFFICIAL:
            log.warning(
                "%s: %s of %s videos are in more than one split, %s the first; each is taken once: "
                "for testing, else for validation",
                file, f"{len(several):,}", f"{len(chosen):,}", "/".join(next(iter(several))),
            )  # fmt: skip
        return [video for video in chosen.values() if video.frames]

    def _videos(self, file: Path) -> Iterator[Video]:
        """Yield the videos of the file, of the compression that is chosen."""
        held = read_json(file, WANTED)
        for dataset, labels in _items(held, file, "data sets"):
            for label, splits in _items(labels, file, f"{dataset}: labels"):
                for word, videos in _items(splits, file, f"{dataset}/{label}: splits"):
                    where = f"{dataset}/{label}/{word}"
                    if (split := USUAL_SPLITS.get(word.lower())) is None:
                        raise FaceproofError(
                            f"{file} has {word!r} where splits should be ({where}); it should hold "
                            f"{WANTED}"
                        )
                    for name, values in self._of_split(videos, file, where):
                        frames = values["frames"]
                        if not isinstance(frames, list):
                            raise FaceproofError(
                                f"{file}: the frames of {where}/{name} are no list"
                            )
                        told = str(values.get("label", label))
                        yield Video(dataset, told, split, name, tuple(map(str, frames)))

    def _of_split(
        self, videos: Any, file: Path, where: str
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        found = dict(_items(videos, file, f"{where}: videos"))
        if isinstance(found.get("frames"), list):  # as DeepfakeBench writes the val of DFDC
            log.warning("%s: %s is one video without a name, and is left out", file, where)
            return
        levels = [k for k, v in found.items() if isinstance(v, Mapping) and "frames" not in v]
        if levels and len(levels) == len(found):
            if self.compression not in found:
                raise FaceproofError(
                    f"{file} has the compressions {', '.join(levels)} ({where}); choose one by "
                    f"data.compression={levels[0]}"
                )
            found = dict(_items(found[self.compression], file, f"{where}/{self.compression}"))
        for name, values in found.items():
            if not isinstance(values, Mapping) or "frames" not in values:
                raise FaceproofError(
                    f"{file} names no frames of {where}/{name}; it should hold {WANTED}"
                )
            yield name, values


def _items(held: Any, file: Path, what: str) -> Iterator[tuple[str, Any]]:
    if not isinstance(held, Mapping):
        raise FaceproofError(
            f"{file} is no file of DeepfakeBench: in place of {what} it has a "
            f"{type(held).__name__}; it should hold {WANTED}"
        )
    for name, value in held.items():
        yield str(name), value
