"""Leave unreadable files out of a data set: they are named, counted, and refused if too many."""

import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from faceproof.audit.file_statistics import file_statistics_of
from faceproof.data.kinds import LeftOut, kind_of, what_reads
from faceproof.data.listing import DataSet
from faceproof.errors import FaceproofError
from faceproof.io.atomic import atomic_file
from faceproof.words import apart

log = logging.getLogger(__name__)


def readable_rows(
    data: DataSet, record: Path | None = None, stats: pa.Table | None = None
) -> tuple[pa.Table, pa.Table]:
    """Return the rows whose files can be read, and a table (path, reason) of the other files.

    More of these than `data.max_unreadable` allows are an error.

    Args:
        data: the data set.
        record: a CSV file for the unreadable files, written if there are any.
        stats: the file statistics of its rows; None to gather them.
    """
    stats = file_statistics_of(data.table) if stats is None else stats
    good = pc.is_null(stats["reason"])
    unreadable = stats.filter(pc.invert(good)).select(["path", "reason"])
    if unreadable.num_rows == 0:
        return data.table, unreadable
    if record is not None:
        with atomic_file(record) as partial:
            pyarrow.csv.write_csv(unreadable, partial)
    number, total = unreadable.num_rows, data.table.num_rows
    share, first = number / total, unreadable.slice(0, 1).to_pylist()[0]
    found = (
        f"{number:,} of {total:,} files of data set {data.name} cannot be read, {first['path']} "
        f"the first ({first['reason']})"
    )
    listed = f"; all are listed in {record}" if record is not None else ""
    if share > data.max_unreadable:
        is_so, limit = apart(share, data.max_unreadable)
        raise FaceproofError(
            f"{found}{listed}; that is {is_so}, more than data.max_unreadable = {limit}: "
            f"{_what_to_do(unreadable)}"
        )
    log.warning("%s; left out%s", found, listed)
    return data.table.filter(good), unreadable


def _what_to_do(unreadable: pa.Table) -> str:
    """Say what helps with the files that cannot be read, by their kind."""
    others, damaged = LeftOut(), 0
    for path in unreadable["path"].to_pylist():
        kind = kind_of(path)
        if what_reads(kind):
            others.add(kind, path)
        else:
            damaged += 1
    parts = ["repair or remove them"] if damaged else []
    return "; ".join(parts + ([f"of these, {others.kinds_told()}"] if others else []))
