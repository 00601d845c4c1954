"""A small set of face images in files and in shards, and what the tests of shards share."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
import pytest
import torch

from faceproof.data import DataSet
from faceproof.data.datasets import ImageDataset
from faceproof.data.listing import FolderData, ShardData
from faceproof.data.loaders import ResumableLoader, make_loader
from faceproof.data.samplers import EpochSampler
from faceproof.data.shards import store
from faceproof.data.shards.order import find_shards
from faceproof.data.shards.reading import INDEX, shard_set
from faceproof.data.shards.store import ObjectStore
from faceproof.errors import FaceproofError
from faceproof.workflows.shard import ShardConfig, Written, write_shards

SMALL = 0.006  # megabytes: about four images a shard


LABELS = {"faces": "face", "non-faces": "non_face"}


def list_files(root: Path) -> DataSet:
    splits = {name: name for name in ("train", "val", "test")}
    return FolderData("small", "face", str(root), "{split}/{label}/*", LABELS, splits).list()


def read_shards(root: Path | str) -> DataSet:
    return ShardData("shards", "face", str(root)).list()


def names(rows: pa.Table) -> list[str]:
    """Return what images are called in both: the last parts of their paths."""
    return ["/".join(path.split("/")[-3:]) for path in rows["path"].to_pylist()]


def like(table: pa.Table, rows: pa.Table) -> pa.Table:
    """Return the rows of a table that has the same images, in the order of others."""
    return table.take(pc.index_in(pa.array(names(rows)), pa.array(names(table))))


def rewrite(root: Path, **facts_of_it: object) -> None:
    index = json.loads((root / INDEX).read_text())
    (root / INDEX).write_text(json.dumps(index | facts_of_it))


def loader_of(rows: pa.Table, data: DataSet, workers: int = 0, seed: int = 3) -> ResumableLoader:
    sampler = EpochSampler(rows.num_rows, seed, shards=find_shards(rows["path"]))
    loader = make_loader(ImageDataset(rows, data.task, 16, "bilinear"), 5, workers, sampler)
    assert isinstance(loader, ResumableLoader)
    return loader


def assert_equal_batches(found: list[object], wanted: list[object]) -> None:
    for batch, expected in zip(found, wanted, strict=True):
        for one, other in zip(batch, expected, strict=True):  # type: ignore[call-overload]
            assert torch.equal(one, other)


def refusal(root: Path | str, task: str = "face") -> str:
    shard_set.cache_clear()
    with pytest.raises(FaceproofError) as raised:
        ShardData("shards", task, str(root)).list()
    return str(raised.value)


def forget() -> None:
    store._connect.cache_clear()
    shard_set.cache_clear()


def upload(folder: Path, root: str) -> None:
    for file in folder.iterdir():
        ObjectStore(root).put(file)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def write(data: DataSet, to: str, megabytes: float = 64.0) -> Written:
    return write_shards(data, ShardConfig((), to=to, megabytes=megabytes))
