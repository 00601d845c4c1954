"""Lists the images and videos that a user names: files, folders, patterns, lists, standard input.

They are listed one by one, and paths stay plain strings: there may be a million of them.
"""

import csv
import glob
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from faceproof.data.layout import walk_files
from faceproof.errors import FaceproofError

STDIN = ("-", "/dev/stdin")
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")
)
VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp")
)
LISTS = (".csv", ".txt")


def list_images(words: Sequence[str]) -> Iterator[str]:
    """Yield the paths of images and videos, lazily, in the order of `words`.

    A word is a file, a folder (all files below it with the suffix of an image or video, hidden
    files left out), a pattern such as `photos/**/*.jpg`, a .csv file with a column `path` or a
    .txt file with one path a line (relative to that file), or `-` for paths on standard input, one
    a line.

    Raises:
        FaceproofError: at once, if a word names nothing.
    """
    if not words:
        raise FaceproofError("name images, folders, patterns, a list, or - for standard input")
    for word in words:
        if word not in STDIN and not Path(word).exists() and not _matches(word):
            raise FaceproofError(
                f"there is no file or folder {word}, nor does it match any as a pattern"
            )
    return (os.fspath(path) for word in words for path in _expand(word))


def _matches(word: str) -> bool:
    return glob.has_magic(word) and next(_glob(word), None) is not None


def _glob(pattern: str) -> Iterator[str]:
    return glob.iglob(pattern, recursive=True)  # noqa: PTH207 - the pattern may be absolute


def _expand(word: str) -> Iterator[str]:
    if word in STDIN:
        yield from _bare_lines(map(os.fsdecode, sys.stdin.buffer))
    elif Path(word).is_dir():
        yield from _below(word)
    elif not Path(word).exists():
        for match in _glob(word):
            if Path(match).is_dir():
                # With `**` the files below match by themselves.
                yield from (() if "**" in word else _below(match))
            elif _is_input(match):
                yield match
    elif word.lower().endswith(LISTS):
        yield from (os.path.normpath(Path(word).parent / path) for path in _listed(Path(word)))
    else:
        yield word


def _bare_lines(lines: Iterable[str]) -> Iterator[str]:
    return filter(None, (line.rstrip("\r\n") for line in lines))


def _below(folder: str) -> Iterator[str]:
    for name in walk_files(Path(folder)):
        if _is_input(name):
            yield os.path.join(folder, name)  # noqa: PTH118


def _is_input(path: str) -> bool:
    return _suffix(path) in SUFFIXES or is_video(path)


def is_video(path: str) -> bool:
    """Say whether a path has a video's suffix."""
    return _suffix(path) in VIDEO_SUFFIXES


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122


def _listed(file: Path) -> Iterator[str]:
    """Yield the paths in a list, without reading all of it at once."""
    with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        if file.suffix.lower() == ".txt":
            yield from _bare_lines(lines)
            return
        rows = csv.DictReader(lines)
        if "path" not in (names := rows.fieldnames or ()):
            raise FaceproofError(
                f"{file} has no column path; found {', '.join(names) or 'nothing'}"
            )
        yield from (row["path"] for row in rows if row["path"])
