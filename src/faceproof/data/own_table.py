"""Reads an image table of the user's own, and maps its words to those of an image table."""

import logging
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from faceproof.data.json_lists import json_columns
from faceproof.data.kinds import LEFT_BEHIND, LeftOut
from faceproof.data.layout import USUAL_SPLITS, Words
from faceproof.data.lists import ListedPaths, csv_rows, open_list
from faceproof.data.subgroups import offered, refuse_missing_subgroups
from faceproof.data.table import SCHEMA, SPLITS
from faceproof.data.unread import shown, words_without_use
from faceproof.errors import FaceproofError
from faceproof.io.left_behind import is_left_behind
from faceproof.io.names import CSV_SUFFIXES, JSON_SUFFIXES, LINES_SUFFIXES, folded
from faceproof.io.parquet import read_parquet
from faceproof.task import Task
from faceproof.words import meaning as meaning_of

Columns = dict[str, list[str | None]]
NULLABLE = frozenset(SCHEMA.names) - {"path"}

log = logging.getLogger(__name__)


def read_own_table(
    file: Path, names: Words, groups: Collection[str] = (), subgroups: Sequence[str] = ()
) -> Columns:
    """Read a CSV, JSON or Parquet file as columns of an image table, as text; empty cells are None.

    `names` are columns of the file and what they are called in an image table, or None to leave
    them out; a column that has such a name already, in any case, needs none. The columns that hold
    keys of `groups`, of which the table may have some, and `subgroups` stay under their names.

    Raises:
        FaceproofError: there is no such file, it cannot be read, it lacks a subgroup, or it has a
            column that is none of an image table's.
    """
    columns = read_columns(file)
    called = column_meanings(file, [*columns], names, groups, subgroups)
    return {meaning: columns[name] for name, meaning in called.items()}


def check_columns(
    file: Path, names: Words, groups: Collection[str] = (), subgroups: Sequence[str] = ()
) -> None:
    """Refuse a table that is not there, and a CSV file by its first line, as `read_own_table`.

    One without a first line is refused when it is listed.
    """
    check_table(file)
    if file.suffix.lower() in CSV_SUFFIXES and file.stat().st_size:
        with open_list(file) as lines:
            first = next(csv_rows(lines, file), None)
        if first is not None:
            column_meanings(file, [*first], names, groups, subgroups)


def column_meanings(
    file: Path, columns: Sequence[str], names: Words, groups: Collection[str],
    subgroups: Sequence[str],
) -> dict[str, str]:  # fmt: skip
    """Return what the columns of a file are called in an image table; those left out are not there.

    Raises:
        FaceproofError: as `read_own_table`.
    """
    if missing := words_without_use(names, columns):
        raise FaceproofError(
            f"data.columns gives a meaning to {missing[0]!r}, which is no column of {file}; found "
            f"{shown(columns)}; leave it out, or name one of these"
        )
    known = (*SCHEMA.names, *groups, *subgroups)
    meanings: dict[str, str | None] = {folded(name): name for name in (*groups, *subgroups)}
    meanings |= {folded(name): meaning for name, meaning in names.items()}
    every = {name: meanings.get(folded(name), folded(name)) for name in columns}
    called = {name: meaning for name, meaning in every.items() if meaning is not None}
    there = [now if now in known else name for name, now in called.items()]
    refuse_missing_subgroups(subgroups, there, str(file), "data.subgroups")
    for number, (name, meaning) in enumerate(called.items()):
        is_twice = meaning in [*called.values()][:number]
        if meaning not in known or is_twice:
            others = [one for one, now in called.items() if now not in known]
            raise FaceproofError(
                f"{file} has the columns {', '.join(columns)}; {name} "
                f"{'is there twice' if is_twice else 'is none of an image table'}, "
                f"which are {', '.join(SCHEMA.names)}: say which one it is by "
                f"{meaning_of('data.columns', name, 'path')} (null leaves it out), or name "
                "what connects images in data.groups, and other properties in data.subgroups"
                + (f": {offered('data.subgroups', [*subgroups, *others])}" if others else "")
            )
    if "path" not in called.values():
        raise FaceproofError(
            f"{file} has the columns {', '.join(columns)} and none with the images: say which one "
            "has them by data.columns.NAME=path, or name it path"
        )
    return called


def check_table(file: Path) -> None:
    """Refuse a table that is not there."""
    if not file.is_file():
        raise FaceproofError(
            f"there is no image table at {file}; set data.file to a CSV, JSON or Parquet"
        )


def read_columns(file: Path) -> Columns:
    """Return the columns of a CSV, JSON or Parquet file under its own names, as text.

    Raises:
        FaceproofError: there is no such file, or it cannot be read as a table.
    """
    check_table(file)
    suffix = file.suffix.lower()
    if suffix in CSV_SUFFIXES:
        with open_list(file) as lines:
            rows = list(csv_rows(lines, file))
        if not rows:
            raise FaceproofError(f"{file} cannot be read as an image table: it has no rows")
        return {name: [_text(row[name], name) for row in rows] for name in rows[0]}
    if suffix in (*JSON_SUFFIXES, *LINES_SUFFIXES):
        return json_columns(file)
    if suffix != ".parquet":
        known = ", ".join((*CSV_SUFFIXES, *JSON_SUFFIXES, *LINES_SUFFIXES, ".parquet"))
        raise FaceproofError(f"{file} is neither of {known}, as an image table must be")
    raw = read_parquet(file, follow=True)
    try:
        flat = [name for name in raw.column_names if not pa.types.is_nested(raw[name].type)]
        return {name: raw[name].cast(pa.string()).to_pylist() for name in flat}
    except pa.ArrowException as error:
        raise FaceproofError(f"{file} cannot be read as an image table: {error}") from error


def _text(cell: str, column: str) -> str | None:
    """Return a cell; spaces around it belong to a path, which may have them."""
    return (cell if column == "path" else cell.strip()) or None


def map_words(
    columns: Columns, file: Path, task: Task, labels: Words, splits: Words, settings: str = "data."
) -> Columns:
    """Bring labels and splits to the words of an image table, and leave out what means nothing.

    Class names and the usual words for splits are known in any case; `labels` and `splits` say what
    others mean, None to leave their rows out. `settings` is what the names of these settings begin
    with.

    Raises:
        FaceproofError: a word has no meaning.
    """
    known = {
        "label": {name: name for name in task.classes},
        "split": USUAL_SPLITS | {name: name for name in SPLITS} | {"unlabeled": "unlabelled"},
    }
    given = {"label": labels, "split": splits}
    for name, words in given.items():
        if words and name not in columns:
            raise FaceproofError(
                f"{settings}{name}s changes nothing: {file} has no column {name}; name one by "
                f"{settings}columns.COLUMN={name}, or leave {settings}{name}s out"
            )
    keep = [True] * len(columns["path"])
    for column in [name for name in known if name in columns]:
        words = {
            _word(word): meaning for word, meaning in (known[column] | dict(given[column])).items()
        }
        found = {word for word in columns[column] if word is not None}
        if unknown := sorted(word for word in found if _word(word) not in words):
            raise _unknown(unknown, column, columns, file, task, settings)
        for row, word in enumerate(columns[column]):
            if word is not None:
                meaning = words[_word(word)]
                columns[column][row] = meaning
                keep[row] &= meaning is not None
        met = {_word(word) for word in found}
        if missing := [word for word in given[column] if _word(word) not in met]:
            log.warning(
                "%s: %s%ss gives a meaning to %s, found in no row; the rows have %s",
                file, settings, column, ", ".join(map(repr, missing)), shown(found),
            )  # fmt: skip
    return _chosen(columns, keep)


def _unknown(
    words: Sequence[str], column: str, columns: Columns, file: Path, task: Task, settings: str
) -> FaceproofError:
    """Return the error for words of a column that have no meaning; which is the user's to say."""
    first, *others = task.classes if column == "label" else SPLITS
    row = columns[column].index(words[0])
    example = meaning_of(f"{settings}{column}s", words[0], first)
    either = " or ".join(f"={other}" for other in others)
    return FaceproofError(
        f"{file} has {shown(words)} in the column {column} ({columns['path'][row]}); known are "
        f"{', '.join((first, *others))}: say what each means by {example} or {either} (null leaves "
        "its rows out)"
    )


def _word(word: str) -> str:
    """Return a word in the form in which non-face, Non_Face and NON FACE are one."""
    return folded(str(word)).replace("-", "_").replace(" ", "_")


def find_files(columns: Columns, file: Path, root: Path) -> Columns:
    """Replace the paths of a table by those of files on this machine.

    Relative ones start from `root`. Rows of files that systems and programs leave behind are left
    out, and counted.
    """
    paths, left_out, keep = ListedPaths(root, file), LeftOut(), []
    missing = 0
    for row, path in enumerate(columns["path"]):
        if path is None:
            raise FaceproofError(f"{file}: row {row + 1} has no path")
        found = paths.find(path)
        columns["path"][row] = found
        missing += not os.path.lexists(found)
        keep.append(not is_left_behind(path))
        if not keep[-1]:
            left_out.add(LEFT_BEHIND, path)
    if left_out:
        log.warning("%s: %s", file, left_out)
    if missing == len(keep) > 0:
        log.warning(
            "%s: none of its %s files is there, %s the first; set data.root to the folder that its "
            "paths start from", file, f"{missing:,}", columns["path"][0],
        )  # fmt: skip
    return _chosen(columns, keep)


def _chosen(columns: Columns, keep: Sequence[bool]) -> Columns:
    def chosen(values: Iterable[str | None]) -> list[str | None]:
        return [value for value, kept in zip(values, keep, strict=True) if kept]

    return {name: chosen(values) for name, values in columns.items()}


def split_keys(columns: Mapping[str, list[str | None]]) -> list[str]:
    """Return the paths as they decide on splits: the same on every system."""
    return [str(path).replace("\\", "/") for path in columns["path"]]
