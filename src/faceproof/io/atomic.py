"""Write files and folders atomically: each is written beside its place and renamed when complete.

A reader never meets half a file, and a failed write leaves the older version. Errors of a disk that
the user can mend become one message. Everything in faceproof that writes goes through here.
"""

import contextlib
import errno
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from faceproof.errors import FaceproofError

# System errors that the user can mend; all others are defects and keep their traceback.
NO_ROOM = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk's quota is used up"}
REASONS = {
    **NO_ROOM,
    errno.EROFS: "the disk can only be read",
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
    errno.EIO: "the disk fails",
}
ALSO_OF_READING = (errno.EACCES, errno.EPERM, errno.EIO)
PARTIAL = ".partial-"
PAUSE = 600.0  # seconds without a write, after which a partial file may be of a dead process
OTHER_MACHINES_PAUSE = 24 * 3600.0  # the same where its process cannot be looked up


class CannotWriteError(FaceproofError):
    """A place on a disk cannot be written to.

    torch puts a worker's traceback in front of the message; it is removed.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; without an error it then replaces `path`.

    Raises:
        CannotWriteError: the disk is full or cannot be written to; an older file is unchanged.
    """
    partial = partial_place(path)
    try:
        with explain_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _clear(partial)
            yield partial
            to_disk(partial)
            partial.replace(path)
    finally:
        with contextlib.suppress(OSError):  # a read-only disk has no partial file to remove
            _clear(partial)


def _clear(place: Path) -> None:
    """Remove what lies at a place that is ours; of a link the link, never what it points to."""
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def remove_partial_files(folder: Path) -> None:
    """Remove what processes that were killed while writing have left in a folder."""
    for partial in folder.glob(f"*{PARTIAL}*"):
        _clear(partial)


def write_text(path: Path, text: str) -> None:
    """Write a text file by `atomic_file`."""
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write plain values by `atomic_file`; a number that is not finite is a `ValueError`."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def to_disk(file: Path) -> None:
    """Wait until a file is on the disk, so that a rename after it outlives a power cut."""
    with file.open("r+b") as opened:
        os.fsync(opened.fileno())


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder` to fill; without an error it then replaces `folder`.

    All that `folder` held is deleted, so check it first; see `io.folders`.

    Raises:
        CannotWriteError: the disk is full or cannot be written to; an older folder is unchanged.
    """
    folder = folder.resolve()
    partial = partial_place(folder.with_name(f".{folder.name}"))
    if folder.parent.is_dir():
        for other in folder.parent.iterdir():
            if other.name.startswith(f".{folder.name}{PARTIAL}") and is_abandoned(other):
                shutil.rmtree(other, ignore_errors=True)
    try:
        with explain_disk_errors(folder):
            _clear(partial)  # of an earlier process with this number
            partial.mkdir(parents=True)
            yield partial
        _put_folder(partial, folder)
    except CannotWriteError as error:  # may name a file in the partial folder, which is deleted
        raise CannotWriteError(str(error).replace(partial.name, folder.name)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _put_folder(partial: Path, folder: Path) -> None:
    """Rename a filled folder to its place; an older one is moved away first and deleted last."""
    with explain_disk_errors(folder):
        for file in partial.rglob("*"):
            if file.is_file():
                to_disk(file)
        restore_folder(folder)
        old = _moved_away(folder)
        _clear(old)  # of a process that was killed before it did so
        try:
            if folder.exists():
                folder.rename(old)
            partial.rename(folder)
        finally:
            restore_folder(folder)
        shutil.rmtree(old, ignore_errors=True)


def restore_folder(folder: Path) -> None:
    """Put back a folder that `atomic_folder` had moved away when its process was killed."""
    old = _moved_away(folder)
    if not os.path.lexists(folder) and old.is_dir() and not old.is_symlink():
        old.rename(folder)


def _moved_away(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.old"


def partial_place(path: Path) -> Path:
    """Return where this process writes a file or folder before it is renamed to `path`."""
    return path.with_name(f"{path.name}{PARTIAL}{socket.gethostname()}-{os.getpid()}")


def is_abandoned(partial: Path) -> bool:
    """Say whether the process that was writing a partial file or folder has ended.

    A file without recent writes is abandoned if its process is not seen on this machine; recent
    ones may be of another container with the same host name, whose processes are not seen here.
    """
    host, _, process = partial.name.partition(PARTIAL)[2].rpartition("-")
    try:
        untouched = time.time() - partial.stat().st_mtime
    except FileNotFoundError:  # renamed meanwhile
        return False
    if host == socket.gethostname() and Path("/proc/self").is_dir():
        return untouched > PAUSE and not Path("/proc", process).exists()
    return untouched > OTHER_MACHINES_PAUSE


@contextlib.contextmanager
def explain_disk_errors(place: Path) -> Iterator[None]:
    """Turn an error of the disk, while the file or folder `place` is written, into one message.

    Raises:
        CannotWriteError: the disk is full or cannot be written to.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch raises RuntimeError when a disk is full
        found = _disk_error(error, place)
        if found is None:
            raise
        number, file = found
        older = "; the one before it is whole" if file == place and place.is_file() else ""
        advice = "make room in" if number in NO_ROOM else "choose another folder, or mend"
        raise CannotWriteError(
            f"{file} could not be written: {REASONS[number]}{older}; {advice} "
            f"{file.absolute().parent}"
        ) from error


def _disk_error(error: BaseException | None, place: Path) -> tuple[int, Path] | None:
    """Return number and file of the first disk error among an error and its causes, if any.

    The file is `place` itself if the error names none, or one beside or below it.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in REASONS:
            file = Path(error.filename) if isinstance(error.filename, str) else place
            if file.absolute().is_relative_to(place.absolute().parent):
                return error.errno, place
            if error.errno not in ALSO_OF_READING:  # else it may be of a file that was read
                return error.errno, file
        error = error.__cause__ or error.__context__
    return None
