"""The journal of a preparation: what was done so far, so that a stopped command goes on there."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from faceproof.errors import FaceproofError
from faceproof.evaluation.json_values import plain
from faceproof.io.atomic import explain_disk_errors
from faceproof.io.parse import parse
from faceproof.io.stamps import stamp_of
from faceproof.prepare.media import Media, Result

JOURNAL = "journal.jsonl"
log = logging.getLogger(__name__)


def read_journal(folder: Path, made_with: dict[str, Any], media: list[Media]) -> dict[int, Result]:
    """Return what an earlier command has made of some of the files, by their numbers.

    That of a file which has changed since is left out; so is a last line that was cut off.

    Args:
        folder: the folder that is prepared.
        made_with: what must be the same for its results to count: settings, versions, files.
        media: the photographs and videos.

    Raises:
        FaceproofError: the earlier command had other settings, or other files.
    """
    file = folder / JOURNAL
    if not file.exists():
        return {}
    lines = file.read_bytes().split(b"\n")
    found: dict[int, Result] = {}
    for number, line in enumerate(lines[:-1]):
        try:
            value = json.loads(line)
        except ValueError:
            if number == 0:
                log.warning("the first line of %s is damaged; all is prepared again", file)
                return {}
            log.warning("%s has a damaged line; its file is prepared again", file)
            continue
        if number == 0:
            refuse_another(folder, value, made_with)
            continue
        place, result = value["file"], parse(Result, value["result"])
        if result.stamp is not None and stamp_of(media[place].path) == result.stamp:
            found[place] = result
        else:
            found.pop(place, None)
    return found


def refuse_another(folder: Path, before: dict[str, Any], made_with: dict[str, Any]) -> None:
    """Refuse to go on in a folder that was begun, or finished, with other settings or files."""
    for name, value in made_with.items():
        if before.get(name) != value:
            raise FaceproofError(
                f"{folder} was made with other {name} ({_difference(before.get(name), value)}): "
                "give another --out, or delete that folder to begin again"
            )


def _difference(before: Any, now: Any) -> str:
    """Say in a few words what differs between two plain values."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in (*now, *before):
            if before.get(key) != now.get(key):
                inner = _difference(before.get(key), now.get(key))
                return f"{key}.{inner}" if isinstance(now.get(key), dict) else f"{key}: {inner}"
    return f"{before} there, {now} now"


class Journal:
    """An open journal, to which results are added."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def add(self, number: int, result: Result) -> None:
        """Add what was made of a file."""
        self._write({"file": number, "result": plain(result)})

    def _write(self, value: dict[str, Any]) -> None:
        self.file.write(json.dumps(value, separators=(",", ":")).encode() + b"\n")
        self.file.flush()


@contextmanager
def open_journal(
    folder: Path, made_with: dict[str, Any], known: dict[int, Result]
) -> Iterator[Journal]:
    """Open the journal of a folder anew, with what is `known` already; see `read_journal`.

    Raises:
        CannotWriteError: the disk is full or cannot be written to.
    """
    file = folder / JOURNAL
    partial = file.with_suffix(".part")
    with explain_disk_errors(file), partial.open("wb") as stream:
        journal = Journal(stream)
        journal._write(made_with)
        for number, result in known.items():
            journal.add(number, result)
        partial.replace(file)
        yield journal
