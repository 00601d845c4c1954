"""Reads lists in JSON: of files, labels and splits, as authors and scripts write them.

What stands twice is refused, of which Python's reader would silently keep the last.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from faceproof.data.lists import open_list
from faceproof.errors import FaceproofError
from faceproof.io.names import LINES_SUFFIXES

TABLE_FORMS = (
    'a list of records, [{"path": "a.jpg", "label": "real"}, ...]; paths and labels, {"a.jpg": '
    '"real", ...}; or paths and records, {"a.jpg": {"label": "real"}, ...}'
)


def read_json(file: Path, what: str) -> Any:
    """Return what a JSON file holds; `what` it should hold is for messages.

    Raises:
        FaceproofError: there is no such file, it is no JSON, or has a name twice in one object.
    """
    try:
        with open_list(file) as text:
            return json.load(text, object_pairs_hook=_once)
    except FileNotFoundError as error:
        raise FaceproofError(f"there is no {file}, which should hold {what}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise FaceproofError(
            f"{file} cannot be read as JSON ({error}); it should hold {what}"
        ) from error


def json_columns(file: Path) -> dict[str, list[str | None]]:
    """Return the columns of a table in JSON, or in JSON lines, as text; null and "" are None.

    Raises:
        FaceproofError: it cannot be read, or is of another form than `TABLE_FORMS`.
    """
    lines = file.suffix.lower() in LINES_SUFFIXES
    records = _records_of_lines(file) if lines else _records(read_json(file, TABLE_FORMS), file)
    names = list(dict.fromkeys(name for record in records for name in record))
    if not names:
        raise FaceproofError(f"{file} cannot be read as an image table: it has no rows")
    return {name: [_text(record.get(name), name) for record in records] for name in names}


def _records(held: Any, file: Path) -> list[Mapping[str, Any]]:
    if isinstance(held, list) and all(isinstance(one, Mapping) for one in held):
        return held
    if isinstance(held, Mapping) and not any(isinstance(one, list) for one in held.values()):
        whole = [isinstance(one, Mapping) for one in held.values()]
        if not any(whole):
            return [{"path": path, "label": label} for path, label in held.items()]
        if all(whole):
            return [{"path": path, **record} for path, record in held.items()]
    raise FaceproofError(f"{file} cannot be read as an image table: it should hold {TABLE_FORMS}")


def _records_of_lines(file: Path) -> list[Mapping[str, Any]]:
    try:
        with open_list(file) as lines:
            return [*_parsed(lines, file)]
    except UnicodeError as error:
        raise FaceproofError(
            f"{file} cannot be read as text in UTF-8 or UTF-16 ({error}); save it as UTF-8"
        ) from error


def _parsed(lines: Iterable[str], file: Path) -> Iterable[Mapping[str, Any]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise FaceproofError(f"{file}, line {number} is no JSON: {error}") from error
        if not isinstance(record, Mapping):
            raise FaceproofError(
                f'{file}, line {number} is {line.strip()!r}; each should be one record, as {{"path"'
                ': "a.jpg", "label": "real"}'
            )
        yield record


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of names and values, each name there once."""
    held = dict(pairs)
    if len(held) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} stands in it twice")
    return held


def _text(value: Any, column: str) -> str | None:
    """Return a value as a cell of a table: 1 and 1.0 are 1, true is true."""
    if value is None:
        return None
    if isinstance(value, str):
        return (value if column == "path" else value.strip()) or None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)
