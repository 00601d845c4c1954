"""A published protocol: a list of images with their digests, labels and splits, without the images.

`faceproof protocol write` makes one of a data set; who has the same images trains and evaluates by
it, and every result says how many of them are there unchanged.
"""

import csv
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from faceproof.data.coverage import Coverage
from faceproof.data.digests import SIZE, digests_of
from faceproof.data.listing import DataSet, Kind, absolute
from faceproof.data.lists import ABSOLUTE
from faceproof.data.own_table import check_table, map_words, read_columns
from faceproof.data.shards.paths import find_member
from faceproof.data.table import SPLITS, table_from_columns, write_table
from faceproof.errors import FaceproofError
from faceproof.io.atomic import atomic_file
from faceproof.io.names import as_on_disk
from faceproof.io.stamps import key_of
from faceproof.settings import PLACE, SHARE
from faceproof.task import Task, get_task
from faceproof.words import percent

COLUMNS = (
    *("path", "content", "label", "split", "source", "generator", "group", "component", "pair"),
)
REQUIRED = ("path", "content", "label", "split")
SUFFIXES = (".csv", ".parquet")
CONTENT = re.compile(rf"[0-9a-f]{{{2 * SIZE}}}")

Columns = dict[str, list[str | None]]

log = logging.getLogger(__name__)


class Compared(NamedTuple):
    """What of a list is there: its coverage, and which of its paths are missing and changed."""

    coverage: Coverage
    present: list[int]  # rows of the list
    missing: list[str]
    changed: list[str]


@dataclass(frozen=True)
class PublishedData(Kind):
    """The images of a published protocol that are there, unchanged.

    Attributes:
        file: the list, CSV or Parquet.
        root: the folder that its paths start from.
        min_coverage: the share of the listed images, of all and of each split, that must be present
            and unchanged.
    """

    file: str
    root: str
    min_coverage: float = 0.99

    def __post_init__(self) -> None:
        self.check(file=PLACE, root=PLACE, min_coverage=SHARE)

    def check_place(self) -> None:
        """Refuse a file or a root that is not there."""
        check_table(absolute(self.file))
        check_root_of(absolute(self.root))

    def list(self) -> DataSet:
        """Compare the list with the files; those missing or changed are left out, and counted."""
        self.check_place()
        file, root, task = absolute(self.file), absolute(self.root), get_task(self.task)
        columns = read_published(file, task)
        compared = compare(columns, file, root)
        share, split = compared.coverage.lowest()
        told = describe(compared)
        if share < self.min_coverage:
            of = f"of its split {split}" if split else "of its images"
            raise FaceproofError(
                f"{told}\nonly {percent(share)} {of} are there unchanged, and data.min_coverage "
                f"is {self.min_coverage:g}: get the images that the protocol was made of, set "
                f"data.root to the folder that its paths start from, or allow it by "
                f"data.min_coverage={int(share * 100) / 100:g}"
            )
        level = logging.INFO if not (compared.missing or compared.changed) else logging.WARNING
        log.log(level, "%s", told)
        kept = {name: [values[row] for row in compared.present] for name, values in columns.items()}
        kept.pop("content")
        kept["path"] = [place_of(root, str(path)) for path in kept["path"]]
        kept["source"] = [source or self.name for source in kept["source"]]
        data = self.data_set(table_from_columns(kept), complete=False)
        return DataSet(
            data.name, data.task, data.table, data.max_unreadable, data.allow_leaks,
            (compared.coverage,),
        )  # fmt: skip


def check_root_of(root: Path) -> None:
    """Refuse a folder of images that is not there."""
    if not root.is_dir():
        raise FaceproofError(f"there is no folder {root}, from which the paths of the list start")


def place_of(root: Path, path: str) -> str:
    """Return where a listed file is."""
    return as_on_disk(f"{root.as_posix()}/{path}")


def read_published(file: Path, task: Task | None = None) -> Columns:
    """Return the columns of a published list, checked.

    `task` is the one whose classes its labels must be; None for any.

    Raises:
        FaceproofError: it cannot be read, lacks a column, or has a path that lies elsewhere than
            below the root, is there twice, or has no digest.
    """
    columns = read_columns(file)
    if missing := [name for name in REQUIRED if name not in columns]:
        raise FaceproofError(
            f"{file} is no published protocol: it lacks the columns {', '.join(missing)}; found "
            f"{', '.join(columns)}; faceproof protocol write makes one"
        )
    nothing: list[str | None] = [None] * len(columns["path"])
    columns = {name: columns.get(name, nothing) for name in COLUMNS}
    for row, (path, content) in enumerate(zip(columns["path"], columns["content"], strict=True)):
        if path is None or ABSOLUTE.match(path) or ".." in re.split(r"[/\\]", path):
            raise FaceproofError(
                f"{file}: row {row + 1} has the path {path!r}; each must lie below the root"
            )
        if content is None or not CONTENT.fullmatch(content):
            raise FaceproofError(
                f"{file}: row {row + 1} ({path}) has the digest {content!r}; it must be "
                f"{2 * SIZE} hexadecimal digits, of BLAKE2b"
            )
    path, number = Counter(columns["path"]).most_common(1)[0]
    if number > 1:
        raise FaceproofError(f"{file} lists {path} {number} times; each may be there once")
    if odd := sorted({str(split) for split in columns["split"]} - {*SPLITS}):
        raise FaceproofError(
            f"{file} has {odd[0]!r} in the column split; the splits are {', '.join(SPLITS)}"
        )
    if task is not None:
        columns = map_words(columns, file, task, {}, {})
    return columns


def compare(columns: Mapping[str, Sequence[str | None]], file: Path, root: Path) -> Compared:
    """Compare the images of a list with the files below a folder, by their digests."""
    paths = [str(path) for path in columns["path"]]
    found = digests_of([place_of(root, path) for path in paths], str(root))
    present, missing, changed = list[int](), list[str](), list[str]()
    numbers: dict[str, list[int]] = {}
    rows = zip(paths, columns["content"], columns["split"], found, strict=True)
    for row, (path, content, split, digest) in enumerate(rows):
        of_split = numbers.setdefault(str(split), [0, 0, 0])
        of_split[0] += 1
        if digest is None:
            missing.append(path)
            of_split[1] += 1
        elif digest != content:
            changed.append(path)
            of_split[2] += 1
        else:
            present.append(row)
    splits = {name: (a, b, c) for name, (a, b, c) in sorted(numbers.items())}
    coverage = Coverage(file.stem, digest_of_list(columns), splits)
    return Compared(coverage, present, missing, changed)


def describe(compared: Compared) -> str:
    """Say what of a list is there, and name the first that is not."""
    lines = [compared.coverage.told()]
    for word, paths in (("missing", compared.missing), ("changed", compared.changed)):
        if paths:
            lines.append(f"{word}: {len(paths):,} ({paths[0]!r}{', ...' * (len(paths) > 1)})")
    return "; ".join(lines)


def digest_of_list(columns: Mapping[str, Sequence[str | None]]) -> str:
    """Return a digest of the rows of a list, the same in any file format and order."""
    rows = sorted(zip(*(columns[name] for name in COLUMNS), strict=True), key=lambda row: row[0])
    cells = (cell for row in rows for cell in row)
    return key_of("\0" if cell is None else cell for cell in cells)


def published_columns(table: pa.Table, root: Path | None) -> tuple[Columns, Path]:
    """Return an image table as a list to publish, and the folder that its paths start from.

    Args:
        table: the image table.
        root: that folder; None for the deepest one that all images are in.

    Raises:
        FaceproofError: an image lies in a shard, elsewhere than below the root, or cannot be read.
    """
    paths: list[str] = table["path"].to_pylist()
    if inside := next((path for path in paths if find_member(path)), None):
        raise FaceproofError(
            f"{inside} lies in a shard; write the protocol of the data set that the shards were "
            "written from"
        )
    folder = root or _common(paths)
    before = f"{folder.as_posix().rstrip('/')}/"
    if apart := next((path for path in paths if not path.startswith(before)), None):
        raise FaceproofError(f"{apart} does not lie below {folder}; name another folder by --root")
    digests = digests_of(paths, before)
    if unread := [p for p, d in zip(paths, digests, strict=True) if d is None]:
        raise FaceproofError(
            f"{len(unread):,} of {len(paths):,} files cannot be read, {unread[0]} the first; a "
            "protocol lists what is there"
        )
    columns: Columns = {
        name: [(one or "").strip() or None for one in table[name].to_pylist()]
        for name in COLUMNS
        if name not in ("path", "content")
    }
    columns |= {"path": [path.removeprefix(before) for path in paths], "content": [*digests]}
    return {name: columns[name] for name in COLUMNS}, folder


def _common(paths: Sequence[str]) -> Path:
    """Return the deepest folder that all files are in."""
    first, last = (path.split("/")[:-1] for path in (min(paths), max(paths)))
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    return Path("/".join(first[:same]) or "/")


def write_published(columns: Mapping[str, Sequence[str | None]], file: Path) -> None:
    """Write a list, as CSV or Parquet by the suffix of the file, atomically.

    Raises:
        FaceproofError: the file has another suffix.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise FaceproofError(f"--to {file} must end with {' or '.join(SUFFIXES)}")
    if file.suffix.lower() == ".parquet":
        write_table(
            pa.table({name: pa.array(columns[name], pa.string()) for name in COLUMNS}), file
        )
        return
    with atomic_file(file) as partial, partial.open("w", newline="", encoding="utf-8") as text:
        # In quotes, so that spaces at the start of a name stay.
        writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(COLUMNS)
        writer.writerows(zip(*(columns[name] for name in COLUMNS), strict=True))
