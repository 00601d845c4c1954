"""Which object stores the user has named: no other is contacted.

A run or a table that a stranger has made may name a bucket of theirs, which would be asked with the
user's credentials. The user names a store as the data set of a command, and it is known from then
on, or by `allow=[s3://BUCKET/FOLDER]`, `--allow` or FACEPROOF_ALLOW.
"""

from pathlib import Path

import pyarrow as pa

from faceproof.data.shards.paths import roots_of
from faceproof.errors import FaceproofError
from faceproof.io.atomic import CannotWriteError, write_text
from faceproof.io.cache import cache_folder
from faceproof.io.plain_files import read_bytes
from faceproof.lookup import VARIABLE, is_allowed_place

MAX_KNOWN = 1_000_000  # bytes


def known_stores() -> Path:
    """Return the file that lists the stores that the user has named, one a line."""
    return cache_folder() / "known_stores.txt"


def remember_store(root: str) -> None:
    """Note that the user has named a store, s3://BUCKET/FOLDER; a folder needs no note."""
    known = _read()
    if "://" in root and root.rstrip("/") not in known:
        try:
            write_text(known_stores(), "\n".join([*known, root.rstrip("/")]) + "\n")
        except CannotWriteError:  # the cache may lie on a disk that can only be read
            return


def refuse_unknown_stores(paths: pa.ChunkedArray, table: Path) -> None:
    """Refuse images of a `table` in a store that the user has not named.

    Raises:
        FaceproofError: it says how to allow it.
    """
    for root in roots_of(paths):
        if "://" in root and root not in _read() and not is_allowed_place(root):
            raise FaceproofError(
                f"{table} names images in {root}, which would be asked with your credentials; if "
                f"that is yours, allow it: allow=['{root}'] with train, sweep and evaluate, "
                f"--allow {root} with the other commands, or {VARIABLE}={root}"
            )


def _read() -> list[str]:
    file = known_stores()
    return read_bytes(file, MAX_KNOWN).decode().split() if file.is_file() else []
