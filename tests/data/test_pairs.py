"""Fakes and their originals: side by side in every batch, on every rank, after a resume too."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceproof.data.pairs import Pairs
from faceproof.data.samplers import EpochBatches, EpochSampler
from faceproof.data.shards.order import Shards
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.task import TASKS

TASK = TASKS["deepfake"]
# Of each pair how many fakes and originals there are, and how many rows without a name.
SIZES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=6)


def table(sizes: list[tuple[int, int]], num_alone: int = 0) -> pa.Table:
    rows: list[tuple[str, str | None]] = [("fake", None), ("real", None)] * num_alone
    for number, (fakes, originals) in enumerate(sizes):
        rows += [("fake", f"p{number}")] * fakes + [("real", f"p{number}")] * originals
    order = np.random.default_rng(0).permutation(len(rows))
    labels, pairs = zip(*(rows[place] for place in order), strict=True)
    paths = [f"/{number}.png" for number in range(len(rows))]
    return table_from_columns({"path": paths, "label": labels, "pair": pairs})


def order(
    pairs: Pairs, seed: int = 0, epoch: int = 0, rank: int = 0, num_ranks: int = 1
) -> list[int]:
    sampler = EpochSampler(0, seed, rank, num_ranks, pairs=pairs)
    sampler.set_epoch(epoch)
    rows = list(sampler)
    assert len(rows) == len(sampler)
    return rows


def paired_fakes(rows: pa.Table) -> set[int]:
    """Return the rows of fakes whose original is in the table, counted one by one."""
    labels, names = rows["label"].to_pylist(), rows["pair"].to_pylist()
    known = {name for label, name in zip(labels, names, strict=True) if label == "real" and name}
    return {
        row
        for row, (label, name) in enumerate(zip(labels, names, strict=True))
        if label == "fake" and name in known
    }


@given(SIZES, st.integers(0, 3), st.integers(0, 3), st.integers(1, 4))
def test_each_fake_comes_once_in_a_batch_with_a_row_of_its_original(
    sizes: list[tuple[int, int]], num_alone: int, epoch: int, half: int
) -> None:
    if not any(fakes and originals for fakes, originals in sizes):
        sizes = [*sizes, (2, 1)]
    rows = table(sizes, num_alone)
    labels, names = rows["label"].to_pylist(), rows["pair"].to_pylist()
    sampler = EpochSampler(0, 1, pairs=Pairs.find(rows, TASK))
    sampler.set_epoch(epoch)
    batches = EpochBatches(sampler, 2 * half)
    found = list(batches)
    assert len(found) == len(batches)
    assert max(map(len, found)) == batches.largest <= 2 * half
    fakes = paired_fakes(rows)
    seen = Counter(row for batch in found for row in batch)
    assert set(seen) == set(range(rows.num_rows))
    assert all(seen[row] == 1 for row in fakes)
    for batch in found:
        assert len(batch) % 2 == 0
        for fake, beside in zip(batch[::2], batch[1::2], strict=True):
            if fake in fakes:
                assert (labels[beside], names[beside]) == ("real", names[fake])
    for given_ones in range(len(found) + 2):  # resumed in the middle of an epoch
        batches.start_from(given_ones)
        assert list(batches) == found[given_ones:]


def test_the_rows_of_an_original_take_turns() -> None:
    rows = table([(7, 3), (2, 5)], 1)
    kinds = list(zip(rows["label"].to_pylist(), rows["pair"].to_pylist(), strict=True))
    first, second = (
        [row for row, kind in enumerate(kinds) if kind == ("real", name)] for name in ("p0", "p1")
    )
    pairs, often = Pairs.find(rows, TASK), Counter[int]()
    for epoch in range(60):
        seen = Counter(order(pairs, epoch=epoch))
        assert sorted(seen[row] for row in first) == [2, 2, 3]
        assert sum(seen[row] for row in second) in (5, 6)  # one that is alone may come twice
        often.update(seen)
    assert [often[row] / 60 for row in first] == pytest.approx([7 / 3] * 3, abs=0.3)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    pairs = Pairs.find(table([(5, 3)] * 6, 4), TASK)
    assert order(pairs, 1, 2) == order(pairs, 1, 2)
    assert order(pairs, 1, 2) != order(pairs, 1, 3)
    assert order(pairs, 1, 2) != order(pairs, 2, 2)


@given(SIZES, st.integers(1, 5))
def test_ranks_get_equally_many_rows_and_no_pair_is_parted(
    sizes: list[tuple[int, int]], num_ranks: int
) -> None:
    rows = table([*sizes, (3, 2)], 1)
    pairs, fakes = Pairs.find(rows, TASK), paired_fakes(rows)
    names = rows["pair"].to_pylist()
    parts = [order(pairs, rank=rank, num_ranks=num_ranks) for rank in range(num_ranks)]
    assert len({len(part) for part in parts}) == 1
    assert {row for part in parts for row in part} == set(range(rows.num_rows))
    assert sum(map(len, parts)) - pairs.num_rows < 2 * num_ranks
    for part in parts:
        for fake, beside in zip(part[::2], part[1::2], strict=True):
            assert fake not in fakes or names[beside] == names[fake]


def test_what_has_no_pairs_is_refused() -> None:
    for rows in (table([(0, 3), (3, 0)], 2), table([], 3)):
        with pytest.raises(FaceproofError, match="no fake among the training images has its orig"):
            Pairs.find(rows, TASK)


def test_shards_and_batches_that_would_part_pairs_are_refused() -> None:
    pairs = Pairs.find(table([(2, 1)]), TASK)
    shards = Shards([None], np.zeros(3, np.int64))
    with pytest.raises(FaceproofError, match="takes images in files"):
        EpochSampler(3, 0, shards=shards, pairs=pairs)
    with pytest.raises(FaceproofError, match="a batch of 3 would part a fake from its original"):
        EpochBatches(EpochSampler(3, 0, pairs=pairs), 3)
