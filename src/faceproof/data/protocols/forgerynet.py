"""ForgeryNet by its lists of images: a path, a number for real or fake, and two finer classes.

The folder that a path begins with, as in `train_release/7/`, says what made the image: 1 to 15 are
ways to make fakes, 16 to 19 are where real images come from. The authors take it as decisive.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from faceproof.data.layout import Words
from faceproof.data.listing import MAPPING
from faceproof.data.lists import ListedPaths, bare_lines, open_list
from faceproof.data.protocols.clips import IMAGES, tell_missing
from faceproof.data.protocols.protocol import FAKE, OFFICIAL, REAL, Entry, ProtocolData
from faceproof.errors import FaceproofError
from faceproof.settings import Rule, SettingError

LISTS = Rule(
    lambda value: MAPPING.fits(value) and set(value) <= {"train", "val", "test"}
    and all(one is None or (isinstance(one, str) and one.strip()) for one in value.values())
    and any(value.values()),
    "train, val and test, and the list of each, or null; not null for all",
)  # fmt: skip
NUM_NUMBERS = 3  # of two, of three and of 16 classes, behind the path
FOLDER = re.compile(r"[^/]*/(\d+)/")
FAKE_FOLDERS, REAL_FOLDERS = range(1, 16), range(16, 20)


@dataclass(frozen=True)
class ForgeryNetData(ProtocolData):
    """ForgeryNet's images; the lists name no originals.

    Attributes:
        lists: a split and its list, relative to the root; null for none.
        labels: the numbers of the column for two classes, and their classes: 0 is real.
        generators: the numbers of folders, and the names of what made the fakes in them; others are
            called method_NUMBER.
    """

    TREE: ClassVar[str] = (
        "    Training/image_list.txt\n"
        "    Training/image/train_release/7/... (the images that the list names)\n"
        "    Validation/image_list.txt\n"
        "    ..."
    )

    lists: Mapping[str, str | None]
    labels: Words
    generators: Words | None = None

    def __post_init__(self) -> None:
        self.check(lists=LISTS, labels=MAPPING)
        if self.media not in (None, IMAGES):
            raise SettingError("media", f"= {self.media!r} changes nothing: images are listed")
        if sorted(map(str, self.labels.values())) != sorted((REAL, FAKE)):
            raise SettingError(
                "labels", f"= {dict(self.labels)} must say which number is real and which is fake"
            )

    def entries(self, root: Path) -> list[Entry]:
        """Return the images of the lists that are there."""
        entries = list[Entry]()
        for split, name in self.lists.items():
            if name is None:
                continue
            if not (file := root / name).is_file():
                raise FaceproofError(
                    f"there is no {file}; fetch it, or leave the split out by "
                    f"data.lists.{split}=null\n{self.expected}"
                )
            entries += self._of_list(file, split if self.splits == OFFICIAL else None)
        return entries

    def _of_list(self, file: Path, split: str | None) -> list[Entry]:
        names = {str(number): name for number, name in (self.generators or {}).items()}
        paths = [ListedPaths(folder, file) for folder in _folders(file)]
        entries, missing, total = list[Entry](), list[str](), 0
        for path, word in _lines(file):
            folder = FOLDER.match(path)
            label = self._label(file, path, word, folder and folder[1])
            total += 1
            place = next((p for one in paths if Path(p := one.find(path)).is_file()), None)
            if place is None:
                missing.append(path)
                continue
            number = folder[1] if folder else "unknown"
            maker = names.get(number) or f"method_{number}" if label == FAKE else None
            group = path.rpartition("/")[0] or None
            entries.append(Entry((place,), group, label, split, maker))
        tell_missing(file, "images", missing, total, f"look beside {file}")
        return entries

    def _label(self, file: Path, path: str, word: str, folder: str | None) -> str:
        """Return the class of a line, which must be that of its folder."""
        labels = {str(number): label for number, label in self.labels.items()}
        if word not in labels:
            raise FaceproofError(
                f"{file} has the class {word!r} ({path}), which data.labels does not know; it "
                f"knows {', '.join(labels)}"
            )
        number = int(folder or 0)
        meant = FAKE if number in FAKE_FOLDERS else REAL if number in REAL_FOLDERS else None
        if meant is not None and meant != labels[word]:
            others = " ".join(
                f"data.labels.{one}={FAKE if label == REAL else REAL}"
                for one, label in labels.items()
            )
            raise FaceproofError(
                f"{file} has the class {word} for {path}, which means {labels[word]} by "
                f"data.labels, and folder {number} is one of {meant} images: this list counts the "
                f"other way round; set {others}"
            )
        return str(labels[word])


def _folders(file: Path) -> list[Path]:
    """Return the folders that the paths of a list may start from."""
    inside = [file.parent / name for name in ("image", "images")]
    return [one for one in (*inside, file.parent) if one.is_dir()]


def _lines(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the path and the number of two classes of each line."""
    with open_list(file) as lines:
        for number, line in enumerate(bare_lines(lines), start=1):
            parts = line.rsplit(maxsplit=NUM_NUMBERS)
            if len(parts) != NUM_NUMBERS + 1 or not all(one.isdigit() for one in parts[1:]):
                raise FaceproofError(
                    f"{file}, line {number} is {line!r}; each should be a path and three numbers: "
                    "of two, of three and of 16 classes"
                )
            yield parts[0], parts[1]
