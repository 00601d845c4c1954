"""What is known of every file: whether it can be read, and its incidentals.

Each file is decoded once and its facts are remembered until it changes. The audit and the refusal
of unreadable files both live on them.
"""

import hashlib
import io
import logging
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from PIL import Image
from scipy import fft

from faceproof.data.image_io import (
    UNREADABLE,
    UnreadableImageError,
    decode_image,
    read_file,
    reason_of,
)
from faceproof.data.shards.paths import SHARD, find_member, roots_of
from faceproof.data.shards.reading import shard_set
from faceproof.data.table import write_table
from faceproof.errors import FaceproofError
from faceproof.io.atomic import CannotWriteError
from faceproof.io.cache import cache_folder

FORMAT = 1  # raised with every change to how a fact is computed
NUM_RINGS = 16
NUM_HASH_WORDS = 16
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("reason", pa.string()),  # why it cannot be read; null where it can, and then the rest is
        ("content", pa.binary(16)),  # digest of the bytes
        ("look", pa.binary(2 * NUM_HASH_WORDS)),  # perceptual hash
        ("format", pa.string()),
        ("suffix", pa.string()),
        ("mode", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("jpeg_tables", pa.string()),  # digest of the quantisation tables
        ("metadata", pa.string()),  # which kinds of metadata there are
        ("colour", pa.list_(pa.float32(), 6)),  # mean and standard deviation of R, G, B
        ("sharpness", pa.float32()),  # log variance of the Laplacian
        ("spectrum", pa.list_(pa.float32(), NUM_RINGS)),  # log power by radial frequency
        ("border", pa.list_(pa.float32(), 12)),  # share of detail in each cell along the border
    ]
)
CROP = 128  # pixels: the middle, as it is, for the spectrum
SMALL = 256  # pixels: the whole, resized, for the cells
GRID = 4
HASHED = 64
CHUNK = 4096

Grey = npt.NDArray[np.float32]

log = logging.getLogger(__name__)


def file_statistics_of(rows: pa.Table) -> pa.Table:
    """Return the facts of the files of an image table, row by row.

    They are remembered in the cache folder, by source, so that a split or a combination of data
    sets finds what was learned of its images before.

    Raises:
        FaceproofError: the cache cannot be written.
    """
    sources = rows["source"].cast(pa.string())
    places, found, in_shards = [], [], _known_in_shards(rows["path"])
    for source in sources.unique().to_pylist():
        chosen = np.flatnonzero(pc.equal(sources, source).to_numpy())
        memory = cache_folder() / f"facts-{FORMAT}" / f"{_digest(source)}.parquet"
        found.append(gather_file_statistics(rows["path"].take(pa.array(chosen)), memory, in_shards))
        places.append(chosen)
    return pa.concat_tables(found).take(pa.array(np.argsort(np.concatenate(places))))


def gather_file_statistics(
    paths: Iterable[str] | pa.ChunkedArray, memory: Path | None, in_shards: pa.Table | None = None
) -> pa.Table:
    """Return the facts of files, in their order, looking only at those that changed.

    Args:
        paths: the files.
        memory: a Parquet file that remembers facts; None to remember nothing.
        in_shards: facts that lie beside the images in shards, and so are not remembered here.

    Raises:
        FaceproofError: `memory` cannot be written.
    """
    names = paths if isinstance(paths, pa.ChunkedArray) else pa.chunked_array([list(paths)])
    stamps = np.array([_stamp(name) for name in names.to_pylist()], np.int64).reshape(-1, 2)
    remembered = _remembered(memory)
    in_shards = SCHEMA.empty_table() if in_shards is None else in_shards
    in_shards = _of(in_shards, names)
    known = pa.concat_tables([in_shards, remembered])
    old = known.take(pc.index_in(names, known["path"].combine_chunks()))
    same = pc.and_(
        pc.equal(old["size"], pa.array(stamps[:, 0])),
        pc.equal(old["mtime_ns"], pa.array(stamps[:, 1])),
    )
    stale = np.flatnonzero(~pc.fill_null(same, False).to_numpy())
    if stale.size == 0:
        return old
    log.info("looking at %s files", f"{stale.size:,}")
    fresh = _look_at(names.take(pa.array(stale)).to_pylist(), stamps[stale])
    order = np.arange(len(names))
    order[stale] = len(names) + np.arange(stale.size)
    stats = pa.concat_tables([old, fresh]).take(pa.array(order)).combine_chunks()
    if memory is not None:
        others = pc.invert(pc.is_in(remembered["path"], names.combine_chunks()))
        _remember(pa.concat_tables([remembered.filter(others), _lasting(stats, in_shards)]), memory)
    return stats


def _of(stats: pa.Table, names: pa.ChunkedArray) -> pa.Table:
    return stats.filter(pc.is_in(stats["path"], names.combine_chunks()))


def _lasting(stats: pa.Table, in_shards: pa.Table) -> pa.Table:
    """Return the facts to remember.

    Not those that lie in shards, nor that an image in one could not be read: it is as it was
    written, and what was at fault, the store or its copy of the shard, may be mended.
    """
    there = pc.is_in(stats["path"], in_shards["path"].combine_chunks())
    of_shards = pc.match_substring_regex(stats["path"], SHARD)
    passing = pc.and_(of_shards, pc.is_valid(stats["reason"]))
    return stats.filter(pc.invert(pc.or_(there, passing)))


def _look_at(names: list[str], stamps: npt.NDArray[np.int64]) -> pa.Table:
    """Gather facts of files, chunk by chunk so that few of them stand as Python objects."""
    chunks = []
    # Decoders release the interpreter lock, so threads suffice.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(names), CHUNK):
            some = slice(start, start + CHUNK)
            found = pool.map(statistics_of_file, names[some])
            rows = [
                stats | {"size": size, "mtime_ns": stamp}
                for stats, (size, stamp) in zip(found, stamps[some].tolist(), strict=True)
            ]
            chunks.append(pa.Table.from_pylist(rows, SCHEMA))
    return pa.concat_tables(chunks)


def _remember(stats: pa.Table, memory: Path) -> None:
    """Write facts, so that the next run need not decode every file again."""
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_table(stats, memory)
    except (OSError, CannotWriteError) as error:
        raise FaceproofError(
            f"{memory} cannot be written ({error}); set FACEPROOF_CACHE to a folder that can"
        ) from error


def _remembered(memory: Path | None) -> pa.Table:
    """Return the facts remembered, none where another version of this module wrote them."""
    if memory is None or not memory.is_file():
        return SCHEMA.empty_table()
    known = pyarrow.parquet.read_table(memory)
    return known.cast(SCHEMA) if known.schema.names == SCHEMA.names else SCHEMA.empty_table()


def _known_in_shards(names: pa.ChunkedArray) -> pa.Table:
    """Return what was learned of images when they were written into shards."""
    read = (shard_set(root).file_statistics(FORMAT) for root in roots_of(names))
    found = [
        _of(stats.select(SCHEMA.names).cast(SCHEMA), names) for stats in read if stats is not None
    ]
    return pa.concat_tables([SCHEMA.empty_table(), *found])


def _stamp(path: str) -> tuple[int, int]:
    """Return size and modification time, -1 each for a file that is not there.

    An image in a shard has no time of its own; its path holds its checksum.
    """
    if (member := find_member(path)) is not None:
        return member.length, 0
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def statistics_of_file(path: str) -> dict[str, Any]:
    """Return the facts of one file but its stamp; `reason` alone where it cannot be read."""
    try:
        data = read_file(path)
        image = decode_image(data)
    except UnreadableImageError as error:
        return {"path": path, "reason": str(error)}
    try:
        header = _header(data)
    except UNREADABLE as error:  # what decodes may still have a header that Pillow cannot read
        return {"path": path, "reason": reason_of(error)}
    grey = image.mean(axis=0, dtype=np.float32)
    return {
        "path": path,
        "content": hashlib.blake2b(data, digest_size=16).digest(),
        "look": perceptual_hash(grey).tobytes(),
        "suffix": Path(path).suffix.lower(),
        **header,
        "colour": [*image.mean((1, 2)).tolist(), *image.std((1, 2)).tolist()],
        "sharpness": float(np.log(laplacian(middle(grey, 2 * SMALL)).var() + 1e-3)),
        "spectrum": radial_spectrum(middle(grey, CROP)).tolist(),
        "border": border_detail(resized(grey, SMALL)).tolist(),
    }


def _header(data: bytes) -> dict[str, Any]:
    """Return what the header says: format, mode, size, JPEG tables, kinds of metadata."""
    with Image.open(io.BytesIO(data)) as image:
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


# What Pillow names so in an image's `info`; density and the like are written by every encoder.
METADATA = frozenset(
    {"exif", "icc_profile", "comment", "xmp", "photoshop", "Software", "parameters"}
)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def resized(grey: Grey, size: int) -> Grey:
    """Resize (H, W) to (size, size) by averaging, whatever its aspect."""
    box = Image.Resampling.BOX if min(grey.shape) >= size else Image.Resampling.BILINEAR
    image = Image.fromarray(grey).resize((size, size), box)
    return np.asarray(image, dtype=np.float32)


def middle(grey: Grey, size: int) -> Grey:
    """Return the middle of (H, W), at most `size` a side, pixels as they are."""
    top, left = (max(side - size, 0) // 2 for side in grey.shape)
    return grey[top : top + size, left : left + size]


def laplacian(grey: Grey) -> Grey:
    """Return the four-neighbour Laplacian of (H, W) where it is defined, or zeros (1, 1)."""
    if min(grey.shape) < 3:
        return np.zeros((1, 1), np.float32)
    centre = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    curvature: Grey = around - 4 * centre
    return curvature


def perceptual_hash(grey: Grey) -> npt.NDArray[np.uint16]:
    """Return (16,) uint16 that hardly change when an image is re-encoded, resized or brightened.

    The signs of the 16 x 16 lowest frequencies of the cosine transform about their median, after
    Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), there with
    8 x 8.

    Args:
        grey: (H, W) in any range.
    """
    side = NUM_HASH_WORDS
    low = fft.dctn(resized(grey, HASHED), norm="ortho")[:side, :side].ravel()
    bits = low > np.median(low[1:])
    words: npt.NDArray[np.uint16] = np.packbits(bits).view(np.uint16)
    return words


def radial_spectrum(grey: Grey) -> Grey:
    """Return (16,) mean log power in rings of equal width, from 0 to half a cycle a pixel."""
    height, width = grey.shape
    window = np.hanning(height + 2)[1:-1, None] * np.hanning(width + 2)[None, 1:-1]
    power = np.abs(np.fft.rfft2((grey - grey.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    ring = np.minimum((radius * 2 * NUM_RINGS).astype(int), NUM_RINGS - 1)
    total = np.bincount(ring.ravel(), np.log(power + 1e-3).ravel(), NUM_RINGS)
    count = np.bincount(ring.ravel(), minlength=NUM_RINGS)
    return (total / np.maximum(count, 1)).astype(np.float32)


def border_detail(grey: Grey) -> Grey:
    """Return (12,) log share of detail in the outer cells of a 4 x 4 grid, from the top left.

    A mark that one class carries in a corner or along an edge shows here.
    """
    detail = np.pad(laplacian(grey) ** 2, 1, mode="edge")
    cell = len(detail) // GRID
    cells = detail.reshape(GRID, cell, GRID, cell).mean((1, 3)) + 1e-3
    shares = np.log(cells / cells.mean())
    outer = np.ones((GRID, GRID), bool)
    outer[1:-1, 1:-1] = False
    return np.asarray(shares[outer], dtype=np.float32)
