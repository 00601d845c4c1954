"""Which files of a data set can be read; the others are named, counted and left out."""

import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from faceproof.audit.file_statistics import file_statistics_of
from faceproof.data.listing import DataSet
from faceproof.errors import FaceproofError
from faceproof.io.atomic import atomic_file

log = logging.getLogger(__name__)


def readable_rows(
    data: DataSet, record: Path | None = None, stats: pa.Table | None = None
) -> tuple[pa.Table, pa.Table]:
    """Divide the table of a data set into rows that can be read and files that cannot.

    Args:
        data: the data set.
        record: a CSV file that lists the unreadable files (path, reason), written if there are any.
        stats: the facts of its files, where they are at hand.

    Returns:
        The readable rows, and a table (path, reason) of the others.

    Raises:
        FaceproofError: more than `data.max_unreadable` of the files are unreadable.
    """
    known = file_statistics_of(data.table) if stats is None else stats
    good = pc.is_null(known["reason"])
    unreadable = known.filter(pc.invert(good)).select(["path", "reason"])
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


def _write_csv(table: pa.Table, path: Path) -> None:
    """Write a table as CSV."""
    with atomic_file(path) as partial:
        pyarrow.csv.write_csv(table, partial)
