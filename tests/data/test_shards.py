"""Shards: the bytes of the files, an order that touches few of them, and refusals."""

import errno
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from faceproof.audit import file_statistics
from faceproof.audit.audit import audit_data
from faceproof.augment.corruptions import neutral_corruption
from faceproof.augment.transforms import Augment
from faceproof.cli import main as cli
from faceproof.data import DataSet, folder_data
from faceproof.data.datasets import ImageDataset
from faceproof.data.image_io import UnreadableImageError, read_file
from faceproof.data.listing import shard_data
from faceproof.data.loaders import ResumableLoader, make_loader
from faceproof.data.samplers import EpochSampler
from faceproof.data.shards import reading as shards
from faceproof.data.shards import store as shard_store
from faceproof.data.shards.order import Shards, find_shards
from faceproof.data.shards.reading import INDEX, MIXED, find_member
from faceproof.data.shards.store import VARIABLE, ObjectStore, ShardError
from faceproof.data.shards.writing import write_shards
from faceproof.data.table import SCHEMA, concat_tables, select
from faceproof.errors import FaceproofError
from faceproof.evaluation.scoring import score
from faceproof.io.atomic import CannotWriteError
from faceproof.models.backbones import face_cnn_backbone
from faceproof.models.detector import Detector, ImageInput
from faceproof.models.heads import HiddenHead
from faceproof.training.datamodule import ImageDataModule
from faceproof.training.module import DetectorModule
from tests.conftest import write_faces
from tests.jobs import evaluate, train

pytest.importorskip("litdata")

TINY = (
    "data=shards", "data.task=face", "model=face_cnn", "model.input.size=16", "trainer=cpu",
    "trainer.max_epochs=2", "loader.batch_size=8", "loader.num_workers=0", "logger=csv",
    "augment=colour", "checkpoint.minutes=null", "checkpoint.steps=1",
)  # fmt: skip
SMALL = 0.006  # megabytes: about four images a shard
LABELS = {"faces": "face", "non-faces": "non_face"}


def list_files(root: Path) -> DataSet:
    splits = {name: name for name in ("train", "val", "test")}
    return folder_data("small", "face", str(root), "{split}/{label}/*", LABELS, splits)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    root = write_faces(tmp_path_factory.mktemp("shards"), train=16, val=6, test=6)
    return list_files(root)


@pytest.fixture(scope="module")
def written(files: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "set"
    write_shards(files, str(folder), SMALL)
    return folder


@pytest.fixture
def copied(written: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may spoil."""
    shutil.copytree(written, tmp_path / "set")
    return tmp_path / "set"


def read_shards(root: Path | str) -> DataSet:
    return shard_data("shards", "face", str(root))


def names(rows: pa.Table) -> list[str]:
    """Return what images are called in both: the last parts of their paths."""
    return ["/".join(path.split("/")[-3:]) for path in rows["path"].to_pylist()]


def like(table: pa.Table, rows: pa.Table) -> pa.Table:
    """Return the rows of a table that has the same images, in the order of others."""
    return table.take(pc.index_in(pa.array(names(rows)), pa.array(names(table))))


def test_every_image_is_there_with_its_bytes_and_its_columns(files: DataSet, written: Path) -> None:
    data = read_shards(written)
    plain = like(files.table, data.table)
    assert data.table.num_rows == files.table.num_rows == len(set(names(data.table)))
    for column in SCHEMA.names[1:]:
        assert data.table[column].to_pylist() == plain[column].to_pylist()
    for ours, theirs in zip(data.table["path"].to_pylist(), plain["path"].to_pylist(), strict=True):
        assert read_file(ours) == Path(theirs).read_bytes()


def test_splits_lie_apart_and_classes_lie_mixed(written: Path) -> None:
    data = read_shards(written)
    assert data.table["split"].to_pylist() == ["train"] * 32 + ["val"] * 12 + ["test"] * 12
    labels = select(data.table, "train")["label"].to_pylist()
    assert sum(a != b for a, b in pairwise(labels)) > 8


def test_the_same_images_give_the_same_shards_and_litdata_reads_them(
    files: DataSet, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shards(files, str(tmp_path / "again"), SMALL)
    shard_names = sorted(file.name for file in written.glob("*.bin"))
    assert len(shard_names) > MIXED
    for name in [*shard_names, "samples.parquet", "facts.parquet"]:
        assert (tmp_path / "again" / name).read_bytes() == (written / name).read_bytes()
    monkeypatch.setattr("litdata.streaming.dataset._check_version_and_prompt_upgrade", print)
    from litdata import StreamingDataset

    theirs = StreamingDataset(str(written))
    paths = read_shards(written).table["path"].to_pylist()
    assert [theirs[row] for row in range(len(theirs))] == [read_file(path) for path in paths]


def test_what_the_audit_needs_is_known_without_looking(
    files: DataSet, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = read_shards(written)
    wanted = file_statistics.file_statistics_of(like(files.table, data.table))
    monkeypatch.setattr(file_statistics, "statistics_of_file", None)
    monkeypatch.setattr(shards, "read_member", None)
    found = file_statistics.file_statistics_of(data.table)
    assert found["path"].to_pylist() == data.table["path"].to_pylist()
    for column in set(found.column_names) - {"path", "mtime_ns"}:
        assert found[column].to_pylist() == wanted[column].to_pylist()
    some = data.table.take([5, 3])
    assert file_statistics.file_statistics_of(some)["content"].to_pylist() == [
        wanted["content"][row].as_py() for row in (5, 3)
    ]
    plain = replace(files, table=like(files.table, data.table))
    ours, theirs = audit_data(data, found), audit_data(plain, wanted)
    assert (ours.findings, ours.balance) == (theirs.findings, theirs.balance)


def test_facts_of_another_version_are_taken_from_the_shards(
    copied: Path, files: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    rewrite(copied, facts_format=0)
    data = read_shards(copied)
    wanted = file_statistics.file_statistics_of(like(files.table, data.table))
    for _ in range(2):
        found = file_statistics.file_statistics_of(data.table)
        for column in ("content", "size", "suffix", "sharpness"):
            assert found[column].to_pylist() == wanted[column].to_pylist()
        monkeypatch.setattr(file_statistics, "statistics_of_file", None)  # remembered


def rewrite(root: Path, **facts_of_it: object) -> None:
    index = json.loads((root / INDEX).read_text())
    (root / INDEX).write_text(json.dumps(index | facts_of_it))


def test_scores_are_those_of_the_files_bit_for_bit(files: DataSet, written: Path) -> None:
    torch.manual_seed(0)
    how = ImageInput(16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")
    net = Detector(face_cnn_backbone(16), lambda n: HiddenHead(n, 4), how)
    rows = read_shards(written).table
    for condition in (None, neutral_corruption("jpeg")):
        found = [
            score(net, table, files.task, 8, 0, "cpu", condition)
            for table in (rows, like(files.table, rows))
        ]
        assert np.array_equal(*found)


ROWS = st.lists(st.integers(1, 9), min_size=1, max_size=40)


def of_sizes(sizes: list[int]) -> Shards:
    return Shards([f"/set/{n}.bin" for n in range(len(sizes))], np.repeat(range(len(sizes)), sizes))


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


def loader_of(rows: pa.Table, data: DataSet, workers: int = 0, seed: int = 3) -> ResumableLoader:
    sampler = EpochSampler(rows.num_rows, seed, shards=find_shards(rows["path"]))
    loader = make_loader(ImageDataset(rows, data.task, 16, "bilinear"), 5, workers, sampler)
    assert isinstance(loader, ResumableLoader)
    return loader


def assert_equal_batches(found: list[object], wanted: list[object]) -> None:
    for batch, expected in zip(found, wanted, strict=True):
        for one, other in zip(batch, expected, strict=True):  # type: ignore[call-overload]
            assert torch.equal(one, other)


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


def test_a_run_on_shards_goes_on_exactly_and_is_evaluated_like_one_on_files(
    files: DataSet, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*TINY, f"data.root={written}")
    whole = train(tmp_path / "whole", *words)
    with monkeypatch.context() as patched:
        original, steps = DetectorModule.training_step, iter(range(100))

        def training_step(self: DetectorModule, *given: object) -> object:
            if next(steps) == 6:  # the third of the second epoch
                raise KeyError("crash")
            return original(self, *given)  # type: ignore[arg-type]

        patched.setattr(DetectorModule, "training_step", training_step)
        with pytest.raises(KeyError, match="crash"):
            train(tmp_path / "run", *words)
    resumed = train(tmp_path / "run", f"resume={tmp_path / 'run'}", "loader.num_workers=1")
    first, second = (
        torch.load(run.last, weights_only=True)["state_dict"] for run in (whole, resumed)
    )
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    root = Path(files.table["path"][0].as_py()).parents[2]
    few = ("loader.num_workers=0",)
    on_shards = evaluate(whole.path, *few)
    on_files = evaluate(whole.path, *few, "data=face_or_not", f"data.root={root}", "name=files")
    ours, theirs = (
        pa.parquet.read_table(place / "predictions.parquet") for place in (on_shards, on_files)
    )
    for column in ("label", "logit", "probability"):
        assert ours[column].to_pylist() == like(theirs, ours)[column].to_pylist()


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


def test_paths_are_spelt_as_members_are(written: Path) -> None:
    stored = pa.parquet.read_table(written / "samples.parquet")
    places = zip(*(stored[name].to_pylist() for name in shards.PLACE), strict=True)
    wanted = [
        shards.Member(written.as_posix(), *place).path(name)
        for name, place in zip(stored["path"].to_pylist(), places, strict=True)
    ]
    spelt = shards._paths(
        written.as_posix(), pa.concat_tables([stored.slice(0, 5), stored.slice(5)])
    )
    assert spelt.to_pylist() == wanted
    assert shards._paths("s3://b/s", stored.slice(0, 0)).to_pylist() == []


def test_facts_in_shards_are_read_once_and_not_remembered(
    files: DataSet, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path))
    data, asked = read_shards(written), []
    original = shards.ShardSet.file_statistics
    monkeypatch.setattr(
        shards.ShardSet, "facts", lambda of, version: asked.append(1) or original(of, version)
    )
    words = pa.array([f"source {row % 3}" for row in range(data.table.num_rows)])
    column = data.table.column_names.index("source")
    table = data.table.set_column(column, "source", words.dictionary_encode())
    files_too = concat_tables([table, files.table])
    found = file_statistics.file_statistics_of(files_too)
    assert found["path"].to_pylist() == files_too["path"].to_pylist()
    assert len(asked) == 1
    (memory,) = (tmp_path / "facts-1").iterdir()
    remembered = pa.parquet.read_table(memory)["path"].to_pylist()
    assert sorted(remembered) == sorted(files.table["path"].to_pylist())


def test_shards_out_of_reach_are_not_remembered_as_unreadable(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    rewrite(copied, facts_format=0)
    shards.shard_set.cache_clear()
    data = read_shards(copied)
    away = tmp_path / "away"
    (copied / "chunk-0-1.bin").rename(away)
    assert file_statistics.file_statistics_of(data.table)["reason"].drop_null()
    away.rename(copied / "chunk-0-1.bin")
    assert (
        file_statistics.file_statistics_of(data.table)["reason"].null_count == data.table.num_rows
    )


def test_unreadable_files_are_left_out_named_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_faces(tmp_path, train=2, val=2, test=2)
    bad = root / "train" / "faces" / "bad.jpg"
    bad.write_bytes(b"no image")
    words = ["shard", "--to", str(tmp_path / "set"), "data=face_or_not", f"data.root={root}"]
    assert cli.main(words) == 2
    assert "more than data.max_unreadable = 1.0%" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
    assert cli.main([*words, "data.max_unreadable=0.5"]) == 0
    said = capsys.readouterr().out
    assert "face_or_not: 12 images in 1 shards" in said
    assert f"left out: {bad} (no image format that can be read)" in said
    assert f"data=shards data.root={tmp_path / 'set'} data.task=face" in said
    assert str(bad) in (tmp_path / "set" / "unreadable.csv").read_text()
    assert json.loads((tmp_path / "set" / INDEX).read_text())["unreadable"] == 1
    assert read_shards(tmp_path / "set").table.num_rows == 12


def test_names_keep_no_folder_that_all_share_and_what_conditions_are_drawn_by(
    files: DataSet, written: Path
) -> None:
    stored = pa.parquet.read_table(written / "samples.parquet")["path"].to_pylist()
    assert all(name.count("/") == 2 for name in stored)
    assert sorted(stored) == sorted(names(files.table))


def test_shards_are_written_again_from_shards(written: Path, tmp_path: Path) -> None:
    data = read_shards(written)
    write_shards(data, str(tmp_path / "larger"), 1)
    again = read_shards(tmp_path / "larger")
    assert len(list((tmp_path / "larger").glob("*.bin"))) == 1
    assert sorted(names(again.table)) == sorted(names(data.table))


def test_a_writing_that_is_interrupted_leaves_nothing(
    files: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(path: str) -> bytes:
        if path.endswith("test/faces/3.jpg"):
            raise KeyboardInterrupt
        return read_file(path)

    monkeypatch.setattr("faceproof.data.shards.writing.read_file", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_shards(files, str(tmp_path / "set"), SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_changes_meanwhile_is_refused(
    files: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "faceproof.data.shards.writing.read_file", lambda path: read_file(path) + b"x"
    )
    with pytest.raises(FaceproofError, match=r"\.jpg changed while it was written; begin again"):
        write_shards(files, str(tmp_path / "set"), SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("megabytes", [0, -1, 4001, float("nan")])
def test_sizes_that_cannot_be(files: DataSet, tmp_path: Path, megabytes: float) -> None:
    with pytest.raises(FaceproofError, match="a shard has more than 0 and at most 4000"):
        write_shards(files, str(tmp_path / "set"), megabytes)


def test_a_target_in_use_is_refused(files: DataSet, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("mine")
    for target in (tmp_path / "set", tmp_path / "set" / "mine.txt"):
        with pytest.raises(FaceproofError, match="holds something already"):
            write_shards(files, str(target), SMALL)
    assert (tmp_path / "set" / "mine.txt").read_text() == "mine"


def test_without_the_extra_the_message_names_it(
    files: DataSet, written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "litdata", None)
    for call in (
        lambda: write_shards(files, str(tmp_path / "set")),
        lambda: read_shards("s3://nobody/set"),
    ):
        with pytest.raises(FaceproofError, match=r"pip install 'faceproof\[shards\]'"):
            call()
    shards.shard_set.cache_clear()
    read_file(read_shards(written).table["path"][0].as_py())  # a folder needs nothing


@pytest.mark.parametrize("root", ["s3://bucket", "s3:///folder", "ftp://host/folder", "s3://b/"])
def test_places_that_are_none(files: DataSet, root: str) -> None:
    for call in (lambda: read_shards(root), lambda: write_shards(files, root)):
        with pytest.raises(FaceproofError, match="is no place for shards"):
            call()


def refusal(root: Path | str, task: str = "face") -> str:
    shards.shard_set.cache_clear()
    with pytest.raises(FaceproofError) as raised:
        shard_data("shards", task, str(root))
    return str(raised.value)


def test_shards_that_cannot_be_used_say_why(copied: Path, tmp_path: Path) -> None:
    assert f"{tmp_path} holds no shards: shards.json is not there" in refusal(tmp_path)
    assert "are of task face; say data.task=face" in refusal(copied, "deepfake")
    rewrite(copied, format=2)
    assert "are of format 2, and this version reads format 1" in refusal(copied)
    (copied / INDEX).write_text("{")
    assert "shards.json cannot be read" in refusal(copied)


def test_damage_is_named(copied: Path) -> None:
    shard = copied / "chunk-0-1.bin"
    whole = shard.read_bytes()
    data = read_shards(copied)
    path = next(path for path in data.table["path"].to_pylist() if "chunk-0-1.bin@" in path)
    member = find_member(path)
    assert member is not None
    shard.write_bytes(whole[: member.offset] + b"\0" + whole[member.offset + 1 :])
    with pytest.raises(UnreadableImageError, match=r"chunk-0-1\.bin is damaged: the .* bytes"):
        read_file(path)
    shard.write_bytes(whole[:-1])
    assert f"{shard} is damaged: it has {len(whole) - 1:,} bytes" in refusal(copied)
    shard.unlink()
    assert f"{shard} is not there; bring it back" in refusal(copied)
    with pytest.raises(UnreadableImageError, match="is not there; bring it back"):
        read_file(path)
    shard.write_bytes(whole)
    samples = copied / "samples.parquet"
    samples.write_bytes(samples.read_bytes()[:-1] + b"\0")
    assert "samples.parquet is damaged" in refusal(copied)


def test_a_shard_spoiled_in_mid_run_ends_it_with_one_message(copied: Path) -> None:
    data = read_shards(copied)
    shards.shard_set.cache_clear()
    shard = copied / "chunk-0-2.bin"
    shard.write_bytes(shard.read_bytes()[:100])
    for workers in (0, 1):
        with pytest.raises(FaceproofError, match=r"no longer can: .*chunk-0-2\.bin is damaged"):
            list(make_loader(ImageDataset(data.table, data.task, 16, "bilinear"), 4, workers))
        shards.shard_set.cache_clear()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Run a store like Amazon's on this machine."""
    moto = pytest.importorskip("moto.server")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the URL of a bucket of its own, and forget what is known of stores."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FACEPROOF_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    forget()
    name = f"bucket{os.urandom(6).hex()}"
    boto3.client("s3").create_bucket(Bucket=name)
    yield f"s3://{name}"
    forget()


def forget() -> None:
    shard_store._provider.cache_clear()
    shards.shard_set.cache_clear()


def upload(folder: Path, root: str) -> None:
    for file in folder.iterdir():
        ObjectStore(root).put(file)


def test_an_object_store_gives_the_same_batches(
    files: DataSet, written: Path, bucket: str, tmp_path: Path
) -> None:
    write_shards(files, f"{bucket}/some/set", SMALL)
    with pytest.raises(FaceproofError, match="holds something already"):
        write_shards(files, f"{bucket}/some/set", SMALL)
    there, here = read_shards(f"{bucket}/some/set"), read_shards(written)
    assert names(there.table) == names(here.table)
    assert file_statistics.file_statistics_of(there.table)["content"].equals(
        file_statistics.file_statistics_of(here.table)["content"]
    )
    kept = tmp_path / "cache" / "shards"
    assert not list(kept.glob("*.bin"))  # nothing was fetched to know all that
    rows, wanted = (select(data.table, "train") for data in (there, here))
    for workers in (0, 2):
        found = list(loader_of(rows, there, workers))
        assert_equal_batches(found, list(loader_of(wanted, here)))
    in_order = make_loader(ImageDataset(there.table, there.task, 16, "bilinear"), 9, 1)
    assert torch.cat([batch.row for batch in in_order]).tolist() == list(range(56))
    assert {file.name.partition("-")[2] for file in kept.glob("*.bin")} == {
        file.name for file in written.glob("*.bin")
    }
    assert not list(kept.glob("*partial*"))


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
    wait_for(lambda: len(list((tmp_path / "cache" / "shards").glob("*.bin"))) > MIXED)
    assert len(list(rows)) == 55


def test_a_damaged_copy_of_an_object_is_fetched_again(
    written: Path, bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    upload(written, f"{bucket}/set")
    there, here = read_shards(f"{bucket}/set"), read_shards(written)
    path, plain = (str(data.table["path"][0]) for data in (there, here))
    whole = read_file(path)
    for damage in (lambda file: file.write_bytes(b""), lambda file: os.truncate(file, 10)):
        for file in (tmp_path / "cache" / "shards").glob("*"):
            if file.suffix in (".bin", ".parquet"):
                damage(file)
        shards.shard_set.cache_clear()
        caplog.clear()
        assert read_file(path) == whole == read_file(plain)
        assert read_shards(f"{bucket}/set").table.num_rows == 56
        assert caplog.text.count("on this machine is damaged; fetched again") == 2


def test_after_a_shard_that_cannot_be_fetched_no_more_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def gone(shard: str) -> None:
        asked.append(shard)
        raise ShardError("the store is gone")

    monkeypatch.setattr("faceproof.data.shards.order._bring", gone)
    found = Shards([f"s3://b/{n}.bin" for n in range(30)], np.repeat(np.arange(30), 2))
    rows = found.fetching_ahead(np.arange(60))
    assert next(rows) == 0
    (fetching,) = [one for one in threading.enumerate() if one.name == "shards"] or [None]
    assert fetching is None or fetching.daemon  # the process may end meanwhile
    wait_for(lambda: not [one for one in threading.enumerate() if one.name == "shards"])
    assert list(rows) == list(range(1, 60))
    assert len(asked) == 1


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_cache_stays_within_its_limit(
    written: Path,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    upload(written, f"{bucket}/set")
    limit = 60_000
    monkeypatch.setenv(VARIABLE, str(limit / 1e9))
    kept = tmp_path / "cache" / "shards"
    data = read_shards(f"{bucket}/set")
    assert "FACEPROOF_SHARDS_GB = 6e-05 holds fewer than the 16 shards" in caplog.text
    total = sum(file.stat().st_size for file in written.glob("*.bin"))
    assert total > limit
    for _ in range(2):
        for path in data.table["path"].to_pylist():
            read_file(path)
            assert sum(file.stat().st_size for file in kept.iterdir()) <= limit
    monkeypatch.setenv(VARIABLE, "1e-6")
    forget()
    with pytest.raises(FaceproofError, match=r"FACEPROOF_SHARDS_GB allows 1e-06; raise it"):
        read_shards(f"{bucket}/set")
    monkeypatch.setenv(VARIABLE, "much")
    with pytest.raises(FaceproofError, match="must be a number of gigabytes above 0"):
        shard_store.max_bytes()


def test_the_cache_touches_nothing_but_its_own(
    written: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(written, f"{bucket}/set")
    monkeypatch.setenv(VARIABLE, str(60_000 / 1e9))
    monkeypatch.setenv(shard_store.PLACE, str(tmp_path / "mine"))
    ours = tmp_path / "mine" / "faceproof-shards"
    (ours / "letters").mkdir(parents=True)
    foreign = [
        tmp_path / "mine" / "thesis.txt", tmp_path / "mine" / "thesis.partial-1",
        ours / "thesis.txt", ours / "thesis.partial-1", ours / "letters" / "first.txt",
    ]  # fmt: skip
    for file in foreign:
        file.write_bytes(bytes(100_000))

    def refused(*given: object) -> None:
        raise PermissionError(errno.EPERM, "another user's")

    monkeypatch.setattr("faceproof.data.shards.store.os.utime", refused)
    for _ in range(2):
        for path in read_shards(f"{bucket}/set").table["path"].to_pylist():
            read_file(path)
        forget()
    assert all(file.stat().st_size == 100_000 for file in foreign)
    assert len(list(ours.glob("*.bin"))) > 1


def test_a_full_disk_is_no_trouble_of_the_store(
    files: DataSet, written: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(written, f"{bucket}/set")
    data = read_shards(f"{bucket}/set")

    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr("litdata.streaming.fs_provider.S3FsProvider.download_file", full)
        for workers in (0, 1):
            with pytest.raises(CannotWriteError, match="could not be written: the disk is") as told:
                list(make_loader(ImageDataset(data.table, data.task, 16, "bilinear"), 4, workers))
            assert "Traceback" not in str(told.value)
    monkeypatch.setattr("litdata.streaming.writer.BinaryWriter.add_item", full)
    with pytest.raises(CannotWriteError, match=r"faceproof-shards could not .*: the disk is full"):
        write_shards(files, f"{bucket}/new", SMALL)


def test_a_damaged_or_missing_object_is_named_and_not_kept(
    copied: Path, bucket: str, tmp_path: Path
) -> None:
    shard = copied / "chunk-0-0.bin"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\0")
    (copied / "chunk-0-1.bin").unlink()
    upload(copied, f"{bucket}/set")
    data = read_shards(f"{bucket}/set")
    paths = data.table["path"].to_pylist()
    with pytest.raises(UnreadableImageError, match=r"chunk-0-0\.bin is damaged"):
        read_file(paths[0])
    missing = next(path for path in paths if "chunk-0-1.bin@" in path)
    with pytest.raises(UnreadableImageError, match=r"chunk-0-1\.bin cannot be fetched: .*404"):
        read_file(missing)
    kept = tmp_path / "cache" / "shards"
    assert not [file for file in kept.iterdir() if "chunk" in file.name]


def test_a_store_without_shards_or_that_is_gone_says_so(
    files: DataSet, written: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"{bucket}/nothing holds no shards" in refusal(f"{bucket}/nothing")
    upload(written, f"{bucket}/set")
    path = read_shards(f"{bucket}/set").table["path"][0].as_py()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.setattr(shard_store, "ATTEMPTS", 1)
    shard_store._provider.cache_clear()
    with pytest.raises(UnreadableImageError, match=r"cannot be fetched: .*127\.0\.0\.1:9"):
        read_file(path)
    for call in (
        lambda: read_shards(f"{bucket}/other"),
        lambda: write_shards(files, f"{bucket}/new"),
    ):
        with pytest.raises(ShardError, match="check the URL, the credentials and AWS_ENDPOINT"):
            call()
