"""Read JSON and YAML that another person may have written: regular files of bounded size, as data.

All that faceproof reads of a run or an artifact goes through here, `io.parquet` for tables, or
`models.state_dicts` for weights. Nothing is followed, nothing is waited for, nothing is called.
"""

import errno
import json
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

import yaml

from faceproof.errors import FaceproofError

MAX_JSON = 50_000_000  # bytes; a report of a million groups has a tenth of that
MAX_YAML = 1_000_000  # bytes; the settings of a run have some thousands
MAX_DEPTH = 50
MAX_INTEGER = 2**63
MAX_ENTRIES = 100_000  # files and folders of a run
MAX_FOLDERS = 20  # one within another
# A link is refused, and a pipe that nobody writes to is not waited for; not every system has these.
AS_IT_IS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

Read = TypeVar("Read")
# libyaml's, where it is installed: the same, ten times as fast.
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Dumper(yaml.SafeDumper):
    """Writes a value that stands in two places twice, because `read_yaml` takes no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def open_plain(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a regular file and return its descriptor; `flags` may ask to write.

    Raises:
        FaceproofError: it is a link, a pipe, a device or a folder.
        OSError: it is missing, or the system refuses.
    """
    try:
        number = os.open(path, flags | AS_IT_IS, 0o666)
    except OSError as error:
        # A link; a pipe that nobody reads, a socket; a folder to be written to.
        if path.is_symlink() or error.errno in (errno.ENXIO, errno.ENODEV, errno.EISDIR):
            raise special_file(path) from error
        raise
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise special_file(path)
    return number


def special_file(path: Path) -> FaceproofError:
    """Return the error for what is not read or written, because it may stand for something else."""
    return FaceproofError(
        f"{path} is a link or no plain file; a run or an artifact holds its own files: remove it, "
        "or put the file itself there"
    )


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """Return the bytes of a regular file, at most `limit`.

    Raises:
        FaceproofError: it is missing, no regular file, too large, or cannot be read.
    """
    return read_with(path, lambda file: file.read(), limit)


def read_with(
    path: Path,
    read: Callable[[IO[bytes]], Read],
    limit: int | None = None,
    follow: bool = False,
) -> Read:
    """Return what `read` makes of a regular file; see `read_bytes`.

    A link is followed only where the user has named the file.
    """
    try:
        with os.fdopen(open_plain(path.resolve() if follow else path), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if limit is not None and size > limit:
                raise FaceproofError(
                    f"{path} has {size:,} bytes; at most {limit:,} are sensible, so it is not read"
                )
            return read(file)
    except OSError as error:
        raise FaceproofError(f"{path} cannot be read: {error.strerror or error}") from error


def read_json(path: Path, advice: str, limit: int = MAX_JSON, escaped: bool = True) -> Any:
    """Return the plain values of a JSON file.

    Its texts are as `printable` makes them, unless they are not to be `escaped`: words that are
    compared, or used again.

    Raises:
        FaceproofError: as `read_bytes`, or it is no JSON of finite numbers and bounded depth; the
            message ends with `advice`.
    """
    return json_values(read_bytes(path, limit), str(path), advice, escaped)


def json_values(data: bytes, name: str, advice: str, escaped: bool = True) -> Any:
    """Return the plain values of JSON that came from a file, or from elsewhere; see `read_json`."""
    try:
        return plain_value(json.loads(data, parse_constant=_refuse_constant), escaped)
    except (ValueError, RecursionError) as error:
        raise FaceproofError(f"{name} is damaged, no whole JSON: {error}; {advice}") from error


def read_object(
    path: Path, advice: str, limit: int = MAX_JSON, escaped: bool = True
) -> dict[str, Any]:
    """Return the object in a JSON file; see `read_json`."""
    found = read_json(path, advice, limit, escaped)
    if not isinstance(found, dict):
        raise FaceproofError(
            f"{path} is damaged: it holds a {type(found).__name__} and no names with values; "
            f"{advice}"
        )
    return found


def read_yaml(path: Path, advice: str) -> Any:
    """Return the plain values of a YAML file without aliases.

    Raises:
        FaceproofError: as `read_bytes`, or it is no YAML of plain values; the message ends with
            `advice`.
    """
    data = read_bytes(path, MAX_YAML)
    try:
        text = data.decode()
        _refuse_nesting(text)
        return plain_value(yaml.load(text, Loader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FaceproofError(f"{path} is damaged: {error}; {advice}") from error


def yaml_text(values: Any) -> str:
    """Return plain values as YAML that `read_yaml` reads."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _refuse_nesting(text: str) -> None:
    """Refuse aliases, of which a few lines can stand for more than the memory, and depth.

    Events are read one by one, so that this takes no more memory than the file has.
    """
    depth = 0
    for event in yaml.parse(text, Loader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it repeats a part by an alias, and plain settings have none")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


def plain_value(value: Any, escaped: bool = False, depth: int = 0) -> Any:
    """Return a value if it consists of mappings, lists, texts, numbers, switches and nulls.

    Texts are `escaped` by `printable`, or as they are.

    Raises:
        ValueError: it holds something else, a number that is not finite or beyond all, or is too
            deep.
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        return {
            plain_value(key, escaped, depth + 1): plain_value(one, escaped, depth + 1)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [plain_value(one, escaped, depth + 1) for one in value]
    if isinstance(value, str):
        value.encode()  # half a character would only fail when it is written
        return printable(value) if escaped else value
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"it holds {value}, which is no number")
    if type(value) is int and abs(value) >= MAX_INTEGER:
        raise ValueError("it holds a number beyond all use")
    if not isinstance(value, int | float | None):
        raise ValueError(f"it holds a {type(value).__name__}, and plain values are expected")
    return value


def _refuse_constant(word: str) -> None:
    raise ValueError(f"it holds {word}, which is no number")


def printable(text: str) -> str:
    """Return a text whose characters that would not print are written as their escapes.

    A terminal obeys some of them; others end a line, or reverse what follows.
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text
    )


def printable_lines(text: str) -> str:
    """Return a text as `printable` makes it, in the lines that it has."""
    return "\n".join(map(printable, text.split("\n")))


def refuse_links(folder: Path) -> None:
    """Refuse a folder in which anything is a link, a pipe or a device: a run holds its own files.

    The folder itself may be reached by a link, which is the user's own.

    Raises:
        FaceproofError: it names the first such thing, or there is no end of files and folders.
    """
    number, waiting = 0, [(folder, 0)]
    while waiting:
        place, depth = waiting.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                number += 1
                if number > MAX_ENTRIES or depth > MAX_FOLDERS:
                    raise FaceproofError(
                        f"{folder} holds more than {MAX_ENTRIES:,} files, or folders more than "
                        f"{MAX_FOLDERS} levels deep, which no run has; it is not used"
                    )
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((Path(entry.path), depth + 1))
                elif entry.is_symlink() or not entry.is_file(follow_symlinks=False):
                    raise special_file(Path(entry.path))
