"""Files that are whole or not there: written beside their place, and renamed when they are whole.

A disk that is full or cannot be written to is told in one message; what stood there before stands.
"""

import contextlib
import errno
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from faceproof.errors import FaceproofError

# What a system says of a place that a user can mend; all else is a defect and keeps its traceback.
NO_ROOM = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk's quota is used up"}
REASONS = {
    **NO_ROOM,
    errno.EROFS: "the disk can only be read",
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not write there",
    errno.EIO: "the disk fails",
}
OF_READING_TOO = (errno.EACCES, errno.EPERM, errno.EIO)
PAUSE = 600.0  # seconds in which a process that fills a folder writes something


class CannotWriteError(FaceproofError):
    """A place on disk that cannot be written to; of a loading process's traceback rid."""

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes the place of `path` when all went well.

    Args:
        path: the file.

    Raises:
        CannotWriteError: the disk is full or cannot be written to; an older file still stands.
    """
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        with explain_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            to_disk(partial)
            partial.replace(path)
    finally:
        with contextlib.suppress(OSError):  # a disk that can only be read has none to remove
            partial.unlink(missing_ok=True)


def to_disk(file: Path) -> None:
    """Wait until a file has reached the disk: after a rename it must outlive a power cut."""
    number = os.open(file, os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder` to fill; it takes its place whole when all went well.

    Args:
        folder: its place; what is there is replaced; `io.folders` checks that first.

    Raises:
        CannotWriteError: the disk is full or cannot be written to; an older folder still stands.
    """
    folder = folder.resolve()
    _remove_abandoned(folder)
    partial = folder.with_name(f"{_partial_prefix(folder)}{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)  # of an earlier process of that number
    try:
        with explain_disk_errors(folder):
            partial.mkdir(parents=True)
            yield partial
        put_folder(partial, folder)
    except CannotWriteError as error:  # may be of a file in the partial folder, which is gone then
        raise CannotWriteError(str(error).replace(partial.name, folder.name)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial_prefix(folder: Path) -> str:
    return f".{folder.name}.partial-{socket.gethostname()}-"


def _remove_abandoned(folder: Path) -> None:
    """Remove what processes of this machine that were killed had begun to fill."""
    if not folder.parent.is_dir() or not Path("/proc/self").is_dir():
        return
    for partial in folder.parent.iterdir():
        process = partial.name.removeprefix(_partial_prefix(folder))
        if not process.isdecimal() or process == partial.name:
            continue
        # Of another container of the same name the processes are not seen here.
        untouched = time.time() - partial.stat().st_mtime
        if untouched > PAUSE and not Path("/proc", process).exists():
            shutil.rmtree(partial, ignore_errors=True)


def put_folder(partial: Path, folder: Path) -> None:
    """Put a finished folder in its place; an older one is moved out first and deleted last.

    Args:
        partial: the folder, beside its place.
        folder: its place.

    Raises:
        CannotWriteError: the disk is full or cannot be written to; an older folder still stands.
    """
    with explain_disk_errors(folder):
        for file in partial.rglob("*"):
            if file.is_file():
                to_disk(file)
        restore_folder(folder)
        old = _moved_out(folder)
        shutil.rmtree(old, ignore_errors=True)  # of a process that was killed before it did so
        try:
            if folder.exists():
                folder.rename(old)
            partial.rename(folder)
        finally:
            restore_folder(folder)
        shutil.rmtree(old, ignore_errors=True)


def restore_folder(folder: Path) -> None:
    """Put back a folder that `put_folder` moved out, and failed or was killed before its end.

    Args:
        folder: its place; where something lies there by now, nothing is done.
    """
    old = _moved_out(folder)
    if not os.path.lexists(folder) and old.is_dir():
        old.rename(folder)


def _moved_out(folder: Path) -> Path:
    return folder.parent / f".{folder.name}.old"


@contextlib.contextmanager
def explain_disk_errors(place: Path) -> Iterator[None]:
    """Say in one message why nothing could be written at a place, where it is for the disk.

    Args:
        place: the file or folder that was to be written.

    Raises:
        CannotWriteError: the disk is full or cannot be written to.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch says RuntimeError where a disk is full
        found = _said(error, place)
        if found is None:
            raise
        number, file = found
        stands = "; the one before it is whole" if file == place and place.is_file() else ""
        advice = "make room in" if number in NO_ROOM else "choose another folder, or mend"
        raise CannotWriteError(
            f"{file} could not be written: {REASONS[number]}{stands}; {advice} "
            f"{file.absolute().parent}"
        ) from error


def _said(error: BaseException | None, place: Path) -> tuple[int, Path] | None:
    """Return what a disk said, by an error or by one that it was raised for, and of which file.

    That is the place itself where the file lies beside or below it, or has no name.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in REASONS:
            named = error.filename if isinstance(error.filename, str) else place
            file = Path(named)
            if file.absolute().is_relative_to(place.absolute().parent):
                return error.errno, place
            if error.errno not in OF_READING_TOO:
                return error.errno, file
        error = error.__cause__ or error.__context__
    return None


def write_text(path: Path, text: str) -> None:
    """Write a small file, whole or not at all.

    Raises:
        CannotWriteError: the disk is full or cannot be written to.
    """
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
