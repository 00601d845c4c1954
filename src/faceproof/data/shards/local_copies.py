"""Shards of an object store on this machine: a folder of bounded size through which they pass.

A file is fetched beside its place, compared with its checksum, and renamed: it is whole or not
there. When there is no room, the files that were opened longest ago are removed; a process that
has one of them open can read on.
"""

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from faceproof.data.shards.store import ObjectStore, ShardError
from faceproof.io.atomic import PARTIAL, atomic_file, explain_disk_errors
from faceproof.io.cache import cache_folder
from faceproof.io.locks import Lock

VARIABLE = "FACEPROOF_SHARDS_GB"
FOLDER = "FACEPROOF_SHARDS"  # the folder above ours; by default ours is in the cache folder
OURS = re.compile(r"[0-9a-f]{64}-")  # how the names of our files begin; nothing else is touched
DEFAULT_GB = 50.0
LOOKS_EVERY = 0.2  # seconds, for a file that another process or thread may be fetching

Opened = TypeVar("Opened")


def max_bytes() -> int:
    """Return how many bytes the shards of object stores may take on this machine."""
    text = os.environ.get(VARIABLE) or str(DEFAULT_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not 0 < limit < float("inf"):
        raise ShardError(f"{VARIABLE} = {text!r} must be a number of gigabytes above 0")
    return int(limit * 1e9)


def open_copy(
    store: ObjectStore, name: str, num_bytes: int, sha256: str, opened: Callable[[Path], Opened]
) -> Opened:
    """Open the local copy of a file of an object store; fetch it first if it is not here.

    The copy's name holds the checksum `sha256`, so that sets do not mix. `opened` opens a file; it
    is called while no process can remove it.

    Raises:
        ShardError: it cannot be fetched, is damaged, or there is no room for it.
        CannotWriteError: the disk is full or cannot be written to.
    """
    file = _copy(name, sha256)
    # One file at a time on a machine, in parallel parts: so the limit holds at every moment.
    lock = Lock(file.parent / "lock", "{holder} fetches shards")
    while True:
        with suppress(FileNotFoundError):
            found = opened(file)
            with suppress(OSError):  # another user's file, or a read-only disk
                os.utime(file)
            return found
        if lock.acquire_within(LOOKS_EVERY):  # else a thread that fetches ahead may have fetched it
            break
    try:
        with explain_disk_errors(file):
            if not file.is_file():
                _make_room(file.parent, num_bytes, f"{store.root}/{name}")
                with atomic_file(file) as partial:
                    store.fetch(name, partial)
                    _check(partial, num_bytes, sha256, f"{store.root}/{name}")
            return opened(file)
    finally:
        lock.release()


def remove_copy(name: str, sha256: str) -> None:
    """Remove the local copy of a file, so that it is fetched again."""
    file = _copy(name, sha256)
    with explain_disk_errors(file):
        file.unlink(missing_ok=True)


def _copy(name: str, sha256: str) -> Path:
    place = os.environ.get(FOLDER)
    folder = Path(place) / "faceproof-shards" if place else cache_folder() / "shards"
    return folder / f"{sha256}-{name}"


def _make_room(folder: Path, needed: int, what: str) -> None:
    """Remove the files opened longest ago until there is room; the caller holds the lock."""
    limit = max_bytes()
    if needed > limit:
        raise ShardError(
            f"{what} has {needed / 1e9:.3g} GB and {VARIABLE} allows {limit / 1e9:.3g}; raise it, "
            "or write smaller shards"
        )
    ours = [file for file in folder.iterdir() if OURS.match(file.name)]
    for dead in ours:
        if PARTIAL in dead.name:  # of a killed process: the lock is ours
            dead.unlink(missing_ok=True)
    status = {file: file.stat() for file in ours if PARTIAL not in file.name}
    used = sum(one.st_size for one in status.values())
    for oldest in sorted(status, key=lambda file: status[file].st_mtime_ns):
        if used + needed <= limit:
            return
        used -= status[oldest].st_size
        oldest.unlink()


def _check(file: Path, num_bytes: int, sha256: str, what: str) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise ShardError(
            f"{what} is damaged: it has {file.stat().st_size:,} bytes, was written with "
            f"{num_bytes:,}, and its checksum is another; write the shards again"
        )
