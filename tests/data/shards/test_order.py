"""The order of an epoch over shards: every row once, few shards at a time, the same on resuming."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from faceproof.audit import file_statistics
from faceproof.augment.transforms import Augment
from faceproof.data import DataSet
from faceproof.data.datasets import ImageDataset
from faceproof.data.image_io import read_file
from faceproof.data.samplers import EpochSampler
from faceproof.data.shards.order import BEGUN, Shards, fetching_as_they_come, find_shards
from faceproof.data.shards.paths import Member
from faceproof.data.shards.reading import MIXED
from faceproof.data.shards.store import ObjectStore, ShardError
from faceproof.data.table import concat_tables, select
from faceproof.models.detector import ImageInput
from faceproof.training.datamodule import ImageDataModule
from tests.small_shards import (
    assert_equal_batches,
    like,
    loader_of,
    read_shards,
    upload,
    wait_for,
)

ROWS = st.lists(st.integers(1, 9), min_size=1, max_size=40)


def of_sizes(sizes: list[int]) -> Shards:
    return Shards([f"/set/{n}.tar" for n in range(len(sizes))], np.repeat(range(len(sizes)), sizes))


@given(ROWS, st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_visits_every_row_once_and_few_shards_at_a_time(
    sizes: list[int], seed: int, epoch: int
) -> None:
    found = of_sizes(sizes)
    order = found.order(seed, epoch)
    assert sorted(order.tolist()) == list(range(sum(sizes)))
    assert np.array_equal(order, found.order(seed, epoch))
    visited = found.of_row[order]
    last = {shard: place for place, shard in enumerate(visited.tolist())}
    first = {shard: place for place, shard in reversed(list(enumerate(visited.tolist())))}
    for place in range(len(visited)):
        assert sum(first[shard] <= place <= last[shard] for shard in first) <= MIXED


def test_epochs_and_seeds_differ_and_neighbours_change() -> None:
    found = of_sizes([5] * 40)
    orders = {found.order(seed, epoch).tobytes() for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    windows = {frozenset(found.of_row[found.order(0, epoch)[:40]]) for epoch in range(4)}
    assert len(windows) == 4


@given(ROWS, st.integers(1, 3))
def test_ranks_get_equally_many_rows_and_together_all_of_them(sizes: list[int], ranks: int) -> None:
    num_rows, found = sum(sizes), of_sizes(sizes)
    samplers = [EpochSampler(num_rows, 1, rank, ranks, found) for rank in range(ranks)]
    parts = [list(sampler) for sampler in samplers]
    assert {len(part) for part in parts} == {len(samplers[0])}
    together = [row for part in parts for row in part]
    assert together[:num_rows] == found.order(1, 0).tolist()
    assert together[num_rows:] == together[: len(together) - num_rows]
    assert len(together) - num_rows < ranks
    samplers[0].start = 2
    assert list(samplers[0]) == parts[0][2:]
    assert list(samplers[0]) == parts[0]


def test_any_number_of_workers_and_a_stop_anywhere_give_the_same_batches(
    files: DataSet, written: Path
) -> None:
    data = read_shards(written)
    rows = select(data.table, "train")
    wanted = list(loader_of(rows, data))
    plain = ImageDataset(like(files.table, rows), data.task, 16, "bilinear")
    for batch in wanted:
        assert torch.equal(batch.image, plain.__getitems__(batch.row.tolist()).image)
    for workers in (0, 1, 2):
        loader = loader_of(rows, data, workers)
        loader.go_on_from(3)
        assert_equal_batches(list(loader), wanted[3:])
        assert_equal_batches(list(loader), wanted)


def test_files_and_shards_stand_in_one_table(files: DataSet, written: Path) -> None:
    data = read_shards(written)
    both = concat_tables([files.table, data.table])
    found = find_shards(both["path"])
    assert found is not None
    assert sorted(found.order(0, 0).tolist()) == list(range(both.num_rows))
    assert found.names[-1] is None
    assert (found.of_row[: files.table.num_rows] == len(found.names) - 1).all()
    assert file_statistics.file_statistics_of(both)["reason"].null_count == both.num_rows
    assert find_shards(files.table["path"]) is None


def test_a_limited_validation_sees_both_classes_of_files_and_shards(
    files: DataSet, written: Path
) -> None:
    data = read_shards(written)
    parts = [
        rows.filter(pc.equal(rows["label"].cast(pa.string()), label))
        for rows, label in ((files.table, "face"), (data.table, "non_face"))
    ]
    how = ImageInput(16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")
    modules = [
        ImageDataModule(concat_tables(parts), data.task, how, Augment(), seed=3) for _ in range(2)
    ]
    rows = modules[0].val_rows
    assert rows.equals(modules[1].val_rows)
    assert rows.num_rows == 12
    assert len(set(rows["label"].to_pylist()[:6])) == 2


def test_what_comes_next_is_fetched_meanwhile(
    written: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(written, f"{bucket}/set")
    found = find_shards(read_shards(f"{bucket}/set").table["path"])
    assert found is not None
    brought: list[str] = []
    monkeypatch.setattr("faceproof.data.shards.order._bring", brought.append)
    order = found.order(0, 0)
    rows = found.fetching_ahead(order)
    first = [next(rows) for _ in range(3)]
    visited = list(dict.fromkeys(found.of_row[order].tolist()))
    wait_for(lambda: len(brought) > MIXED)
    assert len(brought) <= 2 * MIXED  # no further ahead than need be
    assert [*first, *rows] == order.tolist()
    wait_for(lambda: len(brought) == len(visited))
    assert brought == [found.names[code] for code in visited]


def test_shards_are_on_this_machine_before_their_rows_are_read(
    written: Path, bucket: str, tmp_path: Path
) -> None:
    upload(written, f"{bucket}/set")
    found = find_shards(read_shards(f"{bucket}/set").table["path"])
    assert found is not None
    rows = found.fetching_ahead(found.order(0, 0))
    next(rows)  # no image is read
    wait_for(lambda: len(list((tmp_path / "cache" / "shards").glob("*.tar"))) > MIXED)
    assert len(list(rows)) == 55


def test_shards_are_fetched_before_paths_whose_order_nobody_knows_are_yielded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    brought: list[str] = []
    monkeypatch.setattr("faceproof.data.shards.order._bring", brought.append)
    monkeypatch.setattr("faceproof.data.shards.order.LOOKED_AT", 25)
    asked: list[str] = []

    def of_set(root: str) -> list[str]:
        return [Member(root, f"{n // 10}.tar", n, 1, n).path(f"{n}.jpg") for n in range(60)]

    def asked_one_by_one(paths: list[str]) -> Iterator[str]:
        for path in paths:
            asked.append(path)
            yield path

    plain = ["/a.jpg", "b.jpg", *of_set("/here")]
    in_store = of_set("s3://b/set")
    coming = fetching_as_they_come(asked_one_by_one([*plain, *in_store, *plain]))
    for path in plain:  # nothing is to be fetched, so nothing is held
        assert next(coming) == path == asked[-1]
    assert not brought
    assert next(coming) == in_store[0]
    assert len(asked) == len(plain) + 26
    wait_for(lambda: brought == [f"s3://b/set/{n}.tar" for n in range(3)])
    assert list(coming) == [*in_store[1:], *plain]
    wait_for(lambda: brought == [f"s3://b/set/{n}.tar" for n in range(6)])
    wait_for(lambda: not [one for one in threading.enumerate() if one.name == "shards"])


def test_no_more_small_shards_are_fetched_ahead_than_a_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    brought: list[str] = []
    monkeypatch.setattr("faceproof.data.shards.order._bring", brought.append)
    paths = [Member("s3://b/set", f"{n // 2}.tar", n, 1, n).path(f"{n}.jpg") for n in range(40)]
    coming = fetching_as_they_come(paths)
    assert next(coming) == paths[0]
    wait_for(lambda: len(brought) >= BEGUN + 1)
    assert len(brought) == BEGUN + 1
    assert list(coming) == paths[1:]
    wait_for(lambda: len(brought) == 20)


def test_an_image_does_not_wait_for_the_shards_that_come_after_its_own(
    written: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(written, f"{bucket}/set")
    paths = read_shards(f"{bucket}/set").table["path"].to_pylist()
    fetch, fetched, go = ObjectStore.fetch, [], threading.Event()

    def slow(store: ObjectStore, name: str, file: Path) -> None:
        if fetched:
            assert go.wait(60)
        fetch(store, name, file)
        fetched.append(name)

    monkeypatch.setattr(ObjectStore, "fetch", slow)
    coming = fetching_as_they_come(paths)
    read_file(next(coming))  # while the next shard is being fetched
    assert len(fetched) == 1
    go.set()
    for path in coming:
        read_file(path)
    assert len(fetched) == len(set(fetched))


def test_after_a_shard_that_cannot_be_fetched_no_more_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def gone(shard: str) -> None:
        asked.append(shard)
        raise ShardError("the store is gone")

    monkeypatch.setattr("faceproof.data.shards.order._bring", gone)
    found = Shards([f"s3://b/{n}.tar" for n in range(30)], np.repeat(np.arange(30), 2))
    rows = found.fetching_ahead(np.arange(60))
    assert next(rows) == 0
    (fetching,) = [one for one in threading.enumerate() if one.name == "shards"] or [None]
    assert fetching is None or fetching.daemon  # the process may end meanwhile
    wait_for(lambda: not [one for one in threading.enumerate() if one.name == "shards"])
    assert list(rows) == list(range(1, 60))
    assert len(asked) == 1
