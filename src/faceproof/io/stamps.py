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

# Seconds for which a file must have been still. A file that is written twice within one tick of
# the file system's clock has the same times; the coarsest clock in use, that of FAT, ticks at 2 s.
SETTLED = 2.0


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
        return hashlib.file_digest(stream, "sha256").hexdigest()
