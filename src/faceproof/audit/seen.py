"""The images that a run was trained on or chosen by, found again under other names and encodings.

A run keeps of each such image the path, a digest of its bytes, its perceptual hash and its label
(`seen.parquet`). Before other images are scored, those that are among them are looked for.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from faceproof.audit.duplicates import MAX_DISTANCE, Hashes, fixed_bytes
from faceproof.io.parquet import read_parquet

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("content", pa.binary(16)),  # digest of the bytes
        ("look", pa.binary(32)),  # perceptual hash; null in runs of earlier versions
        ("label", pa.string()),  # null in these too
    ]
)
FOUND = pa.schema(
    [
        ("path", pa.string()),  # of an image that is to be scored
        ("why", pa.string()),  # one of `WHYS`
        ("seen", pa.string()),  # the image it is, or is a copy of
        ("distance", pa.int64()),  # bits, of 256, in which their perceptual hashes differ
    ]
)
SAME, EQUAL, NEAR = WHYS = ("the same file", "equal bytes", "near-duplicate")
# Bits in which the hashes of near-duplicates differ at most. Of real images of 96 to 256 pixels,
# copies at JPEG quality 30, of half or twice the size, stretched or brightened differ in 38 or
# fewer; of 80 million pairs of images of different sets none in 40 or fewer. An image and a forgery
# made of it have two labels, for which the audit's own limit stands.
SAME_LABEL, OTHER_LABEL = 40, MAX_DISTANCE
ROWS, KNOWN = 256, 1 << 16  # that are compared at a time


def seen_images(rows: pa.Table, stats: pa.Table) -> pa.Table:
    """Return what a run keeps of the images that train or choose it, by their file statistics.

    Args:
        rows: the image table.
        stats: the file statistics, of these rows and maybe others.
    """
    splits = rows["split"].cast(pa.string())
    chosen = rows.filter(pc.is_in(splits, pa.array(["train", "val"])))
    known = stats.take(pc.index_in(chosen["path"], stats["path"].combine_chunks()))
    columns = [chosen["path"], known["content"], known["look"], chosen["label"].cast(pa.string())]
    return pa.table(columns, schema=SCHEMA)


def read_seen(file: Path) -> pa.Table:
    """Read a run's `seen.parquet`; what an earlier version did not write yet is null.

    Raises:
        FaceproofError: the file is damaged, or holds something else.
    """
    return read_parquet(file, SCHEMA, may_lack=("look", "label"))


def has_looks(seen: pa.Table) -> bool:
    """Say whether near-duplicates can be looked for: the hashes of all images are known."""
    return bool(seen["look"].null_count == 0)


def find_seen(seen: pa.Table, rows: pa.Table, stats: pa.Table) -> pa.Table:
    """Find the rows whose images a run has seen; a table of `FOUND`, in the order of the rows.

    Args:
        seen: what the run has kept; see `read_seen`.
        rows: an image table.
        stats: its file statistics, row by row; all readable.
    """
    by_path = _places(rows["path"], seen["path"])
    by_content = _places(stats["content"], seen["content"])
    place = np.where(by_path >= 0, by_path, by_content)
    why = np.select([by_path >= 0, by_content >= 0], [0, 1], 2)
    distance = np.zeros(len(place), np.int64)
    others, hashed = np.flatnonzero(place < 0), np.flatnonzero(seen["look"].is_valid().to_numpy())
    if len(others) and len(hashed):
        known = seen.take(pa.array(hashed))
        nearest, bits = find_near(
            _hashes(stats["look"].take(pa.array(others))), _hashes(known["look"]),
            *_label_codes(rows["label"].take(pa.array(others)), known["label"]),
        )  # fmt: skip
        place[others] = np.where(nearest >= 0, hashed[nearest], -1)
        distance[others] = bits
    found = np.flatnonzero(place >= 0)
    columns = [
        rows["path"].take(pa.array(found)),
        pa.array(np.array(WHYS, object)[why[found]], pa.string()),
        seen["path"].take(pa.array(place[found])),
        pa.array(distance[found]),
    ]
    return pa.table(columns, schema=FOUND)


def find_near(
    hashes: Hashes,
    known: Hashes,
    labels: npt.NDArray[np.int64],
    known_labels: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Find for each of (N, 16) hashes the nearest of (M, 16) known ones that it may be a copy of.

    Every pair is compared: at more than `MAX_DISTANCE` bits two hashes need not share a word.

    Args:
        hashes: uint16; `known` likewise.
        known: those that may have been copied.
        labels: (N,) codes, -1 where it is not known; two labels that are known and differ allow
            `OTHER_LABEL` bits, others `SAME_LABEL`.
        known_labels: (M,) likewise.

    Returns:
        (N,) row numbers in `known`, -1 for no copy, and (N,) distances in bits.
    """
    words = [np.ascontiguousarray(part).view(np.uint64) for part in (hashes, known)]
    place = np.full(len(hashes), -1, np.int64)
    distance = np.full(len(hashes), 256, np.int64)

    def compare(start: int) -> None:
        for first in range(0, len(known), KNOWN):
            some = np.ascontiguousarray(words[1][first : first + KNOWN].T)
            theirs = known_labels[first : first + KNOWN]
            for row in range(start, min(start + ROWS, len(hashes))):
                near, bits = _within(words[0][row], some, int(labels[row]), theirs)
                if len(near) and bits.min() < distance[row]:
                    least = bits.argmin()
                    place[row], distance[row] = first + near[least], bits[least]

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # counting bits releases the interpreter lock
        list(pool.map(compare, range(0, len(hashes), ROWS)))
    return place, np.where(place >= 0, distance, 0)


def _within(
    word: npt.NDArray[np.uint64],
    known: npt.NDArray[np.uint64],
    label: int,
    known_labels: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return which of (4, M) words one hash (4,) may be a copy of, and the distances."""
    half = np.bitwise_count(known[0] ^ word[0]) + np.bitwise_count(known[1] ^ word[1])
    near = np.flatnonzero(half <= SAME_LABEL)
    bits = np.bitwise_count(known[:, near] ^ word[:, None]).sum(axis=0, dtype=np.int64)
    theirs = known_labels[near]
    differ = (theirs != label) & (theirs >= 0) & (label >= 0)
    close = bits <= np.where(differ, OTHER_LABEL, SAME_LABEL)
    return near[close], bits[close]


def _places(values: pa.ChunkedArray, known: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return where in `known` each value stands first, (N,), -1 where it does not or is null."""
    places = pc.index_in(values, known.combine_chunks(), skip_nulls=True)
    return np.asarray(pc.fill_null(places, -1).to_numpy().astype(np.int64))


def _hashes(column: pa.ChunkedArray) -> Hashes:
    return fixed_bytes(column, 32).view(np.uint16)


def _label_codes(
    labels: pa.ChunkedArray, known: pa.ChunkedArray
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Number the labels of two columns alike; -1 for null."""
    names = pc.unique(known.cast(pa.string())).drop_null()
    first = pc.index_in(labels.cast(pa.string()), names)
    unknown = pc.if_else(labels.is_null(), -1, len(names))  # a label that no known image has
    codes = pc.coalesce(first.cast(pa.int64()), unknown.cast(pa.int64()))
    return codes.to_numpy(), _places(known, pa.chunked_array([names]))
