"""Celeb-DF (v1 and v2) by its list of testing videos.

The name of a fake says `original_donor_number`: `id0_id16_0003` is the video `id0_0003` with the
face of id16, as its authors say.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from faceproof.data.layout import Words
from faceproof.data.listing import MAPPING
from faceproof.data.lists import bare_lines, open_list
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

LIST = "List_of_testing_videos.txt"
FOLDERS = {"celeb-real": REAL, "youtube-real": REAL, "celeb-synthesis": FAKE}
PERSON_NAME = re.compile(r"(id\d+)(?:_(id\d+))?_(\d+)")
LINE = re.compile(r"(\S+)\s+(\S.*)")
GENERATOR = "celeb_synthesis"


@dataclass(frozen=True)
class CelebDFData(ProtocolData):
    """Celeb-DF; what its list of testing videos does not name is for training.

    Attributes:
        labels: the numbers in the list, and their classes: 1 is real.
    """

    TREE: ClassVar[str] = (
        f"    {LIST}\n"
        "    Celeb-real/id0_0000.mp4\n"
        "    YouTube-real/00000.mp4\n"
        "    Celeb-synthesis/id0_id1_0000.mp4\n"
        "    (or in place of NAME.mp4 a folder NAME/ of frames, both maybe in videos/ or frames/)"
    )

    labels: Words

    def __post_init__(self) -> None:
        self.check(labels=MAPPING)
        if sorted(map(str, self.labels.values())) != sorted((REAL, FAKE)):
            raise SettingError(
                "labels", f"= {dict(self.labels)} must say which number is real and which is fake"
            )

    def entries(self, root: Path) -> list[Entry]:
        """Return the videos of the three folders, those of the list for testing."""
        there = {one.name for one in root.iterdir() if one.is_dir()}
        folders = sorted(one for one in there if one.lower() in FOLDERS)
        lacking = FOLDERS.keys() - {one.lower() for one in folders}
        if lacking - {"youtube-real"}:  # some have no YouTube-real
            raise FaceproofError(
                f"there is no folder {min(lacking - {'youtube-real'})} below {root}; found "
                f"{', '.join(sorted(there)) or 'no folder'}\n{self.expected}\nset data.root"
            )
        clips = find_clips(root, folders, self.media, self.expected)
        tested = self._tested(root, clips) if self.splits == OFFICIAL else None
        entries, odd = list[Entry](), list[str]()
        for clip in clips:
            if (entry := _entry(clip)) is None:
                odd.append(clip.key)
                continue
            if tested is not None:
                split = "test" if folded(clip.key) in tested else "train"
                entry = replace(entry, split=split)
            entries.append(entry)
        tell_unnamed(root, odd, "their names are no videos of Celeb-DF")
        return entries

    def _tested(self, root: Path, clips: list[Clip]) -> set[str]:
        """Return the keys of the videos that the list names."""
        file, there = root / LIST, by_key(clips)
        if not file.is_file():
            raise FaceproofError(
                f"there is no {file}, which comes with Celeb-DF and names its testing videos; put "
                "it there, or divide the videos by data.splits=ratios"
            )
        tested = dict(self._lines(file))
        missing = [key for key in tested if folded(key) not in there]
        tell_missing(file, "testing videos", missing, len(tested), f"look below {root}")
        return {folded(key) for key in tested}

    def _lines(self, file: Path) -> Iterator[tuple[str, str]]:
        """Yield the key and the class of each line, `1 YouTube-real/00170.mp4`."""
        labels = {str(number): label for number, label in self.labels.items()}
        with open_list(file) as lines:
            for number, line in enumerate(bare_lines(lines), start=1):
                match = LINE.fullmatch(line.strip())
                if match is None or match[1] not in labels:
                    raise FaceproofError(
                        f"{file}, line {number} is {line!r}; each should be a number of "
                        f"data.labels ({', '.join(labels)}) and a video, as 1 Celeb-real/NAME.mp4"
                    )
                key, said = key_of(match[2]), labels[match[1]]
                meant = FOLDERS.get(key.partition("/")[0].lower())
                if meant is None or meant != said:
                    raise FaceproofError(
                        f"{file}, line {number} is {line!r}: {match[1]} means {said} by "
                        f"data.labels, and the folder says {meant or 'nothing'}; in the authors' "
                        "list 1 is real and 0 is fake"
                    )
                yield key, said


def _entry(clip: Clip) -> Entry | None:
    """Return what a video's folder and name say; None for no name of Celeb-DF."""
    folder = clip.folder.lower()
    label, match = FOLDERS.get(folder), PERSON_NAME.fullmatch(clip.name)
    if folder == "youtube-real":
        return Entry(clip.files, clip.key, REAL)
    if label is None or match is None or (label == REAL) != (match[2] is None):
        return None
    person, donor, number = match.groups()
    return Entry(
        clip.files, clip.key, label, None, GENERATOR if label == FAKE else None,
        pair=f"{person}_{number}", identities=tuple(filter(None, (person, donor))), unit=person,
    )  # fmt: skip
