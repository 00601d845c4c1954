"""Pairs of equal and nearly equal images, among a million, without comparing all with all."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint16]
Pairs = npt.NDArray[np.int64]

NUM_BANDS = 16  # a hash is 16 words of 16 bits
# Two hashes that differ in at most 13 bits agree in at least 16 - 13 = 3 of their 16 words, so that
# looking only at pairs that agree in a word misses none.
MAX_DISTANCE = 13
WINDOW = 256


def near_pairs(hashes: Hashes, max_distance: int = MAX_DISTANCE) -> tuple[Pairs, Pairs]:
    """Find the pairs of different rows whose hashes differ in at most `max_distance` bits.

    The rows are sorted by each word of their hash in turn (then by the words after it), and a row
    is compared with those that follow it and share that word, `WINDOW` of them at the most. So no
    pair is missed unless every word that it shares is shared by more rows than that, and memory and
    time stay in proportion to the rows even where thousands look alike: of these each is paired
    with its neighbours. Rows with the very same hash are each paired with the first of them alone.

    Args:
        hashes: (N, 16) uint16.
        max_distance: at most 13.

    Returns:
        (M, 2) row numbers, the lower first, sorted, and (M,) distances.
    """
    if not 0 <= max_distance <= MAX_DISTANCE:
        raise ValueError(f"max_distance must lie within 0 and {MAX_DISTANCE}, found {max_distance}")
    words = np.ascontiguousarray(hashes)
    runs = list(equal_groups(words.view("S32").ravel())) if len(words) else []
    repeats = [np.stack([np.full(len(run) - 1, run[0]), run[1:]], axis=1) for run in runs]
    pairs = np.concatenate([np.empty((0, 2), np.int64), *repeats])
    single = np.setdiff1d(np.arange(len(hashes)), pairs[:, 1])
    for band in range(NUM_BANDS):
        found = single[_neighbours(words[single], band, max_distance)]
        pairs = np.unique(np.concatenate([pairs, np.sort(found, axis=1)]), axis=0)
    return pairs, hamming(hashes[pairs[:, 0]], hashes[pairs[:, 1]])


def _neighbours(hashes: Hashes, band: int, max_distance: int) -> Pairs:
    """Return the near pairs, (M, 2), of rows that share one word and stand close in its order."""
    following = np.roll(hashes, -band, axis=1)[:, :4].astype(np.uint64)
    key = following @ np.array([1 << 48, 1 << 32, 1 << 16, 1], np.uint64)
    order = np.argsort(key, kind="stable")
    word = hashes[order, band]
    found = [np.empty((0, 2), np.int64)]
    shares = np.arange(len(order))
    for step in range(1, WINDOW + 1):
        shares = shares[shares < len(order) - step]
        shares = shares[word[shares] == word[shares + step]]
        if len(shares) == 0:
            break
        pairs = np.stack([order[shares], order[shares + step]], axis=1)
        near = hamming(hashes[pairs[:, 0]], hashes[pairs[:, 1]]) <= max_distance
        found.append(pairs[near])
    return np.concatenate(found)


def hamming(first: Hashes, second: Hashes) -> Pairs:
    """Count the bits in which (M, 16) hashes differ, row by row."""
    bits: Pairs = np.bitwise_count(first ^ second).sum(axis=1, dtype=np.int64)
    return bits


def equal_groups(digests: npt.NDArray[np.bytes_]) -> Iterator[Pairs]:
    """Yield the rows of every digest that stands more than once."""
    order = np.argsort(digests, kind="stable")
    edges = np.flatnonzero(digests[order][1:] != digests[order][:-1]) + 1
    for run in np.split(order, edges):
        if len(run) > 1:
            yield np.sort(run)
