"""Lists the images and videos that a user names: files, folders, patterns, lists, standard input.

They are listed one by one, and paths stay plain strings: there may be a million of them.
"""

import glob
import os
import posixpath
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from faceproof.data.kinds import (
    IMAGE,
    LEFT_BEHIND,
    VIDEO,
    VIDEO_SUFFIXES,
    LeftOut,
    kind_of,
)
from faceproof.data.layout import walk_files
from faceproof.data.lists import ListedPaths, bare_lines, csv_rows, open_list
from faceproof.data.shards.paths import PLACE, find_member
from faceproof.data.shards.reading import INDEX, SAMPLES, ShardSet
from faceproof.data.shards.store import UnreadableObjectError
from faceproof.errors import FaceproofError
from faceproof.inference.objects import (
    MAX_LIST_BYTES,
    as_file,
    bucket_of,
    is_object,
    is_set_of_shards,
    is_store_url,
    list_objects,
    refuse_unnamed_store,
)
from faceproof.io.left_behind import is_left_behind
from faceproof.io.names import CSV_SUFFIXES, as_on_disk
from faceproof.lookup import allow

STDIN = ("-", "/dev/stdin")
LISTS = (*CSV_SUFFIXES, ".txt", ".parquet")
PATHS_AT_ONCE = 10_000  # paths of a set of shards


def list_images(
    words: Sequence[str], left_out: LeftOut | None = None, stores_and_shards: bool = False
) -> Iterator[str]:
    """Yield the paths of images and videos, lazily, in the order of `words`.

    A word is a file, a folder (all images and videos below it), a pattern such as
    `photos/**/*.jpg`, a .csv or .parquet file with a column `path` or a .txt file with one path a
    line (relative to that file), or `-` for paths on standard input, one a line.

    With `stores_and_shards` a word may also be an object or a folder of an object store, and so may
    what a list names, where the user has allowed that store; and a set of shards, in a folder or a
    store.

    `left_out` counts what was found and is neither, or is left behind by systems and programs.

    Raises:
        FaceproofError: at once, if a word names nothing, or shards that are not complete.
    """
    if not words:
        raise FaceproofError("name images, folders, patterns, a list, or - for standard input")
    words = [word if word in STDIN or is_store_url(word) else as_on_disk(word) for word in words]
    for word in words:
        if is_store_url(word):
            _refuse_store(word, stores_and_shards)
            allow([word.rpartition("/")[0] if _is_list(word) else word.rstrip("/")])
        elif word not in STDIN and not _is_there(word) and _pattern(word) is None:
            raise FaceproofError(
                f"there is no file or folder {word}, nor does it match any as a pattern"
            )
    left_out = LeftOut() if left_out is None else left_out
    listed = dict[str, Iterator[str]]()
    for word in words:
        if _holds_shards(word):
            listed[word] = _in_shards(word, stores_and_shards)
        elif is_object(word):
            found = list_objects(word, left_out)  # refuses at once what is not there
            listed[word] = _listed_in_store(word, left_out) if _is_list(word) else found
    return (
        _allowed_path(os.fspath(path), word, stores_and_shards)
        for word in words
        for path in (listed[word] if word in listed else _expand(word, left_out))
    )


def _is_there(word: str) -> bool:
    """Say whether a word is a file or folder of this machine, or an image in a shard anywhere."""
    member = find_member(word)
    return Path(word).exists() or (
        member is not None and (is_store_url(word) or Path(member.root, INDEX).exists())
    )


def _is_list(word: str) -> bool:
    return word.lower().endswith(LISTS)


def _holds_shards(word: str) -> bool:
    """Say whether a word is a folder, here or in a store, that `faceproof shard` has written."""
    if is_object(word):
        return is_set_of_shards(word)
    return all(Path(word, file).is_file() for file in (INDEX, SAMPLES))


def _in_shards(word: str, stores_and_shards: bool) -> Iterator[str]:
    """Return the paths of the images in a set of shards, in the order in which they lie there."""
    if not stores_and_shards:
        raise FaceproofError(
            f"{word} is a set of shards; faceproof predict reads images there, and this command "
            "does not: name the images from which it was written"
        )
    # Without a folder's name before it, the path of an image would be that of a file.
    shards = ShardSet(os.path.abspath(word) if Path(word) == Path() else word.rstrip("/"))
    if shards.store is None:  # else each is checked when it is fetched
        shards.check()
    return _paths_of(shards)


def _paths_of(shards: ShardSet) -> Iterator[str]:
    for batch in shards.samples.select(["path"]).to_batches(PATHS_AT_ONCE):
        yield from batch["path"].to_pylist()


def _refuse_store(url: str, stores_and_shards: bool) -> None:
    """Refuse a URL that names no bucket, or where object stores are not read."""
    bucket_of(url)  # before the URL is repeated
    if not stores_and_shards:
        raise FaceproofError(
            f"{url} is in an object store; faceproof predict reads images there, and this command "
            "does not: copy them to this machine"
        )


def _allowed_path(path: str, word: str, stores_and_shards: bool) -> str:
    """Return a path that may be read."""
    if is_store_url(path) and (not is_store_url(word) or _is_list(word)):
        _refuse_store(path, stores_and_shards)
        refuse_unnamed_store(path, "standard input" if word in STDIN else word)
    return path


def _pattern(word: str) -> str | None:
    """Return a word as a pattern that matches something; None if there is none.

    Brackets in the name of a folder that is there stand for themselves; so do all, if the pattern
    matches nothing otherwise.
    """
    if not glob.has_magic(word):
        return None
    folder, rest = Path(word).anchor, word[len(Path(word).anchor) :]
    while (place := rest.find(os.sep)) >= 0 and Path(folder + rest[:place]).is_dir():
        folder, rest = folder + rest[: place + 1], rest[place + 1 :]
    for pattern in (glob.escape(folder) + rest, glob.escape(folder) + rest.replace("[", "[[]")):
        if next(_glob(pattern), None) is not None:
            return pattern
    return None


def _glob(pattern: str) -> Iterator[str]:
    return glob.iglob(pattern, recursive=True)  # noqa: PTH207 - the pattern may be absolute


def _expand(word: str, left_out: LeftOut) -> Iterator[str]:
    if word in STDIN:
        for line in _not_left_behind(bare_lines(map(os.fsdecode, sys.stdin.buffer)), left_out):
            yield line if is_store_url(line) else as_on_disk(line)
    elif Path(word).is_dir():
        yield from _below(word, left_out)
    elif not _is_there(word):
        for match in _glob(_pattern(word) or word):
            if Path(match).is_dir():
                # With `**` the files below match by themselves.
                yield from (() if "**" in word else _below(match, left_out))
            elif is_left_behind(match):
                left_out.add(LEFT_BEHIND, match)
            elif (kind := kind_of(match)) in (IMAGE, VIDEO):
                yield match
            else:
                left_out.add(kind, match)
    elif _is_list(word):
        file = Path(word)
        paths = ListedPaths(file.parent, file)
        for path in _not_left_behind(_listed(file, word), left_out):
            yield path if is_store_url(path) else paths.find(path)
    elif is_left_behind(word.rpartition(os.sep)[2]):
        left_out.add(LEFT_BEHIND, word)
    else:
        yield word


def _below(folder: str, left_out: LeftOut) -> Iterator[str]:
    for name in walk_files(Path(folder), (IMAGE, VIDEO), left_out):
        yield os.path.join(folder, name)  # noqa: PTH118


def _not_left_behind(paths: Iterable[str], left_out: LeftOut) -> Iterator[str]:
    """Yield paths that were named; what cannot be read among them is a row with a reason."""
    for path in paths:
        if is_left_behind(path):
            left_out.add(LEFT_BEHIND, path)
        else:
            yield path


def is_video(path: str) -> bool:
    """Say whether a path has a video's suffix."""
    return os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES  # noqa: PTH122


def _listed_in_store(url: str, left_out: LeftOut) -> Iterator[str]:
    """Yield the paths in a list that is an object; relative ones are of what lies beside it."""
    folder = url.rpartition("/")[0]
    try:
        with as_file(url, MAX_LIST_BYTES) as copy:
            for path in _not_left_behind(_listed(Path(copy), url), left_out):
                is_whole = is_store_url(path) or Path(path).is_absolute()
                yield path if is_whole else f"{folder}/{_beside(path, url)}"
    except UnreadableObjectError as error:
        raise FaceproofError(f"{url} cannot be read: {error.reason}") from error


def _beside(path: str, url: str) -> str:
    """Return a relative path of the list at a URL, as a name in its folder."""
    name = posixpath.normpath(path.strip().strip("\"'").replace("\\", "/"))
    if name == ".." or name.startswith("../"):
        raise FaceproofError(
            f"{url} names {path}, which is not beside it or below; write the whole URL"
        )
    return name


def _listed(file: Path, name: str) -> Iterator[str]:
    """Yield the paths in a list, without reading all of it at once; `name` is for messages."""
    if file.suffix.lower() == ".parquet":
        yield from _listed_in_parquet(file, name)
        return
    # A system's name of a file may be no text.
    with open_list(file, errors="surrogateescape") as lines:
        if file.suffix.lower() == ".txt":
            yield from bare_lines(lines)
            return
        for row in csv_rows(lines, name):
            if "path" not in row:
                raise FaceproofError(
                    f"{name} has no column path; found {', '.join(row)}: name the column of the "
                    "images path, in the first line"
                )
            if row["path"]:
                yield row["path"]


def _listed_in_parquet(file: Path, name: str) -> Iterator[str]:
    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            if set(PLACE) <= set(table.schema_arrow.names):
                raise FaceproofError(
                    f"{name} is the table of a set of shards; name the folder that it is in"
                )
            if "path" not in table.schema_arrow.names:
                raise FaceproofError(
                    f"{name} has no column path; found {', '.join(table.schema_arrow.names)}: name "
                    "the column of the images path"
                )
            for batch in table.iter_batches(columns=["path"]):
                yield from filter(None, batch["path"].cast(pa.string()).to_pylist())
    except (OSError, pa.ArrowException) as error:
        raise FaceproofError(f"{name} cannot be read as Parquet: {error}") from error
