"""DeeperForensics-1.0 by its lists; its real videos are the originals of FaceForensics++.

The name of a fake says `target_source`: `000_M101` is video 000 of FaceForensics++ with the face of
the actor M101.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from faceproof.data.listing import absolute
from faceproof.data.lists import bare_lines, open_list
from faceproof.data.protocols.clips import find_clips, key_of, tell_missing, tell_unnamed
from faceproof.data.protocols.faceforensics import COMPRESSIONS, ORIGINALS, YOUTUBE
from faceproof.data.protocols.protocol import FAKE, OFFICIAL, REAL, Entry, ProtocolData
from faceproof.errors import FaceproofError
from faceproof.settings import PLACE, Rule, is_name, one_of, optional

FAKES, LISTS = "manipulated_videos", "lists/splits"
FAKE_NAME = re.compile(r"(\d{3})_([MW]\d{3})", re.IGNORECASE)
VARIANTS = Rule(
    lambda value: isinstance(value, Sequence) and not isinstance(value, str)
    and len(value) > 0 and all(map(is_name, value)) and len(set(value)) == len(value),
    "a list of folders below manipulated_videos",
)  # fmt: skip


@dataclass(frozen=True)
class DeeperForensicsData(ProtocolData):
    """DeeperForensics-1.0; a fake and its target video are a pair.

    Attributes:
        targets: the folder of FaceForensics++, whose originals are the real videos; None for fakes
            alone, which can be evaluated on and not trained on.
        compression: of the originals; its authors name c23.
        variants: the folders below `manipulated_videos` that are read.
    """

    TREE: ClassVar[str] = (
        "    lists/splits/train.txt|val.txt|test.txt\n"
        "    manipulated_videos/end_to_end/000_M101.mp4\n"
        "    (or in place of NAME.mp4 a folder NAME/ of frames, both maybe in videos/ or frames/)"
    )

    targets: str | None = None
    compression: str = "c23"
    variants: Sequence[str] = ("end_to_end",)

    def __post_init__(self) -> None:
        self.check(
            targets=optional(PLACE), compression=one_of(*COMPRESSIONS), variants=VARIANTS
        )  # fmt: skip

    def entries(self, root: Path) -> list[Entry]:
        """Return the fakes of the variants, and the originals that they were made from."""
        folders = {f"{FAKES}/{variant}": variant for variant in self.variants}
        for folder, variant in folders.items():
            if not (root / folder).is_dir():
                raise FaceproofError(
                    f"there is no folder {root / folder}; fetch it, or leave {variant} out of "
                    "data.variants"
                )
        splits = self._splits(root) if self.splits == OFFICIAL else None
        entries, odd = list[Entry](), list[str]()
        for clip in find_clips(root, folders, self.media, self.expected):
            match = FAKE_NAME.fullmatch(clip.name)
            if match is None or (splits is not None and clip.name.lower() not in splits):
                odd.append(clip.key)
                continue
            generator = f"deeperforensics_{folders[clip.folder]}"
            entry = Entry(
                clip.files, clip.key, FAKE, None, generator, match[1], (match[1],), (match[2],)
            )
            split = None if splits is None else splits[clip.name.lower()]
            entries.append(replace(entry, split=split))
        tell_unnamed(root, odd, "no list names them, or their names are none of DeeperForensics")
        if splits is not None:
            there = {key_of(str(entry.group)).rpartition("/")[2].lower() for entry in entries}
            missing = [name for name in splits if name not in there]
            tell_missing(root / LISTS, "videos", missing, len(splits), f"look below {root / FAKES}")
        return entries if self.targets is None else entries + self._originals(entries)

    def _splits(self, root: Path) -> dict[str, str]:
        """Return the split of each fake, by its name."""
        splits: dict[str, str] = {}
        for split in ("train", "val", "test"):
            file = root / LISTS / f"{split}.txt"
            if not file.is_file():
                raise FaceproofError(
                    f"there is no {file}, which comes with DeeperForensics; put it there, or "
                    "divide the videos by data.splits=ratios"
                )
            with open_list(file) as lines:
                for line in bare_lines(lines):
                    name = key_of(line.strip()).rpartition("/")[2].lower()
                    if splits.setdefault(name, split) != split:
                        raise FaceproofError(
                            f"{file} names {name}, which {splits[name]}.txt names too; a video may "
                            "be in one split only"
                        )
        return splits

    def _originals(self, fakes: Sequence[Entry]) -> list[Entry]:
        """Return the target videos of fakes, each in the split of its fakes."""
        root = absolute(str(self.targets))
        folder = f"{ORIGINALS}/{YOUTUBE}/{self.compression}"
        if not (root / folder).is_dir():
            raise FaceproofError(
                f"there is no folder {root / folder}, in which the real videos of DeeperForensics "
                "are looked for; set data.targets to the folder of FaceForensics++, or to null for "
                "the fakes alone"
            )
        wanted = {str(fake.pair): fake.split for fake in fakes}
        expected = f"expected:\n  {root}/\n    {folder}/videos/000.mp4"
        clips = find_clips(root, [folder], self.media, expected)
        there = {clip.name: clip for clip in clips}
        missing = [name for name in wanted if name not in there]
        tell_missing(root / folder, "target videos", missing, len(wanted), "set data.targets")
        return [
            Entry(
                tuple(f"{root.as_posix()}/{file}" for file in there[name].files),
                there[name].key, REAL, split, None, name, (name,),
            )
            for name, split in wanted.items() if name in there
        ]  # fmt: skip
