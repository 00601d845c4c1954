"""The DeepFake Detection Challenge by the metadata.json of its parts, and labels.csv.

A part of the training set has people that no other part shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from faceproof.data.json_lists import read_json
from faceproof.data.layout import USUAL_SPLITS, Words
from faceproof.data.listing import MAPPING
from faceproof.data.lists import csv_rows, open_list
from faceproof.data.protocols.clips import (
    Clip,
    by_key,
    find_clips,
    key_of,
    tell_missing,
    tell_unnamed,
)
from faceproof.data.protocols.protocol import FAKE, OFFICIAL, REAL, Entry, ProtocolData
from faceproof.errors import FaceproofError
from faceproof.io.names import folded
from faceproof.settings import SettingError
from faceproof.words import meaning

METADATA, LABELS = "metadata.json", "labels.csv"
DEPTH = 3  # folders below the root in which a list may lie
WANTED = 'videos and what they are, as {"abc.mp4": {"label": "FAKE", "original": "def.mp4"}, ...}'


@dataclass(frozen=True)
class Listed:
    """A video that a list names: its key, class word, split word and original's key."""

    key: str
    word: str
    split: str | None
    original: str | None


@dataclass(frozen=True)
class DfdcData(ProtocolData):
    """DFDC; a fake and its original are a pair, and people stay in their part.

    Attributes:
        labels: the words of the lists, and their classes.
    """

    TREE: ClassVar[str] = (
        "    dfdc_train_part_0/metadata.json\n"
        "    dfdc_train_part_0/NAME.mp4\n"
        "    ...\n"
        "    test/labels.csv (filename,label) or test/metadata.json\n"
        "    test/NAME.mp4\n"
        "    (or in place of NAME.mp4 a folder NAME/ of frames, both maybe in videos/ or frames/)"
    )

    labels: Words

    def __post_init__(self) -> None:
        self.check(labels=MAPPING)
        for word, label in self.labels.items():
            if label not in (REAL, FAKE, None):
                raise SettingError(f"labels.{word}", f"= {label!r} must be real, fake or null")

    def entries(self, root: Path) -> list[Entry]:
        """Return the videos that the lists name."""
        lists = _lists(root)
        if not lists:
            raise FaceproofError(
                f"there is no {METADATA} and no {LABELS} below {root}\n{self.expected}\n"
                "set data.root to the folder that holds the parts"
            )
        parts = [file.parent.relative_to(root).as_posix() for file in lists]
        folders = ["" if part == "." else part for part in parts]
        clips = find_clips(root, _outermost(folders), self.media, self.expected)
        there, named, entries = by_key(clips), set[str](), list[Entry]()
        for file, folder in zip(lists, folders, strict=True):
            listed = _read(file, folder)
            missing = [one.key for one in listed if folded(one.key) not in there]
            advice = f"fetch them, or move {file.name} away"
            tell_missing(file, "videos", missing, len(listed), advice)
            for one in listed:
                if (clip := there.get(folded(one.key))) is None or folded(one.key) in named:
                    continue
                named.add(folded(one.key))
                if (label := self._label(one, file)) is not None:
                    entries.append(self._entry(clip, one, label, folder, file))
        unnamed = {clip.key for key, clip in there.items() if key not in named}
        tell_unnamed(root, unnamed, "no list names them")
        return entries

    def _label(self, one: Listed, file: Path) -> str | None:
        labels = {folded(str(word)): label for word, label in self.labels.items()}
        if folded(one.word) not in labels:
            raise FaceproofError(
                f"{file} says {one.word!r} of {one.key}, which data.labels does not know: say what "
                f"it means by {meaning('data.labels', one.word, REAL)} (null leaves it out)"
            )
        return labels[folded(one.word)]

    def _entry(self, clip: Clip, one: Listed, label: str, folder: str, file: Path) -> Entry:
        entry = Entry(
            clip.files, clip.key, label, None, "dfdc" if label == FAKE else None,
            pair=(one.original if label == FAKE else None) or one.key,
            identities=(folder,) if "train" in folder.lower() else (), unit=folder,
        )  # fmt: skip
        if self.splits != OFFICIAL:
            return entry
        word = one.split or folder.rpartition("/")[2].removeprefix("dfdc_").partition("_part_")[0]
        if (split := USUAL_SPLITS.get(word.lower())) is None:
            raise FaceproofError(
                f"{file} names no split for {one.key}: found {word!r}; divide the videos by "
                "data.splits=ratios"
            )
        return replace(entry, split=split)


def _lists(root: Path) -> list[Path]:
    """Return the lists below a folder, one for each folder that has any; labels.csv before."""
    found: dict[Path, Path] = {}
    for name in (LABELS, METADATA):
        for depth in range(DEPTH + 1):
            for file in root.glob("/".join(["*"] * depth + [name])):
                found.setdefault(file.parent, file)
    return [found[folder] for folder in sorted(found)]


def _outermost(folders: Sequence[str]) -> list[str]:
    """Return the folders that lie in no other of them."""

    def is_inside(one: str, other: str) -> bool:
        return one != other and (other == "" or one.startswith(f"{other}/"))

    return [one for one in folders if not any(is_inside(one, other) for other in folders)]


def _read(file: Path, folder: str) -> list[Listed]:
    """Return what a list says; keys begin with the folder that it lies in."""
    before = f"{folder}/" if folder else ""
    if file.name == LABELS:
        with open_list(file) as lines:
            rows = list(csv_rows(lines, file))
        if not rows or not {"filename", "label"} <= rows[0].keys():
            raise FaceproofError(f"{file} should have the columns filename and label")
        return [
            Listed(key_of(before + r["filename"]), r["label"].strip(), None, None) for r in rows
        ]
    held = read_json(file, WANTED)
    if not isinstance(held, Mapping) or not all(isinstance(one, Mapping) for one in held.values()):
        raise FaceproofError(f"{file} is no metadata of DFDC: it should hold {WANTED}")
    return [_of_metadata(file, before, name, values) for name, values in held.items()]


def _of_metadata(file: Path, before: str, name: str, values: Mapping[str, Any]) -> Listed:
    word = values.get("label", values.get("is_fake"))
    if word is None:
        raise FaceproofError(
            f"{file} names no label of {name}: found {', '.join(map(str, values)) or 'nothing'}; "
            f"it should hold {WANTED}"
        )
    original, split = values.get("original"), values.get("split")
    return Listed(
        key_of(before + name), str(word), str(split) if split else None,
        key_of(before + str(original)) if original else None,
    )  # fmt: skip
