"""`faceproof shard`: what is written, left out and refused; training on it."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from faceproof.cli import main as cli
from faceproof.data import DataSet
from faceproof.data.image_io import read_file
from faceproof.data.shards.reading import INDEX
from faceproof.errors import FaceproofError
from faceproof.training.module import DetectorModule
from tests.conftest import write_faces
from tests.jobs import evaluate, train
from tests.small_shards import SMALL, like, list_files, names, read_shards, write

TINY = (
    "data=shards", "data.task=face", "model=face_cnn", "model.input.size=16", "trainer=cpu",
    "trainer.max_epochs=2", "loader.batch_size=8", "loader.num_workers=0", "logger=csv",
    "augment=colour", "checkpoint.minutes=null", "checkpoint.steps=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    return list_files(write_faces(tmp_path_factory.mktemp("files"), train=16, val=6, test=6))


@pytest.fixture(scope="module")
def written(files: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "set"
    write(files, str(folder), SMALL)
    return folder


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


def test_shards_are_written_again_from_shards(written: Path, tmp_path: Path) -> None:
    data = read_shards(written)
    write(data, str(tmp_path / "larger"), 1)
    again = read_shards(tmp_path / "larger")
    assert len(list((tmp_path / "larger").glob("*.tar"))) == 1
    assert sorted(names(again.table)) == sorted(names(data.table))


def test_a_writing_that_is_interrupted_leaves_nothing(
    files: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(path: str) -> bytes:
        if path.endswith("test/faces/3.jpg"):
            raise KeyboardInterrupt
        return read_file(path)

    monkeypatch.setattr("faceproof.data.image_io.read_file", stopped)
    with pytest.raises(KeyboardInterrupt):
        write(files, str(tmp_path / "set"), SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_changes_meanwhile_is_refused(
    files: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("faceproof.data.image_io.read_file", lambda path: read_file(path) + b"x")
    with pytest.raises(FaceproofError, match=r"\.jpg changed while it was written; begin again"):
        write(files, str(tmp_path / "set"), SMALL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("megabytes", [0, -1, 4001, float("nan")])
def test_sizes_that_cannot_be(files: DataSet, tmp_path: Path, megabytes: float) -> None:
    with pytest.raises(FaceproofError, match="a shard has more than 0 and at most 4000"):
        write(files, str(tmp_path / "set"), megabytes)
