"""Which files of a table can be read: each is decoded once and remembered until it changes."""

import hashlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from faceproof.data.pictures import UnreadablePictureError, read_picture
from faceproof.data.sets import DataSet
from faceproof.data.table import write_table
from faceproof.errors import FaceproofError

MEMORY = pa.schema(
    [("path", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64()), ("reason", pa.string())]
)

log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return the folder for what can be computed again: FACEPROOF_CACHE or ~/.cache/faceproof."""
    return Path(os.environ.get("FACEPROOF_CACHE") or Path.home() / ".cache" / "faceproof")


def readable_rows(data: DataSet, record: Path | None = None) -> tuple[pa.Table, pa.Table]:
    """Divide the table of a data set into rows that can be read and files that cannot.

    Args:
        data: the data set.
        record: a CSV file that lists the unreadable files (path, reason), written if there are any.

    Returns:
        The readable rows, and a table (path, reason) of the others.

    Raises:
        FaceproofError: more than `data.max_unreadable` of the files are unreadable.
    """
    memory = cache_folder() / "readable" / f"{_fingerprint(data.table)}.parquet"
    checked = _check(data.table["path"].combine_chunks(), memory)
    good = pc.is_null(checked["reason"])
    unreadable = checked.filter(pc.invert(good)).select(["path", "reason"])
    if unreadable.num_rows == 0:
        return data.table, unreadable
    if record is not None:
        _write_csv(unreadable, record)
    share = unreadable.num_rows / data.table.num_rows
    first = unreadable.slice(0, 1).to_pylist()[0]
    found = (
        f"{unreadable.num_rows:,} of {data.table.num_rows:,} files of data set {data.name} cannot "
        f"be read, {first['path']} the first ({first['reason']})"
    )
    listed = f"; all are listed in {record}" if record is not None else ""
    if share > data.max_unreadable:
        raise FaceproofError(
            f"{found}{listed}; that is {share:.1%}, more than data.max_unreadable = "
            f"{data.max_unreadable:.1%}: mend or remove them, or raise data.max_unreadable"
        )
    log.warning("%s; left out%s", found, listed)
    return data.table.filter(good), unreadable


def _fingerprint(table: pa.Table) -> str:
    """Name the memory of a data set by where its pictures lie."""
    folders = {os.path.dirname(path) for path in table["path"].to_pylist()}
    return hashlib.blake2b("\0".join(sorted(folders)).encode(), digest_size=12).hexdigest()


def _check(paths: pa.StringArray, memory: Path) -> pa.Table:
    """Return path, size, mtime_ns and reason (null: readable), decoding only what changed."""
    names = paths.to_pylist()
    stamps = np.array([_stamp(name) for name in names], dtype=np.int64).reshape(-1, 2)
    known = pyarrow.parquet.read_table(memory) if memory.is_file() else MEMORY.empty_table()
    known = known.append_column("row", pa.array(np.arange(known.num_rows)))
    place = pc.index_in(paths, known["path"].combine_chunks())
    old = known.take(place)
    unchanged = pc.and_(
        pc.equal(old["size"], pa.array(stamps[:, 0])),
        pc.equal(old["mtime_ns"], pa.array(stamps[:, 1])),
    )
    stale = np.flatnonzero(~pc.fill_null(unchanged, False).to_numpy())
    reasons = old["reason"].to_pylist()
    if stale.size:
        log.info("checking that %s files can be decoded", f"{stale.size:,}")
    # Decoders release the interpreter lock, so threads suffice.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        fresh = pool.map(_unreadable_reason, (names[row] for row in stale))
        for row, reason in zip(stale, fresh, strict=True):
            reasons[row] = reason
    checked = pa.table([paths, stamps[:, 0], stamps[:, 1], pa.array(reasons, pa.string())], MEMORY)
    if stale.size:
        _remember(checked, memory)
    return checked


def _remember(checked: pa.Table, memory: Path) -> None:
    """Write what was found, so that the next run need not decode it all again.

    Raises:
        FaceproofError: the cache cannot be written.
    """
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_table(checked, memory)
    except OSError as error:
        raise FaceproofError(
            f"{memory} cannot be written ({error}); set FACEPROOF_CACHE to a folder that can"
        ) from error


def _stamp(path: str) -> tuple[int, int]:
    """Return size and modification time, -1 each for a file that is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _unreadable_reason(path: str) -> str | None:
    """Return why a file cannot be read, or None."""
    try:
        read_picture(path)
    except UnreadablePictureError as error:
        return str(error)
    return None


def _write_csv(table: pa.Table, path: Path) -> None:
    """Write a table as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.csv.write_csv(table, path)
