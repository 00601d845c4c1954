"""Find identical and nearly identical images for the audit, without comparing all with all."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Hashes = npt.NDArray[np.uint16]
Pairs = npt.NDArray[np.int64]

NUM_BANDS = 16  # a hash is 16 words of 16 bits
# Two hashes that differ in at most 13 bits agree in at least 16 - 13 = 3 of their 16 words, so that
# looking only at pairs that agree in a word misses none.
MAX_DISTANCE = 13
WINDOW = 256
MAX_PAIRS = 10_000  # pairs that are recorded; all are counted


@dataclass(frozen=True)
class Pair:
    """Two images that look the same."""

    first: str  # their paths
    second: str
    distance: int  # bits, of 256, in which their perceptual hashes differ
    equal: bool  # whether their bytes are the same
    labels: tuple[str | None, str | None]
    splits: tuple[str, str]

    @property
    def leaks(self) -> bool:
        """Say whether the two are in different splits."""
        return self.splits[0] != self.splits[1]

    @property
    def contradicts(self) -> bool:
        """Say whether the two have different labels."""
        return None not in self.labels and self.labels[0] != self.labels[1]


def find_pairs(rows: pa.Table, stats: pa.Table) -> tuple[tuple[Pair, ...], dict[str, int]]:
    """Find identical files and near-duplicates of an image table, by its file statistics.

    Returned are the most serious pairs, at most `MAX_PAIRS`, and the number of pairs of each kind.
    Of many identical files each is paired with the first alone.
    """
    repeats = _with_first(equal_groups(fixed_bytes(stats["content"], 16).view("S16").ravel()))
    single = np.setdiff1d(np.arange(rows.num_rows), repeats[:, 1])
    hashes = fixed_bytes(stats["look"], 32).view(np.uint16)
    near, near_distance = near_pairs(hashes[single])
    pairs = np.concatenate([repeats, single[near]])
    distance = np.concatenate([np.zeros(len(repeats), np.int64), near_distance])
    equal = np.arange(len(pairs)) < len(repeats)
    leaks, contradicts = (_differ(rows[name], pairs) for name in ("split", "label"))
    numbers = {
        f"{what} {where}": int((same & chosen).sum())
        for where, chosen in (("across splits", leaks), ("with different labels", contradicts),
                              ("within a split", ~leaks))
        for what, same in (("identical files", equal), ("near-duplicates", ~equal))
    }  # fmt: skip
    worst_first = np.lexsort((distance, ~contradicts, ~leaks))[:MAX_PAIRS]
    found = [_pair(rows, pairs[n], int(distance[n]), bool(equal[n])) for n in worst_first]
    return tuple(found), numbers


def _pair(rows: pa.Table, pair: npt.NDArray[np.int64], distance: int, equal: bool) -> Pair:
    first, second = (rows.slice(int(row), 1).to_pylist()[0] for row in pair)
    labels, splits = ((first[name], second[name]) for name in ("label", "split"))
    return Pair(first["path"], second["path"], distance, equal, labels, splits)


def fixed_bytes(column: pa.ChunkedArray, width: int) -> npt.NDArray[np.uint8]:
    """Return a column of fixed-size binary as (N, width) uint8."""
    array = column.combine_chunks()
    flat = np.frombuffer(array.buffers()[1], np.uint8)
    return flat[array.offset * width : (array.offset + len(array)) * width].reshape(-1, width)


def _differ(column: pa.ChunkedArray, pairs: Pairs) -> npt.NDArray[np.bool_]:
    """Say for each pair of rows whether both have a value and the values differ."""
    values = column.cast(pa.string()).combine_chunks().dictionary_encode()
    codes = values.indices.fill_null(-1).to_numpy()[pairs]
    return np.asarray((codes[:, 0] != codes[:, 1]) & (codes >= 0).all(axis=1))


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
    pairs = _with_first(equal_groups(words.view("S32").ravel()) if len(words) else iter(()))
    single = np.setdiff1d(np.arange(len(hashes)), pairs[:, 1])
    for band in range(NUM_BANDS):
        found = single[_neighbours(words[single], band, max_distance)]
        pairs = np.unique(np.concatenate([pairs, np.sort(found, axis=1)]), axis=0)
    return pairs, hamming(hashes[pairs[:, 0]], hashes[pairs[:, 1]])


def _with_first(groups: Iterator[Pairs]) -> Pairs:
    """Return each row of a group paired with the group's first row, (M, 2)."""
    pairs = [np.stack([np.full(len(run) - 1, run[0]), run[1:]], axis=1) for run in groups]
    return np.concatenate([np.empty((0, 2), np.int64), *pairs])


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
    return np.asarray(np.bitwise_count(first ^ second).sum(axis=1, dtype=np.int64))


def equal_groups(digests: npt.NDArray[np.bytes_]) -> Iterator[Pairs]:
    """Yield the row numbers of every digest that occurs more than once."""
    order = np.argsort(digests, kind="stable")
    edges = np.flatnonzero(digests[order][1:] != digests[order][:-1]) + 1
    for run in np.split(order, edges):
        if len(run) > 1:
            yield np.sort(run)
