"""Pairs of equal and nearly equal pictures, among a million, without comparing all with all."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint16]
Pairs = npt.NDArray[np.int64]

NUM_BANDS = 16  # a hash is 16 words of 16 bits
# Two hashes that differ in at most 13 bits agree in at least 16 - 13 = 3 of their 16 words, so that
# looking only at pairs that agree in a word, or in two or three, misses none.
MAX_DISTANCE = 13
MAX_RUN = 256
CHUNK = 1 << 20


def near_pairs(hashes: Hashes, max_distance: int = MAX_DISTANCE) -> tuple[Pairs, Pairs]:
    """Find all pairs of different rows whose hashes differ in at most `max_distance` bits.

    Rows are gathered by each word of their hash in turn, and only rows that share a word are
    compared; where too many share one, by a second and a third word as well.

    Args:
        hashes: (N, 16) uint16.
        max_distance: at most 13.

    Returns:
        (M, 2) row numbers, the lower first, sorted, and (M,) distances.
    """
    if not 0 <= max_distance <= MAX_DISTANCE:
        raise ValueError(f"max_distance must lie within 0 and {MAX_DISTANCE}, found {max_distance}")
    found = [np.empty((0, 2), np.int64)]
    for rows in _candidate_runs(hashes, np.arange(len(hashes)), 0, depth=1):
        for pairs in _pairs_within(rows):
            distance = hamming(hashes[pairs[:, 0]], hashes[pairs[:, 1]])
            found.append(pairs[distance <= max_distance])
    pairs = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
    return pairs, hamming(hashes[pairs[:, 0]], hashes[pairs[:, 1]])


def hamming(first: Hashes, second: Hashes) -> npt.NDArray[np.int64]:
    """Count the bits in which (M, 16) hashes differ, row by row."""
    bits: npt.NDArray[np.int64] = np.bitwise_count(first ^ second).sum(axis=1, dtype=np.int64)
    return bits


def _candidate_runs(hashes: Hashes, rows: Pairs, first_band: int, depth: int) -> Iterator[Pairs]:
    """Yield groups of rows that agree in a word, or in up to three where one is too common."""
    for band in range(first_band, NUM_BANDS):
        words = hashes[rows, band]
        order = np.argsort(words, kind="stable")
        edges = np.flatnonzero(np.diff(words[order])) + 1
        for run in np.split(rows[order], edges):
            if len(run) < 2:
                continue
            if len(run) > MAX_RUN and depth < 3:
                yield from _candidate_runs(hashes, run, band + 1, depth + 1)
            else:
                yield run


def _pairs_within(rows: Pairs) -> Iterator[Pairs]:
    """Yield all pairs of a group, (M, 2), in chunks of bounded size."""
    step = max(CHUNK // len(rows), 1)
    for start in range(0, len(rows), step):
        first = np.arange(start, min(start + step, len(rows)))
        one, other = np.nonzero(first[:, None] < np.arange(len(rows)))
        yield np.stack([rows[first[one]], rows[other]], axis=1)


def equal_groups(digests: npt.NDArray[np.bytes_]) -> Iterator[Pairs]:
    """Yield the rows of every digest that stands more than once."""
    order = np.argsort(digests, kind="stable")
    edges = np.flatnonzero(digests[order][1:] != digests[order][:-1]) + 1
    for run in np.split(order, edges):
        if len(run) > 1:
            yield np.sort(run)
