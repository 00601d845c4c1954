"""Digests of files, by which a published list knows them; cached until a file changes."""

import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from stat import S_ISREG

import pyarrow as pa
import pyarrow.parquet

from faceproof.data.image_io import OPEN_FLAGS
from faceproof.data.table import write_table
from faceproof.io.atomic import CannotWriteError
from faceproof.io.cache import cache_folder
from faceproof.io.progress import progress
from faceproof.io.stamps import key_of, stamp_of

SIZE = 16  # bytes
SCHEMA = pa.schema([("path", pa.string()), ("stamp", pa.string()), ("content", pa.string())])

log = logging.getLogger(__name__)


def content_digest(data: bytes) -> bytes:
    """Return the digest of a file's bytes, by which equal files are known."""
    return hashlib.blake2b(data, digest_size=SIZE).digest()


def digests_of(paths: Sequence[str], where: str) -> list[str | None]:
    """Return the digest of each file in hexadecimal digits; None for one that cannot be read.

    Args:
        paths: the files, absolute.
        where: what they belong to, by which their digests are cached.
    """
    cache = cache_folder() / "digests" / f"{key_of([where])}.parquet"
    known = _read(cache)
    stamps = [stamp_of(path) for path in paths]
    found: dict[str, str | None] = {}
    for path, stamp in zip(paths, stamps, strict=True):
        old_stamp, content = known.get(path, (None, None))
        if stamp is not None and stamp == old_stamp:
            found[path] = content
    unknown = [path for path in dict.fromkeys(paths) if path not in found]
    if not unknown:
        return [found[path] for path in paths]
    log.info("reading %s files for their digests", f"{len(unknown):,}")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        contents = progress(pool.map(_digest, unknown), "reading files", len(unknown))
        found |= dict(zip(unknown, contents, strict=True))
    lasting = {p: s for p, s in zip(paths, stamps, strict=True) if s and found[p] is not None}
    _write(cache, lasting, found)
    return [found[path] for path in paths]


def _digest(path: str) -> str | None:
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | OPEN_FLAGS), "rb") as file:
            if not S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=SIZE)).hexdigest()
    except (OSError, ValueError):  # missing, not readable, or no path at all
        return None


def _read(cache: Path) -> dict[str, tuple[str, str]]:
    try:
        table = pyarrow.parquet.read_table(cache, schema=SCHEMA) if cache.is_file() else None
    except (OSError, pa.ArrowException) as error:
        log.warning("what is cached in %s cannot be read (%s); it is computed again", cache, error)
        return {}
    rows = [] if table is None else zip(*table.to_pydict().values(), strict=True)
    return {path: (stamp, content) for path, stamp, content in rows}


def _write(cache: Path, stamps: dict[str, str], contents: dict[str, str | None]) -> None:
    rows = [{"path": p, "stamp": stamp, "content": contents[p]} for p, stamp in stamps.items()]
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_table(pa.Table.from_pylist(rows, SCHEMA), cache)
    except (OSError, CannotWriteError) as error:
        log.warning("the cache takes no digests: %s; set FACEPROOF_CACHE to another folder", error)
