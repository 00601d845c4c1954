"""FaceForensics++ and DeepFakeDetection, as the authors' download script lays them out.

The name of a fake says `target_source`: `000_003` is video 000 with the face of 003, made from 000.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from faceproof.data.json_lists import read_json
from faceproof.data.listing import absolute
from faceproof.data.protocols.clips import (
    CONTAINERS,
    Clip,
    find_clips,
    tell_missing,
    tell_unnamed,
)
from faceproof.data.protocols.protocol import (
    BY_RATIOS,
    FAKE,
    OFFICIAL,
    REAL,
    Entry,
    ProtocolData,
)
from faceproof.errors import FaceproofError
from faceproof.settings import PLACE, Rule, SettingError, is_name, one_of, optional

COMPRESSIONS = ("raw", "c0", "c23", "c40")
ORIGINALS, FAKES = "original_sequences", "manipulated_sequences"
YOUTUBE, ACTORS, DFD = "youtube", "actors", "DeepFakeDetection"
VIDEO_NAME = re.compile(r"(\d{3})(?:_(\d{3}))?")
# Of an original 01__SCENE; of a fake 01_02__SCENE__CODE, made of the scene 01__SCENE.
ACTOR_NAME = re.compile(r"(\d\d)(?:_(\d\d))?__(.+?)(?:__([A-Z0-9]{8}))?")
WANTED_LISTS = 'pairs of videos, as [["000", "003"], ...]'
NAMES = Rule(
    lambda value: isinstance(value, Sequence) and not isinstance(value, str)
    and len(value) > 0 and all(map(is_name, value)) and len(set(value)) == len(value),
    "a list of folders below manipulated_sequences",
)  # fmt: skip

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FaceForensicsData(ProtocolData):
    """FaceForensics++ by its authors' splits.

    Attributes:
        compression: the one that is read: `raw`, `c0`, `c23` or `c40`.
        manipulations: the folders below `manipulated_sequences` that are read.
        lists: the folder with train.json, val.json and test.json; None for `splits` below the root,
            or the root itself.
    """

    TREE: ClassVar[str] = (
        "    splits/train.json|val.json|test.json\n"
        "    original_sequences/youtube/COMPRESSION/videos/000.mp4\n"
        "    manipulated_sequences/MANIPULATION/COMPRESSION/videos/000_003.mp4\n"
        "    (or in place of videos/NAME.mp4 the folders images/NAME/ or frames/NAME/)"
    )

    compression: str = "c23"
    manipulations: Sequence[str] = ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures")
    lists: str | None = None

    def __post_init__(self) -> None:
        self.check(
            compression=one_of(*COMPRESSIONS), manipulations=NAMES, lists=optional(PLACE)
        )  # fmt: skip
        if self.lists is not None and self.splits != OFFICIAL:
            raise SettingError("lists", f"= {self.lists!r} changes nothing with data.splits=ratios")
        if DFD in self.manipulations:
            raise SettingError(
                "manipulations",
                f"has {DFD}, whose originals are those of actors: it is a data set of its own, "
                "data=dfd",
            )

    def entries(self, root: Path) -> list[Entry]:
        """Return the originals and the fakes of the videos in the lists."""
        splits = self._read_splits(root) if self.splits == OFFICIAL else None
        folders = {
            f"{ORIGINALS}/{YOUTUBE}/{self.compression}": None,
            **{f"{FAKES}/{name}/{self.compression}": name for name in self.manipulations},
        }
        advice = "fetch it, or leave it out of data.manipulations"
        _refuse_missing(root, folders, advice)
        self._tell_others(root)
        clips = find_clips(root, folders, self.media, self.expected)
        entries, odd, unlisted = list[Entry](), list[str](), list[str]()
        for clip in clips:
            maker, match = folders[clip.folder], VIDEO_NAME.fullmatch(clip.name)
            if match is None or (maker is None) != (match[2] is None):
                odd.append(clip.key)
                continue
            shown = tuple(filter(None, match.groups()))
            found = {splits.get(one) for one in shown} if splits else {None}
            if splits and (None in found or len(found) > 1):
                unlisted.append(clip.key)
                continue
            entry = Entry(
                clip.files, clip.key, FAKE if maker else REAL, found.pop(), maker,
                pair=shown[0], source_videos=shown,
            )  # fmt: skip
            entries.append(entry)
        tell_unnamed(root, odd, "their names are no videos of FaceForensics++")
        tell_unnamed(root, unlisted, "they are in no list, or of videos of two lists")
        if splits:
            self._tell_missing(root, entries, splits)
        return entries

    def _read_splits(self, root: Path) -> dict[str, str]:
        """Return the split of each video, by its three digits."""
        places = [absolute(self.lists)] if self.lists else [root / "splits", root]
        place = next((one for one in places if (one / "train.json").is_file()), None)
        if place is None:
            raise FaceproofError(
                f"there is no train.json in {' or '.join(map(str, places))}: put train.json, "
                "val.json and test.json there, which the authors publish below dataset/splits of "
                "github.com/ondyari/FaceForensics, name their folder by data.lists, or divide the "
                "videos by data.splits=ratios"
            )
        splits: dict[str, str] = {}
        for split in ("train", "val", "test"):
            file = place / f"{split}.json"
            for name in _videos_of(read_json(file, WANTED_LISTS), file):
                if splits.setdefault(name, split) != split:
                    raise FaceproofError(
                        f"{file} names video {name}, which {splits[name]}.json names too; a video "
                        "may be in one split only"
                    )
        return splits

    def _tell_missing(
        self, root: Path, entries: Sequence[Entry], splits: Mapping[str, str]
    ) -> None:
        folder = f"{ORIGINALS}/{YOUTUBE}/{self.compression}"
        there = {entry.pair for entry in entries if entry.label == REAL}
        missing = [f"{folder}/{name}" for name in splits if name not in there]
        advice = f"fetch them into {root / folder}"
        tell_missing(root, "originals of the lists", missing, len(splits), advice)
        for name in self.manipulations:
            fakes = [entry for entry in entries if entry.generator == name]
            targets = {entry.pair for entry in fakes}
            absent = [
                f"{FAKES}/{name}/{self.compression}/{t}_*" for t in splits if t not in targets
            ]
            advice = f"leave {name} out of data.manipulations, or fetch it"
            tell_missing(root, f"{name} fakes of the lists", absent, len(splits), advice)

    def _tell_others(self, root: Path) -> None:
        """Say which manipulations are there and are not read."""
        there = {one.name for one in (root / FAKES).iterdir() if one.is_dir()}
        if others := sorted(there - {*self.manipulations}):
            log.warning(
                "%s: %s is there too, and is left out by data.manipulations=[%s]",
                root, ", ".join(others), ",".join(self.manipulations),
            )  # fmt: skip


@dataclass(frozen=True)
class DfdData(ProtocolData):
    """DeepFakeDetection, by Google and Jigsaw, which comes with FaceForensics++.

    Its authors name no splits: `splits` is `ratios`.

    Attributes:
        compression: the one that is read: `raw`, `c0`, `c23` or `c40`.
    """

    TREE: ClassVar[str] = (
        "    original_sequences/actors/COMPRESSION/videos/01__SCENE.mp4\n"
        "    manipulated_sequences/DeepFakeDetection/COMPRESSION/videos/01_02__SCENE__CODE.mp4\n"
        "    (or in place of videos/NAME.mp4 the folders images/NAME/ or frames/NAME/)"
    )

    compression: str = "c23"

    def __post_init__(self) -> None:
        self.check(compression=one_of(*COMPRESSIONS))
        if self.splits != BY_RATIOS:
            raise SettingError("splits", "= 'official' is not there: its authors name no splits")

    def entries(self, root: Path) -> list[Entry]:
        """Return the scenes of actors and the fakes made of them."""
        folders = {
            f"{ORIGINALS}/{ACTORS}/{self.compression}": REAL,
            f"{FAKES}/{DFD}/{self.compression}": FAKE,
        }
        _refuse_missing(root, folders)
        entries, odd = list[Entry](), list[str]()
        for clip in find_clips(root, folders, self.media, self.expected):
            label, match = folders[clip.folder], ACTOR_NAME.fullmatch(clip.name)
            if match is None or (label == REAL) != (match[2] is None):
                odd.append(clip.key)
                continue
            entries.append(_of_actors(clip, label, match))
        tell_unnamed(root, odd, "their names are no scenes of DeepFakeDetection")
        return entries


def _of_actors(clip: Clip, label: str, match: "re.Match[str]") -> Entry:
    scene = match[3] if match[4] is None or label == FAKE else f"{match[3]}__{match[4]}"
    return Entry(
        clip.files, clip.key, label, None, None if label == REAL else DFD,
        pair=f"{match[1]}__{scene}", identities=tuple(filter(None, match.groups()[:2])),
    )  # fmt: skip


def _videos_of(pairs: Any, file: Path) -> list[str]:
    """Return the videos that the pairs of a list name."""
    whole = isinstance(pairs, list) and all(
        isinstance(pair, list)
        and len(pair) == 2
        and all(isinstance(one, str) and re.fullmatch(r"\d{3}", one) for one in pair)
        for pair in pairs
    )
    if not whole or not pairs:
        raise FaceproofError(
            f"{file} is no list of FaceForensics++: it should hold {WANTED_LISTS}; take it from "
            "dataset/splits of github.com/ondyari/FaceForensics"
        )
    return [name for pair in pairs for name in pair]


def _refuse_missing(root: Path, folders: Iterable[str], of_fakes: str = "fetch it") -> None:
    """Refuse a folder that is not there, naming the compressions that are."""
    for folder in folders:
        if (root / folder).is_dir():
            continue
        above = (root / folder).parent
        inside = above.iterdir() if above.is_dir() else ()
        beside = sorted(one.name for one in inside if one.is_dir())
        found = [one for one in beside if one in COMPRESSIONS]
        if found:
            advice = f"found {', '.join(found)}: choose one by data.compression={found[0]}"
        elif CONTAINERS.intersection(beside):
            advice = f"{above} has no folder of a compression: put what it holds below one"
        elif folder.startswith(FAKES):
            advice = of_fakes
        else:
            advice = "fetch it, or set data.root to the folder that holds it"
        raise FaceproofError(f"there is no folder {root / folder}; {advice}")
