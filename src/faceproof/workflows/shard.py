"""The story of `faceproof shard`: write the images of a data set as shards."""

import hashlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from rich.progress import track

from faceproof.audit import file_statistics
from faceproof.audit.readable import readable_rows
from faceproof.data.image_io import UnreadableImageError, read_file
from faceproof.data.listing import DataSet
from faceproof.data.shards.reading import SetIndex
from faceproof.data.shards.writing import open_writer, relative_names, writing_order
from faceproof.errors import FaceproofError

MAX_MEGABYTES = 4000  # a shard is held in memory while it is written
AT_ONCE = 256  # files that are read at a time


@dataclass(frozen=True)
class ShardConfig:
    """Settings of `faceproof shard`.

    Attributes:
        to: a folder that does not exist or is empty, or s3://BUCKET/FOLDER or gs://BUCKET/FOLDER
            without objects.
        megabytes: size of a shard: the bytes of its images.

    Raises:
        FaceproofError: the size is out of range.
    """

    to: str
    megabytes: float = 64.0

    def __post_init__(self) -> None:
        if not (isinstance(self.megabytes, int | float) and 0 < self.megabytes <= MAX_MEGABYTES):
            raise FaceproofError(
                f"--megabytes {self.megabytes!r}: a shard has more than 0 and at most "
                f"{MAX_MEGABYTES}"
            )


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        root: where.
        index: the files and their sizes.
        unreadable: a table (path, reason) of the files left out.
    """

    root: str
    index: SetIndex
    unreadable: pa.Table


def write_shards(data: DataSet, config: ShardConfig) -> Written:
    """Write the images of a data set as shards, their bytes unchanged.

    Raises:
        FaceproofError: the target is in use or out of reach, too many files are unreadable, or one
            changed meanwhile.
    """
    with open_writer(config.to, int(config.megabytes * 1e6)) as writer:
        statistics = file_statistics.file_statistics_of(data.table)
        rows, unreadable = readable_rows(data, None, statistics)
        order = writing_order(rows["split"])
        rows = rows.take(order)
        statistics = statistics.filter(pc.is_null(statistics["reason"])).take(order)
        names = relative_names(rows["path"].to_pylist())
        for name, image in zip(names, _images(rows, statistics), strict=True):
            writer.add(name, image)
        index = writer.finish(
            rows,
            names,
            statistics,
            unreadable,
            {
                "name": data.name,
                "task": data.task.name,
                "statistics_format": file_statistics.FORMAT,
            },
        )
    return Written(config.to, index, unreadable)


def _images(rows: pa.Table, statistics: pa.Table) -> Iterator[bytes]:
    """Yield the bytes of every image, the same that its file statistics were computed from."""
    paths, digests = rows["path"].to_pylist(), statistics["content"].to_pylist()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        starts = range(0, len(paths), AT_ONCE)
        for start in track(starts, "writing shards", disable=not sys.stdout.isatty()):
            some = slice(start, start + AT_ONCE)
            found = pool.map(_read, paths[some])
            for path, digest, image in zip(paths[some], digests[some], found, strict=True):
                if hashlib.blake2b(image, digest_size=16).digest() != digest:
                    raise FaceproofError(f"{path} changed while it was written; begin again")
                yield image


def _read(path: str) -> bytes:
    try:
        return read_file(path)
    except UnreadableImageError as error:
        raise FaceproofError(f"{path} could be read a moment ago: {error}; begin again") from error
