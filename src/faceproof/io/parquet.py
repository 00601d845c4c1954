"""Read Parquet files that another person may have written: what they declare is checked first."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from faceproof.errors import FaceproofError
from faceproof.io.plain_files import printable, read_with

# Limits of what a file may unpack to: so many bytes, plus so many times its own size.
MOST_FOR_NOTHING, MOST_GROWTH = 16_000_000, 100
VALUE = 16  # bytes that a value takes at least
MAX_COLUMNS = 100
MAX_PARTS = 100_000  # columns times row groups; a group has a million rows
NUM_NAMED = 20


def read_parquet(
    path: Path,
    wanted: pa.Schema | None = None,
    follow: bool = False,
    may_lack: Sequence[str] = (),
    more: pa.DataType | None = None,
) -> pa.Table:
    """Return the table in a Parquet file, or its `wanted` columns as the types that these have.

    A link is followed only where the user has named the file. The columns that the file `may_lack`,
    because earlier versions did not write them, are null then. Its further columns are left out;
    those of words are taken, as the type `more`, if that is given.

    Raises:
        FaceproofError: the file is no regular one, is damaged, lacks a column or has one of another
            type, or would unpack to far more than its size.
    """

    def read(file: IO[bytes]) -> pa.Table:
        return _read(path, file, wanted, may_lack, more)

    try:
        return read_with(path, read, follow=follow)
    except FaceproofError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = printable(str(error)[:500])
        raise FaceproofError(f"{path} cannot be read as an image table: {reason}") from error


def _read(
    path: Path,
    file: IO[bytes],
    wanted: pa.Schema | None,
    may_lack: Sequence[str],
    more: pa.DataType | None,
) -> pa.Table:
    with pyarrow.parquet.ParquetFile(file) as parquet:
        _check_metadata(path, parquet.metadata)
        schema = parquet.schema_arrow
    if wanted is not None and more is not None:
        further = [one.name for one in schema if one.name not in wanted.names and _is_words(one)]
        once = [name for name in further if schema.names.count(name) == 1]
        wanted = pa.schema([*wanted, *((name, more) for name in once)])
    lacking = [name for name in may_lack if name not in schema.names]
    names = [name for name in (wanted or schema).names if name not in lacking]
    if missing := [name for name in names if schema.names.count(name) != 1]:
        found = ", ".join(map(printable, schema.names[:NUM_NAMED])) or "no columns"
        raise FaceproofError(
            f"{path} is not the table that it should be: it lacks {', '.join(missing)} and has "
            f"{found}, each of which it must have once"
        )
    # A word that a million rows repeat is read once, until its length is known.
    words = [name for name in names if pa.types.is_string(schema.field(name).type)]
    file.seek(0)
    table = pyarrow.parquet.read_table(file, columns=names, read_dictionary=words)
    # Else a text that is none, or an index beyond the words, fails where it is used.
    table.validate(full=True)
    _refuse_bomb(path, sum(_unpacked_bytes(column) for column in table.columns))
    for name in lacking:
        table = table.append_column(name, pa.nulls(table.num_rows))
    return table.select((wanted or schema).names).cast(wanted or schema)


def _is_words(column: pa.Field) -> bool:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _check_metadata(path: Path, about: "pa.parquet.FileMetaData") -> None:
    """Refuse a file by what it says of itself, before any of it is unpacked."""
    if about.num_columns > MAX_COLUMNS or about.num_columns * about.num_row_groups > MAX_PARTS:
        raise FaceproofError(
            f"{path} has {about.num_columns:,} columns in {about.num_row_groups:,} parts, which no "
            "table of images has; it is not read"
        )
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    columns = [group.column(n) for group in groups for n in range(about.num_columns)]
    values = sum(one.num_values for one in columns)
    pages = sum(one.total_uncompressed_size for one in columns)
    _refuse_bomb(path, max(VALUE * values + pages, VALUE * about.num_rows))


def _unpacked_bytes(column: pa.ChunkedArray) -> int:
    """Return how many bytes a column of words takes with one copy for each row."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = (pc.binary_length(chunk.dictionary).take(chunk.indices) for chunk in column.chunks)
    return sum(pc.sum(each).as_py() or 0 for each in lengths)


def _refuse_bomb(path: Path, declared: int) -> None:
    if declared > MOST_FOR_NOTHING + MOST_GROWTH * path.stat().st_size:
        raise FaceproofError(
            f"{path} has {path.stat().st_size:,} bytes and would unpack to {declared:,}, far "
            "more than an image table of that size holds; it is not read"
        )
