"""Arrays that cost much to compute, computed once and kept on disk.

An array is found again by a key of everything it depends on, and a few of its rows are computed
again before it is believed. It is written beside and renamed, so it is whole or not there. When
there is no room the arrays that were longest not used make way.
"""

import contextlib
import hashlib
import logging
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from faceproof.io.atomic import CannotWriteError, explain_disk_errors
from faceproof.io.cache_folder import cache_folder

ABANDONED = 24 * 3600  # seconds after which another machine's unfinished file is taken for dead
PAUSE = 600  # the same of this machine's, whose containers do not see each other's processes
SPARE = 2**28  # bytes that stay free on the disk

_in_use: set[Path] = set()  # by this process: they do not make way for each other

Array = npt.NDArray[Any]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """An array to be kept.

    Attributes:
        kind: what it is, the folder that it shares with its like.
        key: what it depends on; see `key_of`.
        shape: rows first.
        dtype: of its numbers.
        fill: computes it into an array of that shape.
        agrees: says whether an array that was kept is what would be computed now.
    """

    kind: str
    key: str
    shape: tuple[int, ...]
    dtype: npt.DTypeLike
    fill: Callable[[Array], None]
    agrees: Callable[[Array], bool]

    @property
    def num_bytes(self) -> int:
        """Return its size."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


def key_of(parts: Iterable[str | bytes]) -> str:
    """Return a key of everything that an array depends on, in order."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:32]


def keep(wanted: Wanted, max_bytes: int) -> Array | None:
    """Return an array, read-only and mapped from its file, computed if it was not kept.

    Args:
        wanted: the array.
        max_bytes: what all kept arrays of its kind may take on disk.

    Returns:
        The array, or None with a warning where there is no room for it.
    """
    folder = cache_folder() / wanted.kind
    file = folder / f"{wanted.key}.npy"
    known = _read(file, wanted)
    if known is not None:
        if wanted.agrees(known):
            # Another run may have made room, or the disk can only be read; the file is mapped.
            with contextlib.suppress(OSError):
                os.utime(file)
            _in_use.add(file)
            return known
        log.warning("%s is not what would be computed now; it is computed again", file)
    partial = file.with_name(f"{file.name}.partial-{socket.gethostname()}-{os.getpid()}")
    try:
        values = _room_for(wanted, file, partial, max_bytes)
        if values is None:
            return None
        wanted.fill(values)
        values.flush()
        partial.replace(file)
    finally:
        with contextlib.suppress(OSError):  # a disk that can only be read has none to remove
            partial.unlink(missing_ok=True)
    _in_use.add(file)
    return _read(file, wanted)


def _room_for(
    wanted: Wanted, file: Path, partial: Path, max_bytes: int
) -> "np.memmap[Any, Any] | None":
    """Return an array to be filled, mapped to a new file, or None where there is no room for it."""
    try:
        with explain_disk_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            if not _make_room(file.parent, wanted.num_bytes, max_bytes):
                return None
            values: np.memmap[Any, Any] = np.lib.format.open_memmap(
                partial, "w+", np.dtype(wanted.dtype), wanted.shape
            )
            # Else room is taken as the file is filled, and the process is killed if there is none.
            if hasattr(os, "posix_fallocate"):
                with partial.open("r+b") as opened:
                    os.posix_fallocate(opened.fileno(), 0, partial.stat().st_size)
            return values
    except CannotWriteError as error:
        log.warning("nothing is kept: %s", error)
        return None


def _read(file: Path, wanted: Wanted) -> Array | None:
    """Return the array of a file if it is there and of the right shape."""
    try:
        values: Array = np.lib.format.open_memmap(file, mode="r")  # np.load would open archives too
    except (FileNotFoundError, ValueError, EOFError):  # not there, or cut short
        return None
    same = values.shape == wanted.shape and values.dtype == np.dtype(wanted.dtype)
    return values if same else None


def _files(folder: Path, pattern: str) -> list[tuple[Path, os.stat_result]]:
    """Return files and what the system says of them; other runs may remove some meanwhile."""
    found = []
    for file in folder.glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            found.append((file, file.stat()))
    return found


def _make_room(folder: Path, needed: int, max_bytes: int) -> bool:
    """Remove what was longest not used until there is room; say whether there is.

    Where there would be none although all made way, all stays.
    """
    for dead, status in _files(folder, "*.partial-*"):
        if _is_dead(dead, status):
            dead.unlink(missing_ok=True)
    others = sorted(_files(folder, "*"), key=lambda pair: pair[1].st_mtime)  # some being filled
    used = sum(status.st_size for _, status in others)
    free = shutil.disk_usage(folder).free - SPARE
    way: list[Path] = []
    for oldest, status in others:
        if needed <= min(max_bytes - used, free):
            break
        if oldest.suffix == ".npy" and oldest not in _in_use:
            way.append(oldest)
            used -= status.st_size
            free += status.st_size
    if needed > min(max_bytes - used, free):
        log.warning(
            "nothing is kept: %.1f GB of %s would be needed, of cache.max_gb (%.1f GB) and of the "
            "disk %.1f GB could be had", needed / 1e9, folder.name, max_bytes / 1e9,
            max(min(max_bytes - used, free), 0) / 1e9,
        )  # fmt: skip
        return False
    for oldest in way:
        log.info("%s makes way", oldest)
        oldest.unlink(missing_ok=True)
    return True


def _is_dead(partial: Path, status: os.stat_result) -> bool:
    """Say whether the process that was filling a file has ended."""
    host, _, process = partial.name.partition(".partial-")[2].rpartition("-")
    untouched = time.time() - status.st_mtime
    if host == socket.gethostname() and Path("/proc").is_dir():
        return untouched > PAUSE and not Path("/proc", process).exists()
    return untouched > ABANDONED
