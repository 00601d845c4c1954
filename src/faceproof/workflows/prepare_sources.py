"""What `faceproof prepare` is given: the photographs and videos to prepare, and their labels."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceproof import lookup
from faceproof.errors import FaceproofError
from faceproof.words import counted, for_shell

if TYPE_CHECKING:
    from faceproof.data import DataSet
    from faceproof.prepare.tables import Row

TABLES = (".json", ".jsonl", ".ndjson", ".parquet")  # that data=table reads

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listed:
    """The photographs and videos to prepare.

    Attributes:
        task: whose labels they have.
        rows: a row of an image table for each, and where its name is no text `file`, the path.
    """

    task: str
    rows: "Sequence[Row]"


def listed_data(data: "DataSet") -> Listed:
    """Return the photographs and videos of a data set, with their labels and splits."""
    return Listed(data.task.name, data.table.to_pylist())


def videos_alone(values: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of `data=videos` as those of its folders, which list the videos.

    Others are returned as they are. Settings below `data.prepare` are options of the command here.
    """
    if values.get("kind") != lookup.LIST_VIDEOS:
        return values
    folder = {name: value for name, value in values.items() if name != "prepare"}
    return folder | {"kind": "folder"}


def listed_paths(words: Sequence[str]) -> Listed:
    """Return photographs and videos without labels; see `inference.inputs.list_images`.

    Raises:
        FaceproofError: a word names nothing, or there are no photographs or videos.
    """
    from faceproof.data.kinds import LeftOut
    from faceproof.data.table import SCHEMA
    from faceproof.inference.inputs import list_images
    from faceproof.io.plain_files import printable

    left_out = LeftOut()
    empty = dict.fromkeys(SCHEMA.names)
    for word in words:
        _tell_of_labels(word)
    paths = [os.path.abspath(path) for path in list_images(words, left_out)]
    rows = [
        {**empty, "path": printable(path), "file": path, "split": "unlabelled", "source": "files"}
        for path in dict.fromkeys(paths)
    ]
    if left_out:
        log.warning("%s", left_out)
    if repeated := len(paths) - len(rows):
        log.warning("%s named more than once, and prepared once", counted(repeated, "file"))
    if not rows:
        raise FaceproofError(f"there are no photographs or videos in {', '.join(words)}")
    return Listed("deepfake", rows)


def _tell_of_labels(word: str) -> None:
    """Warn of the columns of a list that only `data=table` reads; refuse a list that it alone does.

    Raises:
        FaceproofError: the word is a table in JSON or Parquet.
    """
    from faceproof.data.lists import csv_rows, open_list
    from faceproof.data.table import SCHEMA
    from faceproof.io.names import CSV_SUFFIXES

    file = Path(word)
    suffix = file.suffix.lower()
    advice = f"faceproof prepare data=table {for_shell(f'data.file={word}')}"
    if suffix in TABLES:
        raise FaceproofError(f"{word} is a table: {advice} prepares what it lists")
    if suffix not in CSV_SUFFIXES or not file.is_file():
        return
    with open_list(file, errors="surrogateescape") as lines:
        first = next(iter(csv_rows(lines, file)), {})
    if unread := [name for name in first if name in SCHEMA.names and name != "path"]:
        log.warning("%s: %s not read; %s reads the whole table", word, ", ".join(unread), advice)
