"""The story of `faceproof shard`: write the images of a data set as shards."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from faceproof.errors import FaceproofError
from faceproof.io.progress import progress

if TYPE_CHECKING:
    import pyarrow as pa

    from faceproof.data.listing import DataSet
    from faceproof.data.shards.reading import SetIndex

MAX_MEGABYTES = 4000  # a shard is held in memory while it is written
AT_ONCE = 256  # files that are read at a time


@dataclass(frozen=True)
class ShardConfig:
    """Write the files of a data set, byte for byte, into shards: tar files of many images each.

    The image table and what the audit needs are written beside them. Files that cannot be read are
    left out and named. data=shards trains, evaluates and audits from shards.

    Attributes:
        settings: data=NAME, the data set, and data.KEY=VALUE.
        to: a folder that does not exist yet, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER;
            AWS_ENDPOINT_URL names another S3-compatible store.
        megabytes: size of a shard: the bytes of its images.
    """

    settings: tuple[str, ...]
    _: KW_ONLY
    to: str
    megabytes: float = 64.0

    def __post_init__(self) -> None:
        if not (isinstance(self.megabytes, int | float) and 0 < self.megabytes <= MAX_MEGABYTES):
            allowed = f"a shard has more than 0 and at most {MAX_MEGABYTES}"
            raise FaceproofError(f"--megabytes {self.megabytes!r}: {allowed}")


@dataclass(frozen=True)
class Written:
    """The root and index of what was written, and a table (path, reason) of the files left out."""

    root: str
    index: "SetIndex"
    unreadable: "pa.Table"


def write_shards(data: "DataSet", config: ShardConfig) -> Written:
    """Write the images of a data set as shards, their bytes unchanged.

    Raises:
        FaceproofError: the target is in use or out of reach, too many files are unreadable, or one
            changed meanwhile.
    """
    import pyarrow.compute as pc

    from faceproof.audit import file_statistics
    from faceproof.audit.readable import readable_rows
    from faceproof.data.shards.writing import About, open_writer, relative_names, writing_order

    with open_writer(config.to, int(config.megabytes * 1e6)) as writer:
        statistics = file_statistics.file_statistics_of(data.table)
        rows, unreadable = readable_rows(data, None, statistics)
        order = writing_order(rows["split"])
        rows = rows.take(order)
        statistics = statistics.filter(pc.is_null(statistics["reason"])).take(order)
        names = relative_names(rows["path"].to_pylist())
        for name, image in zip(names, _images(rows, statistics), strict=True):
            writer.add(name, image)
        about = About(data.name, data.task.name, file_statistics.FORMAT)
        index = writer.finish(rows, names, statistics, unreadable, about)
    return Written(config.to, index, unreadable)


def _images(rows: "pa.Table", statistics: "pa.Table") -> Iterator[bytes]:
    """Yield the bytes of every image, the same that its file statistics were computed from."""
    from faceproof.data.digests import content_digest

    paths, digests = rows["path"].to_pylist(), statistics["content"].to_pylist()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        starts = range(0, len(paths), AT_ONCE)
        for start in progress(starts, "writing shards"):
            some = slice(start, start + AT_ONCE)
            found = pool.map(_read, paths[some])
            for path, digest, image in zip(paths[some], digests[some], found, strict=True):
                if content_digest(image) != digest:
                    raise FaceproofError(f"{path} changed while it was written; begin again")
                yield image


def _read(path: str) -> bytes:
    from faceproof.data.image_io import UnreadableImageError, read_file

    try:
        return read_file(path)
    except UnreadableImageError as error:
        raise FaceproofError(f"{path} could be read a moment ago: {error}; begin again") from error
