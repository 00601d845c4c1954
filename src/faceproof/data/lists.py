"""Reads lists of files as people have them: CSV as spreadsheets and scripts write it, or text.

The encoding and the delimiter are found out; paths may have back-slashes, accents in another form,
or lie below a folder of another machine.
"""

import codecs
import csv
import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from faceproof.errors import FaceproofError
from faceproof.io.names import as_on_disk

DELIMITERS = ",;\t|"
MAX_SEARCHES = 20  # for files that are not where a list says, before no more is looked for
ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:[/\\]")

log = logging.getLogger(__name__)


def open_list(file: Path, errors: str = "strict") -> TextIO:
    """Open a list as text, in UTF-8 or UTF-16, with or without a byte order mark.

    `errors` says what becomes of bytes that are no UTF-8, as for `open`.
    """
    with file.open("rb") as raw:
        start = raw.read(64)
    encoding = "utf-8-sig"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding, errors = "utf-16", "strict"
    else:
        for half, name in ((start[0::2], "utf-16-be"), (start[1::2], "utf-16-le")):
            if half.count(0) * 2 > len(half):  # as most text is ASCII
                encoding, errors = name, "strict"
    return file.open(encoding=encoding, errors=errors, newline="")


def csv_rows(lines: TextIO, file: Path | str) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file by the names of their columns; empty lines are left out.

    The delimiter is the one that makes most columns of the first line: comma, semicolon, tabulator
    or bar. Names are in lower case. A column without a name is left out if it is the first, as
    pandas writes its index, or empty, as commas at line ends make it.

    Raises:
        FaceproofError: it is empty, is no text, a name is there twice, or a row has another number
            of cells than the first line.
    """
    try:
        yield from _csv_rows(lines, file)
    except UnicodeError as error:
        raise FaceproofError(
            f"{file} cannot be read as text in UTF-8 or UTF-16 ({error}); save it as UTF-8 "
            "(in Excel: CSV UTF-8)"
        ) from error
    except csv.Error as error:
        raise FaceproofError(f"{file} cannot be read as CSV: {error}") from error


def _csv_rows(lines: TextIO, file: Path | str) -> Iterator[dict[str, str]]:
    header = next((line for line in lines if line.strip()), "")
    number = 1
    if match := re.fullmatch(r'"?sep=(.)"?\s*', header):  # Excel's note of its delimiter
        delimiter, header = match[1], lines.readline()
        number = 2
    else:
        delimiter = max(DELIMITERS, key=lambda one: len(_cells(header, one)))
    names = [name.strip().lower() for name in _cells(header, delimiter)]
    if not any(names):
        raise FaceproofError(f"{file} is empty; its first line must name the columns, one 'path'")
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise FaceproofError(f"{file} has the column {twice[0]} twice; remove one")
    for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True):
        if any(map(str.strip, row)):
            number += 1
            yield _by_name(row, names, f"{file}, row {number}")


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])


def _by_name(row: list[str], names: list[str], where: str) -> dict[str, str]:
    filled = len(names) if names[-1] else len(names) - 1
    surplus = [cell for cell in row[filled:] if cell.strip()]
    surplus += [
        cell for name, cell in zip(names[1:], row[1:], strict=False) if not name and cell.strip()
    ]
    if len(row) < filled or surplus:
        raise FaceproofError(
            f"{where} cannot be read: it has {len(row)} cells, and the first line names "
            f"{filled} columns; put a path with the delimiter in it between quotes"
        )
    return {name: cell for name, cell in zip(names, row, strict=False) if name}


def bare_lines(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a text without their ends; empty ones are left out."""
    for line in lines:
        bare = line.rstrip("\n")
        if bare.strip():
            # macOS' Icon files end with a carriage return themselves.
            yield bare if bare.lower().endswith("icon\r") else bare.rstrip("\r")


class ListedPaths:
    """Finds the files that a list names.

    Args:
        folder: where relative paths start from.
        file: the list, for messages.
    """

    def __init__(self, folder: Path, file: Path) -> None:
        self.folder, self.file = str(folder), file
        self._moved: list[str] = []  # beginnings of paths for which `folder` stands here
        self._searches = 0

    def find(self, path: str) -> str:
        """Return the place of a file; where it is not there, the place that the list says."""
        forms = list(dict.fromkeys((path, path.strip().strip("\"'"))))
        forms += [form.replace("\\", "/") for form in forms if "\\" in form]
        places = [os.path.normpath(os.path.join(self.folder, form)) for form in forms]  # noqa: PTH118
        for place in places:
            if os.path.lexists(found := as_on_disk(place)):
                return found
        plain = forms[-1]
        elsewhere = self._elsewhere(plain) if ABSOLUTE.match(plain) else None
        said = places[-1 if "\\" in path else 0]
        return said if elsewhere is None else elsewhere

    def _elsewhere(self, path: str) -> str | None:
        """Return where a file of another machine is below the folder; None if nowhere."""
        for beginning in self._moved:
            rest = path.removeprefix(beginning)
            if rest != path and (place := self._below(rest)) is not None:
                return place
        if self._searches >= MAX_SEARCHES:
            return None
        self._searches += 1
        parts = path.split("/")
        for number in range(1, len(parts)):
            if (found := self._below("/".join(parts[number:]))) is not None:
                beginning = "/".join(parts[:number]) + "/"
                self._moved.append(beginning)
                log.warning(
                    "%s: there is no %s on this machine; the files of the same names below %s are "
                    "taken", self.file, beginning, self.folder,
                )  # fmt: skip
                return found
        return None

    def _below(self, path: str) -> str | None:
        found = as_on_disk(os.path.normpath(os.path.join(self.folder, path.lstrip("/"))))  # noqa: PTH118
        return found if os.path.isfile(found) else None  # noqa: PTH113
