"""An epoch drawn evenly over classes, sources and generators."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceproof.data.balance import Balance
from faceproof.data.samplers import EpochBatches, EpochSampler
from faceproof.data.shards.order import Shards
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError

# Label, source, generator and how many images: 240 together.
WORLD = [
    ("real", "a", None, 100), ("real", "b", None, 20), ("fake", "a", "gan", 60),
    ("fake", "a", "swap", 5), ("fake", "b", "gan", 55),
]  # fmt: skip


def table(world: list[tuple[str, str, str | None, int]]) -> pa.Table:
    kinds = [kind for *kind, number in world for _ in range(number)]
    kinds = [kinds[place] for place in np.random.default_rng(0).permutation(len(kinds))]
    labels, sources, generators = zip(*kinds, strict=True)
    paths = [f"/{number}.png" for number in range(len(kinds))]
    return table_from_columns(
        {"path": paths, "label": labels, "source": sources, "generator": generators}
    )


def kinds(rows: pa.Table) -> list[tuple[str | None, ...]]:
    columns = (rows[name].to_pylist() for name in ("label", "source", "generator"))
    return list(zip(*columns, strict=True))


def test_every_level_gets_its_share() -> None:
    rows = table(WORLD)
    order = Balance.find(rows).order(0, 0)
    assert len(order) == rows.num_rows == 240
    assert Counter(kinds(rows.take(order))) == {
        ("real", "a", None): 60, ("real", "b", None): 60, ("fake", "a", "gan"): 30,
        ("fake", "a", "swap"): 30, ("fake", "b", "gan"): 60,
    }  # fmt: skip


def test_a_source_with_twice_the_weight_comes_twice_as_often_within_its_class() -> None:
    rows = table(WORLD)
    found = Counter(kinds(rows.take(Balance.find(rows, {"b": 2}).order(0, 0))))
    assert found[("real", "b", None)] == found[("fake", "b", "gan")] == 80
    assert found[("real", "a", None)] == 40
    assert found[("fake", "a", "swap")] == found[("fake", "a", "gan")] == 20


@given(st.integers(0, 5), st.integers(1, 30))
def test_no_image_comes_again_before_all_of_its_group_did(seed: int, epochs: int) -> None:
    rows = table(WORLD)
    balance = Balance.find(rows)
    seen = Counter(row for epoch in range(epochs) for row in balance.order(seed, epoch).tolist())
    for group in balance.groups:
        often = [seen[row] for row in group.tolist()]
        assert max(often) - min(often) <= 1


def test_it_is_a_function_of_seed_and_epoch() -> None:
    balance = Balance.find(table(WORLD))
    first = balance.order(0, 3)
    balance.order(0, 4)
    assert np.array_equal(first, Balance.find(table(WORLD)).order(0, 3))
    assert not np.array_equal(first, balance.order(0, 4))
    assert not np.array_equal(first, balance.order(1, 3))


def sampler(rank: int = 0, num_ranks: int = 1) -> EpochSampler:
    rows = table(WORLD)
    made = EpochSampler(rows.num_rows, 7, rank, num_ranks, balance=Balance.find(rows))
    made.set_epoch(2)
    return made


def test_ranks_divide_one_order() -> None:
    whole = list(sampler())
    assert len(whole) == len(sampler()) == 240
    parts = [list(sampler(rank, 7)) for rank in range(7)]
    assert {len(part) for part in parts} == {len(sampler(0, 7))} == {35}
    together = [row for turn in zip(*parts, strict=True) for row in turn]
    assert together[:240] == whole


def test_a_resumed_epoch_goes_on_where_it_stopped() -> None:
    whole = [row for batch in EpochBatches(sampler(), 16) for row in batch]
    resumed = EpochBatches(sampler(), 16)
    resumed.start_from(5)
    assert [row for batch in resumed for row in batch] == whole[80:]


@given(st.lists(st.integers(1, 9), min_size=2, max_size=6), st.integers(0, 3))
def test_an_epoch_has_as_many_rows_as_the_table(sizes: list[int], epoch: int) -> None:
    world = [
        ("real" if place % 2 else "fake", f"s{place}", None, size * 10)
        for place, size in enumerate(sizes)
    ]
    rows = table(world)
    assert len(Balance.find(rows).order(0, epoch)) == rows.num_rows


def test_a_weight_of_a_source_that_is_not_there_is_refused() -> None:
    rows = table([("real", "faces", None, 3), ("fake", "faces", "gan", 3)])
    with pytest.raises(FaceproofError, match=r"did you mean loader\.source_weights\.faces\?"):
        Balance.find(rows, {"face": 2})


def test_a_weight_that_leaves_a_group_without_an_image_is_refused() -> None:
    with pytest.raises(FaceproofError, match="leaves no image of fake, b, gan"):
        Balance.find(table(WORLD), {"b": 0.001})


def test_shards_are_refused() -> None:
    rows = table(WORLD)
    shards = Shards([None], np.zeros(3, np.int64))
    with pytest.raises(FaceproofError, match="balanced takes images in files"):
        EpochSampler(240, 0, shards=shards, balance=Balance.find(rows))
