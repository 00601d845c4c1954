"""The rows of pseudo-fakes: what they say of themselves, and their share of every batch."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceproof.data.balance import Balance
from faceproof.data.pairs import Pairs
from faceproof.data.samplers import EpochBatches, EpochSampler
from faceproof.data.shards.order import Shards
from faceproof.data.synthesised import Synthesised, with_synthesised
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.task import TASKS

TASK = TASKS["deepfake"]
KINDS = ("self_blended", "reconstructed")
NUM_GIVEN = 60


def table() -> pa.Table:
    """Return real images of two sources, 30 and 6, and fakes of one, 24; some are in pairs."""
    kinds = [("real", "a", None)] * 30 + [("real", "b", None)] * 6 + [("fake", "a", "gan")] * 24
    labels, sources, generators = zip(*kinds, strict=True)
    return table_from_columns(
        {
            "path": [f"/{number}.png" for number in range(NUM_GIVEN)],
            "label": labels, "source": sources, "generator": generators,
            "split": ["train"] * NUM_GIVEN,
            "pair": [f"p{number % 30}" if number % 2 else None for number in range(NUM_GIVEN)],
        }
    )  # fmt: skip


def made(
    share: float = 0.5, kinds: tuple[str, ...] = KINDS, weights: dict[str, float] | None = None
) -> tuple[pa.Table, Synthesised]:
    return with_synthesised(table(), TASK, kinds, NUM_GIVEN, share, weights)


def test_rows_say_what_they_are_of() -> None:
    rows, found = made()
    assert rows.num_rows == NUM_GIVEN + 2 * 36 * 2
    assert rows.slice(0, NUM_GIVEN).to_pydict() == table().to_pydict()
    columns = rows.to_pydict()
    for row in range(NUM_GIVEN):
        assert found.find(row) is None
    for row in range(NUM_GIVEN, rows.num_rows):
        one = found.find(row)
        assert one is not None
        assert columns["path"][row] == columns["path"][one.real]  # the first 36 rows are real
        assert columns["source"][row] == columns["source"][one.real]
        assert columns["label"][row] == ("fake" if one.is_fake else "real")
        assert columns["generator"][row] == (one.kind if one.is_fake else None)
        assert columns["pair"][row] == f"{one.kind}:{one.real}"
    for fake, beside in found.order(0, 0).tolist():
        assert columns["pair"][fake] == columns["pair"][beside]
        assert (columns["label"][fake], columns["label"][beside]) == ("fake", "real")


@given(
    st.sampled_from([0.1, 0.25, 0.5, 0.8, 1.0]),
    st.sampled_from(["shuffled", "paired", "balanced"]),
    st.integers(1, 4), st.integers(1, 6), st.integers(0, 3),
)  # fmt: skip
def test_every_batch_of_every_rank_has_its_share(
    share: float, order: str, num_ranks: int, half: int, epoch: int
) -> None:
    given_rows = table()
    pairs = Pairs.find(given_rows, TASK) if order == "paired" else None
    balance = Balance.find(given_rows) if order == "balanced" else None
    drawn = NUM_GIVEN if pairs is None else pairs.num_rows
    rows, found = with_synthesised(given_rows, TASK, KINDS, drawn, share, None)
    names, labels = rows["pair"].to_pylist(), rows["label"].to_pylist()
    all_ranks = []
    for rank in range(num_ranks):
        sampler = EpochSampler(NUM_GIVEN, 5, rank, num_ranks, None, pairs, balance, found)
        sampler.set_epoch(epoch)
        batches = EpochBatches(sampler, 2 * half)
        each = list(batches)
        assert len(each) == len(batches)
        for batch in each:
            twos = np.reshape(batch, (-1, 2))
            made_here = twos[twos[:, 0] >= NUM_GIVEN]
            assert abs(len(made_here) - share * len(twos)) <= 1.5
            for fake, beside in made_here.tolist():
                assert (labels[fake], labels[beside]) == ("fake", "real")
                assert names[fake] == names[beside]
        for number in range(len(each) + 2):  # resumed in the middle of an epoch
            batches.start_from(number)
            assert list(batches) == each[number:]
        all_ranks.append([row for batch in each for row in batch])
    assert len({len(rows) for rows in all_ranks}) == 1
    seen = Counter(row for rows in all_ranks for row in rows)
    if order != "balanced" and share < 1:
        assert set(range(NUM_GIVEN)) <= set(seen)
    assert sum(seen.values()) == pytest.approx(
        drawn / (1 - share) if share < 1 else 72, abs=4 * num_ranks + 2
    )


def test_real_images_and_kinds_come_equally_often() -> None:
    _, found = made(share=0.2)
    assert found.num_pairs == 8  # of 60 + 16 images
    often = Counter(
        found.find(row)[:3:2]  # type: ignore[index]
        for epoch in range(18)
        for row in found.order(0, epoch)[:, 0].tolist()
    )
    assert set(often.values()) == {2}  # 18 times 8 of 72
    assert len(often) == 72


def test_with_weights_they_come_evenly_over_the_sources() -> None:
    for weights, share in (({}, 1 / 2), ({"a": 3.0, "unknown": 2.0}, 1 / 4)):
        rows, found = made(weights=weights)
        sources = rows["source"].to_pylist()
        drawn = [sources[row] for row in found.order(0, 0)[:, 0].tolist()]
        assert drawn.count("b") / len(drawn) == pytest.approx(share, abs=0.05)


def test_alone_each_real_image_comes_once_with_its_pseudo_fake() -> None:
    rows, found = made(share=1, kinds=("self_blended",))
    order = list(EpochSampler(NUM_GIVEN, 0, synthesised=found))
    assert sorted(order) == list(range(NUM_GIVEN, rows.num_rows))


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(FaceproofError, match="and the task is face: leave it out"):
        with_synthesised(table(), TASKS["face"], KINDS, 60, 0.5, None)
    with pytest.raises(FaceproofError, match="no training image is real"):
        with_synthesised(table().slice(36), TASK, KINDS, 24, 0.5, None)
    with pytest.raises(FaceproofError, match="is less than one pseudo-fake"):
        made(share=0.01)
    shards = Shards([None], np.zeros(NUM_GIVEN, np.int64))
    with pytest.raises(FaceproofError, match="synthesis takes images in files"):
        EpochSampler(NUM_GIVEN, 0, shards=shards, synthesised=made()[1])
