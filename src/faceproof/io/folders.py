"""Checks for commands that replace a whole folder: nothing of the user's may be in it."""

import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from faceproof.errors import FaceproofError
from faceproof.io.atomic import restore_folder
from faceproof.io.left_behind import holds_nothing, is_left_behind

NUM_NAMED = 3


def from_here(path: str | Path) -> str:
    """Return a path as seen from the working folder; absolute on another drive of Windows."""
    try:
        return os.path.relpath(path)
    except ValueError:
        return os.path.abspath(path)


def refuse_file(folder: Path) -> None:
    """Refuse an output folder that is a file, or that would lie in one."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        raise FaceproofError(f"{there} is a file; give --out a folder")


def refuse_foreign_folder(folder: Path, ours: Sequence[str]) -> None:
    """Refuse to replace a folder unless it is new, empty, or written by the same command.

    `ours` are glob patterns of the files that it writes; the first one marks the folder.
    """
    refuse_file(folder)
    refuse_unmovable(folder)
    restore_folder(folder.resolve())
    if folder.exists() and not holds_nothing(folder) and not (folder / ours[0]).is_file():
        raise FaceproofError(
            f"{folder} holds something else and would be replaced whole; give --out another folder"
        )
    refuse_foreign_files(folder, ours)


def refuse_unmovable(folder: Path) -> None:
    """Refuse a folder that cannot be renamed, before anything is computed for it."""
    folder = folder.resolve()
    if os.path.ismount(folder) or folder in (Path.cwd(), *Path.cwd().parents):
        raise FaceproofError(
            f"{folder} would be replaced whole, and it cannot be moved: it is a mount point, or "
            "the working folder or one above it; name a folder below it"
        )


def refuse_foreign_files(folder: Path, ours: Sequence[str]) -> None:
    """Refuse to replace a folder with files beside `ours`, patterns whose star matches no slash."""
    others = []
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        same_depth = [pattern for pattern in ours if name.count("/") == pattern.count("/")]
        known = any(fnmatchcase(name, pattern) for pattern in same_depth)
        is_file = file.is_symlink() or not file.is_dir()
        if is_file and not known and not is_left_behind(name):
            others.append(name)
    if others:
        more = len(others) - NUM_NAMED
        named = ", ".join(others[:NUM_NAMED]) + (f" and {more:,} more" if more > 0 else "")
        raise FaceproofError(
            f"{folder} would be replaced whole, and holds what faceproof has not written there: "
            f"{named}; move that away, or name another folder"
        )
