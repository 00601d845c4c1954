"""The cache: its folder, and what is computed once in it and shared by all runs.

Small results are JSON files. An array is stored under a key of everything that it depends on, and
a few of its rows are computed again before it is trusted. When there is no room, the arrays unused
for longest are deleted.
"""

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from faceproof.io import atomic
from faceproof.io.atomic import CannotWriteError, atomic_file, explain_disk_errors, write_json
from faceproof.words import apart

SPARE = 2**28  # bytes that stay free on the disk

Array = npt.NDArray[Any]
Value = TypeVar("Value")

_in_use: set[Path] = set()  # files of this process, which it must not delete for one another

log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return FACEPROOF_CACHE or ~/.cache/faceproof: all in it can be computed or fetched again.

    But for `tracked/`, by which `training.boards` knows the runs that this user has begun.
    """
    return Path(os.environ.get("FACEPROOF_CACHE") or Path.home() / ".cache" / "faceproof")


def load_or_compute_json(
    kind: str, key: str, compute: Callable[[], Any], read: Callable[[Any], Value]
) -> Value:
    """Return a value from the cache, or compute it.

    Args:
        kind: what it is, such as `audit`; names the folder that it shares with similar ones.
        key: of everything that they depend on; see `stamps.key_of`.
        compute: returns them as plain values.
        read: makes the value of the plain ones.
    """
    file = cache_folder() / f"{kind}s" / f"{key}.json"
    try:
        return read(json.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, TypeError, LookupError) as error:
        log.warning("%s cannot be read (%s); it is computed again", file, error)
    values = compute()
    try:
        write_json(file, values)
    except (OSError, CannotWriteError) as error:
        log.warning("the cache takes no %s: %s", kind, error)
    return read(values)


@dataclass(frozen=True)
class CachedArray:
    """An array to load from the cache, or to compute."""

    kind: str  # names the folder that it shares with similar arrays
    key: str  # of everything that it depends on; see `stamps.key_of`
    shape: tuple[int, ...]  # rows first
    dtype: npt.DTypeLike
    fill: Callable[[Array], None]  # computes it into an array of that shape
    agrees: Callable[[Array], bool]  # says whether a cached array is what would be computed now

    @property
    def num_bytes(self) -> int:
        """Return its size in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


def load_or_compute(array: CachedArray, max_bytes: int) -> Array | None:
    """Return an array, read-only and mapped from its file; compute it if it is not cached.

    All arrays of its kind may take `max_bytes` on disk. Without room for it the result is None,
    after a warning.
    """
    file = cache_folder() / array.kind / f"{array.key}.npy"
    known = _read(file, array)
    if known is not None:
        if array.agrees(known):
            # The time of its last use. The disk may be read-only, or another run may have deleted
            # the file, which stays mapped here.
            with contextlib.suppress(OSError):
                os.utime(file)
            _in_use.add(file)
            return known
        log.warning("%s is not what would be computed now; it is computed again", file)
    del known  # Windows deletes no file that is mapped
    try:
        with explain_disk_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            if not _make_room(file.parent, array.num_bytes, max_bytes):
                return None
        with atomic_file(file) as partial:
            _compute(array, partial)
    except (CannotWriteError, NotADirectoryError, FileExistsError) as error:  # or a file is there
        log.warning("nothing is cached: %s", error)
        return None
    _in_use.add(file)
    return _read(file, array)


def _compute(array: CachedArray, file: Path) -> None:
    """Compute an array into a new file, which nothing has open afterwards.

    Windows renames no file that is open or mapped.
    """
    values = _allocate(array, file)
    array.fill(values)
    values.flush()


def _allocate(array: CachedArray, file: Path) -> "np.memmap[Any, Any]":
    """Return an array mapped to a new file."""
    values: np.memmap[Any, Any] = np.lib.format.open_memmap(
        file, "w+", np.dtype(array.dtype), array.shape
    )
    if hasattr(os, "posix_fallocate"):  # a lack of room found later would kill the process
        with file.open("r+b") as opened:
            os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    return values


def _read(file: Path, array: CachedArray) -> Array | None:
    """Return the array of a file, or None if it is missing, damaged or of another shape."""
    try:
        values: Array = np.lib.format.open_memmap(file, mode="r")  # np.load would open archives too
    except (OSError, ValueError, EOFError):
        return None
    same = values.shape == array.shape and values.dtype == np.dtype(array.dtype)
    return values if same else None


def _make_room(folder: Path, needed: int, max_bytes: int) -> bool:
    """Delete the arrays unused for longest if that makes room; say whether there is room."""
    for partial in folder.glob(f"*{atomic.PARTIAL}*"):
        if atomic.is_abandoned(partial):
            partial.unlink(missing_ok=True)
    oldest_first = sorted(_files(folder), key=lambda pair: pair[1].st_mtime)
    used = sum(status.st_size for _, status in oldest_first)
    room = min(max_bytes - used, shutil.disk_usage(folder).free - SPARE)
    deleted: list[Path] = []
    for file, status in oldest_first:
        if needed <= room:
            break
        if file.suffix == ".npy" and file not in _in_use:
            deleted.append(file)
            room += status.st_size
    if needed > room:
        more, left = apart(needed / 1e9, max(room, 0) / 1e9, ".1f")
        log.warning(
            "nothing is cached: %s GB of %s are needed; cache.max_gb (%.1f GB) and the disk "
            "leave %s GB", more, folder.name, max_bytes / 1e9, left,
        )  # fmt: skip
        return False
    for file in deleted:
        log.info("%s is deleted to make room", file)
        file.unlink(missing_ok=True)
    return True


def _files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """Return the files of a folder with their status; other runs may delete some meanwhile."""
    found = []
    for file in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append((file, file.stat()))
    return found
