"""What a stored result was computed from: the digest of a file, or a stamp where it is long.

Whatever is stored and used again names its origin in one of these two ways. Where the origin has
changed since, the result is computed again or refused; it never passes for the present one.
"""

import contextlib
import functools
import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from stat import S_ISREG

from faceproof.errors import FaceproofError

# Seconds for which a file must have been still. A file that is written twice within one tick of
# the file system's clock has the same times; the coarsest clock in use, that of FAT, ticks at 2 s.
SETTLED = 2.0
MAX_HOLES = 2**30  # bytes of a file that were never written; no file of ours has any


def stamp_of(path: str | Path) -> str | None:
    """Return what changes whenever a file does: its size, both times and its inode.

    Setting a file's time of modification back changes the other time. None, which nothing equals,
    is for a file that is missing or was written this moment: that is to be read again.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # missing, or no path at all
        return None
    if time.time() - status.st_ctime < SETTLED:
        return None
    times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
    return f"{status.st_size} {times} {status.st_dev}:{status.st_ino}"


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal digits; empty where there is no file.

    A process reads a file once until its stamp changes.

    Raises:
        FaceproofError: over `MAX_HOLES` bytes of it are holes, which take no room on the disk and
            may take hours to read.
    """
    with contextlib.suppress(FileNotFoundError):
        if S_ISREG(file.stat().st_mode):
            stamp = stamp_of(file)
            return _read_digest(file) if stamp is None else _known_digest(file.absolute(), stamp)
    return ""


def key_of(parts: Iterable[str | bytes]) -> str:
    """Return one key for all that a result depends on, in order."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:32]


@functools.lru_cache(maxsize=4096)
def _known_digest(file: Path, stamp: str) -> str:
    return _read_digest(file)


def _read_digest(file: Path) -> str:
    with file.open("rb") as stream:
        if (empty := _holes(stream.fileno())) > MAX_HOLES:
            raise FaceproofError(
                f"{file} holds {empty:,} bytes that were never written: it is not read; put the "
                "file itself there, or delete it"
            )
        stream.seek(0)
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _holes(descriptor: int) -> int:
    """Return how many bytes of a file were never written, as far as the system tells."""
    if not hasattr(os, "SEEK_HOLE"):
        return 0
    end, place, found = os.fstat(descriptor).st_size, 0, 0
    while place < end and found <= MAX_HOLES:
        hole = os.lseek(descriptor, place, os.SEEK_HOLE)
        try:
            place = os.lseek(descriptor, hole, os.SEEK_DATA) if hole < end else end
        except OSError:  # there is no data behind the hole
            place = end
        found += place - hole
    return found
