"""File statistics of an image table: can each file be read, its size, hash, JPEG tables, sharpness.

The audit looks for duplicates and shortcuts in them, and unreadable files are found by them. Each
file is decoded once; its statistics are cached until it changes.
"""

import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from faceproof.data import image_io
from faceproof.data import image_statistics as numbers
from faceproof.data.digests import content_digest
from faceproof.data.image_io import UnreadableImageError, decode_image, read_file
from faceproof.data.image_limits import open_image
from faceproof.data.kinds import VIDEO_SUFFIXES
from faceproof.data.shards.paths import IN_SHARD, SHARD, roots_of, stamp_of_image
from faceproof.data.shards.reading import shard_set
from faceproof.data.table import write_table
from faceproof.errors import FaceproofError
from faceproof.io.atomic import NO_ROOM, CannotWriteError
from faceproof.io.cache import cache_folder
from faceproof.io.processes import in_processes
from faceproof.io.progress import progress
from faceproof.lookup import allow, allowed

FORMAT = 3  # raise it with every change to how a statistic is computed
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("stamp", pa.string()),  # of the file when it was read, null if it is to be read again
        ("size", pa.int64()),
        ("reason", pa.string()),  # why the file cannot be read, and then all below is null
        ("content", pa.binary(16)),  # digest of the bytes
        ("look", pa.binary(2 * numbers.NUM_HASH_WORDS)),  # perceptual hash
        ("format", pa.string()),
        ("suffix", pa.string()),
        ("mode", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("jpeg_tables", pa.string()),  # digest of the quantisation tables
        ("metadata", pa.string()),  # kinds of metadata
        ("colour", pa.list_(pa.float32(), 6)),  # mean and standard deviation of R, G, B
        ("sharpness", pa.float32()),  # log variance of the Laplacian
        ("spectrum", pa.list_(pa.float32(), numbers.NUM_RINGS)),  # log power by radial frequency
        ("border", pa.list_(pa.float32(), 12)),  # share of detail in each cell along the border
    ]
)
# What Pillow names so in an image's `info`; every encoder writes density and the like.
METADATA = {"exif", "icc_profile", "comment", "xmp", "photoshop", "Software", "parameters"}
CROP = 128  # pixels: side of the middle, not resized, whose spectrum is taken
SMALL = 256  # pixels: side to which the whole image is resized for the detail along its border
MANY = 2000  # files, from which on processes look at them: they take a second to start
PART = 256  # files that go to a process at once

# Returns the statistics of files in their order, in as many tables as it likes.
Look = Callable[[list[str]], Iterable[pa.Table]]

log = logging.getLogger(__name__)


def file_statistics_of(rows: pa.Table, look: Look | None = None) -> pa.Table:
    """Return the file statistics of an image table, row by row.

    They are cached by source: a split or a combination of data sets finds those of its images.
    `look` looks at those that are not cached, such as a cluster; None for this machine.
    """
    _refuse_videos(rows["path"])
    sources = rows["source"].cast(pa.string())
    places, found, in_shards = [], [], _of_shards(rows["path"])
    for source in sources.unique().to_pylist():
        chosen = np.flatnonzero(pc.equal(sources, source).to_numpy())
        file = cache_folder() / f"file-statistics-{FORMAT}" / f"{_digest(source)}.parquet"
        names = rows["path"].take(pa.array(chosen))
        found.append(gather_file_statistics(names, file, in_shards, look))
        places.append(chosen)
    return pa.concat_tables(found).take(pa.array(np.argsort(np.concatenate(places))))


def _refuse_videos(paths: pa.ChunkedArray) -> None:
    """Refuse a data set of videos; a video among images is a file that cannot be read."""
    endings = "|".join(re.escape(suffix) for suffix in sorted(VIDEO_SUFFIXES))
    videos = pc.match_substring_regex(paths, f"(?i)({endings})$")
    number = pc.sum(videos).as_py() or 0
    if 2 * number > len(paths):
        raise FaceproofError(
            f"{number:,} of {len(paths):,} files are videos, first {paths.filter(videos)[0]}, and "
            "images are wanted: cut the faces out by faceproof prepare data=NAME --out DIR, with "
            "the same settings, and take data=prepared data.root=DIR"
        )


def gather_file_statistics(
    paths: Iterable[str] | pa.ChunkedArray,
    cache: Path | None,
    in_shards: pa.Table | None = None,
    look: Look | None = None,
) -> pa.Table:
    """Return the statistics of files, in their order, reading only those that changed.

    `cache` is a Parquet file of known statistics, which is updated; `in_shards` are those that are
    stored beside the images in shards. `look` is as for `file_statistics_of`.
    """
    names = paths if isinstance(paths, pa.ChunkedArray) else pa.chunked_array([list(paths)])
    stamps = pa.array(map(stamp_of_image, names.to_pylist()), pa.string())
    cached = _read_cache(cache)
    in_shards = _of_paths(SCHEMA.empty_table() if in_shards is None else in_shards, names)
    known = pa.concat_tables([in_shards, cached])
    old = known.take(pc.index_in(names, known["path"].combine_chunks()))
    stale = np.flatnonzero(~pc.fill_null(pc.equal(old["stamp"], stamps), False).to_numpy())
    if stale.size == 0:
        return old
    log.info("reading %s files for their statistics", f"{stale.size:,}")
    chosen = pa.array(stale)
    fresh = _compute(names.take(chosen).to_pylist(), stamps.take(chosen).to_pylist(), look)
    order = np.arange(len(names))
    order[stale] = len(names) + np.arange(stale.size)
    stats = pa.concat_tables([old, fresh]).take(pa.array(order)).combine_chunks()
    if cache is not None:
        others = pc.invert(pc.is_in(cached["path"], names.combine_chunks()))
        _write_cache(pa.concat_tables([cached.filter(others), _lasting(stats, in_shards)]), cache)
    return stats


def _of_paths(stats: pa.Table, names: pa.ChunkedArray) -> pa.Table:
    return stats.filter(pc.is_in(stats["path"], names.combine_chunks()))


def _lasting(stats: pa.Table, in_shards: pa.Table) -> pa.Table:
    """Return the statistics to cache.

    Those stored in shards are not, nor that an image in a shard cannot be read: the image is as it
    was written, and what failed, the store or the local copy of the shard, may be repaired. Nor
    are those of a file without a stamp, which is missing or may change without a trace.
    """
    stored = pc.is_in(stats["path"], in_shards["path"].combine_chunks())
    of_shards = pc.match_substring_regex(stats["path"], SHARD)
    passing = pc.and_(of_shards, pc.is_valid(stats["reason"]))
    without = pc.is_null(stats["stamp"])
    return stats.filter(pc.invert(pc.or_(pc.or_(stored, passing), without)))


def _compute(names: list[str], stamps: list[str | None], look: Look | None) -> pa.Table:
    look = look or (_by_processes if len(names) >= MANY else _by_threads)
    stats = pa.concat_tables([SCHEMA.empty_table(), *look(names)])
    place = SCHEMA.get_field_index("stamp")
    return stats.set_column(place, SCHEMA.field(place), pa.array(stamps, pa.string()))


def _by_threads(names: list[str]) -> list[pa.Table]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(statistics_of_file, names)
        rows = list(progress(found, "looking at files", len(names)))
    return [pa.Table.from_pylist(rows, SCHEMA)]


def _by_processes(names: list[str]) -> list[pa.Table]:
    """Do the same by processes: half of the work is Python's, which one thread at a time does."""
    parts = (names[start : start + PART] for start in range(0, len(names), PART))
    work = in_processes(statistics_of_files, parts, "looks at files", partial(allow, allowed()))
    found = []

    def one_by_one() -> Iterator[None]:
        for stats in work:
            found.append(stats)
            yield from repeat(None, stats.num_rows)

    for _ in progress(one_by_one(), "looking at files", len(names)):
        pass
    return found


def statistics_of_files(names: list[str]) -> pa.Table:
    """Return the statistics of some files without their stamps, one after the other."""
    return pa.Table.from_pylist([statistics_of_file(name) for name in names], SCHEMA)


def _write_cache(stats: pa.Table, file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_table(stats, file)
    except (OSError, CannotWriteError) as error:
        if getattr(error.__cause__, "errno", None) in NO_ROOM:  # before a run fails by it
            raise FaceproofError(
                f"{file} cannot be written ({error}); set FACEPROOF_CACHE to a folder that can"
            ) from error
        log.warning(
            "nothing is cached, so that the same files are read again the next time: %s; set "
            "FACEPROOF_CACHE to a folder that can be written to", error,
        )  # fmt: skip


def _read_cache(file: Path | None) -> pa.Table:
    """Return the cached statistics; none if another version of this module wrote them."""
    try:
        if file is None or not file.is_file():
            return SCHEMA.empty_table()
        cached = pyarrow.parquet.read_table(file)
    except (OSError, pa.ArrowException) as error:
        log.warning("what is cached in %s cannot be read (%s); it is computed again", file, error)
        return SCHEMA.empty_table()
    return cached.cast(SCHEMA) if cached.schema.names == SCHEMA.names else SCHEMA.empty_table()


def _of_shards(names: pa.ChunkedArray) -> pa.Table:
    """Return the statistics that were stored when images were written into shards."""
    found = []
    for root in roots_of(names):
        if (stats := shard_set(root).file_statistics(FORMAT)) is not None:
            stamps = pa.array([IN_SHARD] * stats.num_rows, pa.string())
            stats = stats.append_column("stamp", stamps)
            found.append(stats.select(SCHEMA.names).cast(SCHEMA))
    return _of_paths(pa.concat_tables([SCHEMA.empty_table(), *found]), names)


def statistics_of_file(path: str) -> dict[str, Any]:
    """Return the statistics of one file without its stamp; of an unreadable one size and reason."""
    size = None
    try:
        data = read_file(path)
        size = len(data)
        image = decode_image(data)
    except UnreadableImageError as error:
        return {"path": path, "size": size, "reason": str(error)}
    try:
        header = _header(data)
    except image_io.UNREADABLE as error:  # Pillow may refuse the header of a file that decodes
        return {"path": path, "size": size, "reason": image_io.reason_of(error)}
    grey, (mean, deviation) = numbers.grey_of(image), numbers.colours(image)
    small = numbers.resized(grey, SMALL)
    detail = numbers.laplacian(small)
    sharp = numbers.middle(grey, numbers.JUDGED)
    return {
        "path": path,
        "size": size,
        "content": content_digest(data),
        "look": numbers.perceptual_hash(grey).tobytes(),
        "suffix": Path(path).suffix.lower(),
        **header,
        "colour": [*mean.tolist(), *deviation.tolist()],
        "sharpness": numbers.log_variance(detail if small is grey else numbers.laplacian(sharp)),
        "spectrum": numbers.radial_spectrum(numbers.middle(grey, CROP)).tolist(),
        "border": numbers.border_detail(detail).tolist(),
    }


def _header(data: bytes) -> dict[str, Any]:
    """Return what the header says: format, mode, size, JPEG tables, kinds of metadata."""
    with open_image(data) as image:
        tables = getattr(image, "quantization", None)
        kinds = sorted(METADATA.intersection(map(str, image.info)))
        return {
            "format": image.format,
            "mode": image.mode,
            "width": image.width,
            "height": image.height,
            "jpeg_tables": _digest(repr(sorted(tables.items()))) if tables else None,
            "metadata": ",".join(kinds),
        }


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
