"""Runs from strangers: checkpoints that would run code, or are damaged, are refused by name."""

import errno
import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from faceproof.audit.seen import SCHEMA as SEEN
from faceproof.data.table import SCHEMA as SAMPLES
from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import SCHEMA as PREDICTIONS
from faceproof.io.parquet import read_parquet
from faceproof.io.run_folder import RunFolder
from tests.hostile_checkpoints import HOSTILE
from tests.jobs import evaluate, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    from tests.conftest import write_faces

    root = write_faces(tmp_path_factory.mktemp("faces"), train=8, val=4, test=4)
    return train(
        tmp_path_factory.mktemp("runs") / "run", "data=face_or_not", f"data.root={root}",
        "model=face_cnn", "model.input.size=16", "trainer=cpu", "trainer.max_epochs=1",
        "loader.batch_size=8", "loader.num_workers=0", "logger=csv",
    )  # fmt: skip


@pytest.fixture
def run(trained, tmp_path):
    return RunFolder(shutil.copytree(trained.path, tmp_path / "run"))


LONG = "x" * 100_000


def many_rows():
    """Return a table of ten million rows that differ in nothing, some kilobytes as a file."""
    number = pa.array([0]).take(pa.nulls(10_000_000, pa.int64()).fill_null(0))
    return pa.table({"path": pa.DictionaryArray.from_arrays(number.cast(pa.int32()), ["a"])})


def long_words():
    """Return a table that says the same long word a hundred thousand times: ten gigabytes."""
    number = pa.array([0] * 100_000, pa.int32())
    words = pa.DictionaryArray.from_arrays(number, [LONG])
    names = {*SAMPLES.names, *SEEN.names, *PREDICTIONS.names}
    return pa.table(dict.fromkeys(sorted(names), words))


@pytest.mark.parametrize("make", [many_rows, long_words])
@pytest.mark.parametrize("name", ["samples", "seen", "validation"])
def test_tables_that_would_fill_the_memory_are_refused(run, make, name):
    file = getattr(run, name)
    point = run.read_operating_point()
    pq.write_table(make(), file)
    run.write_operating_point(point)  # as a stranger would, so that it is fitted to these scores
    assert file.stat().st_size < 100_000
    with pytest.raises(FaceproofError, match=rf"{name}\.parquet has .* would unpack to"):
        evaluate(run.path, "loader.num_workers=0", "threshold.criterion=f1")


def test_a_plain_column_of_long_words_is_refused_too(tmp_path):
    file = tmp_path / "words.parquet"
    pq.write_table(pa.table({"path": [LONG]}), file)
    assert read_parquet(file)["path"][0].as_py() == LONG  # once is no harm
    pq.write_table(pa.table({"path": [LONG] * 1000}), file)
    with pytest.raises(FaceproofError, match="would unpack to 100,"):
        read_parquet(file)


@pytest.mark.parametrize("spoil", HOSTILE)
def test_evaluation_refuses_a_hostile_checkpoint(run, tmp_path, spoil):
    spoil(torch.load(run.best, weights_only=True), run.best, tmp_path / "witness")
    # torch 2.6 reads the last of them, whose weights are then not those of the threshold.
    with pytest.raises(FaceproofError, match=r"best\.ckpt|was fitted to other weights"):
        evaluate(run.path, "loader.num_workers=0")
    assert not list(tmp_path.rglob("witness"))


@pytest.mark.parametrize("spoil", HOSTILE)
def test_resuming_refuses_a_hostile_checkpoint(run, tmp_path, spoil):
    spoil(torch.load(run.last, weights_only=True), run.last, tmp_path / "witness")
    before = run.record.read_text()
    with pytest.raises(FaceproofError, match=r"last\.ckpt"):
        train(run.path, f"resume={run.path}", "trainer.max_epochs=2")
    assert not (tmp_path / "witness").exists()
    assert run.record.read_text() == before  # nothing was begun


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda state: state.pop("net.head.hidden.weight"), "Missing key"),
        (lambda state: state.update(more=torch.zeros(1)), "Unexpected key"),
        (lambda state: state.update({"net.head.hidden.bias": torch.zeros(3)}), "size mismatch"),
        (lambda state: state["net.head.hidden.bias"].fill_(float("nan")), "no numbers"),
    ],
)
def test_weights_that_do_not_fit_are_refused(run, change, words):
    checkpoint = torch.load(run.best, weights_only=True)
    change(checkpoint["state_dict"])
    torch.save(checkpoint, run.best)
    with pytest.raises(FaceproofError, match=words):
        evaluate(run.path, "loader.num_workers=0")


@pytest.mark.parametrize("name", ["mean", "std"])
def test_weights_of_another_normalisation_are_refused(run, name):
    checkpoint = torch.load(run.best, weights_only=True)
    checkpoint["state_dict"][f"net.input_{name}"] += 0.01
    torch.save(checkpoint, run.best)
    words = rf"best\.ckpt was trained with input {name} \[.*config\.yaml says \["
    with pytest.raises(FaceproofError, match=words):
        evaluate(run.path, "loader.num_workers=0")


def test_weights_of_a_normalisation_that_is_rounded_are_refused(run):
    checkpoint = torch.load(run.best, weights_only=True)
    std = checkpoint["state_dict"]["net.input_std"]
    checkpoint["state_dict"]["net.input_std"] = (std + 1).to(torch.int64)
    torch.save(checkpoint, run.best)
    with pytest.raises(FaceproofError, match=r"best\.ckpt was trained with input std"):
        evaluate(run.path, "loader.num_workers=0")


def test_weights_without_names_are_refused(run):
    torch.save({"state_dict": {1: torch.zeros(1)}}, run.best)
    with pytest.raises(FaceproofError, match=r"best\.ckpt"):
        evaluate(run.path, "loader.num_workers=0")


@pytest.mark.parametrize("name", ["record", "operating_point"])
@pytest.mark.parametrize("text", [b'{"model": "face', b"[1, 2]", b"", b"\xff\xfe", b"[" * 100_000])
def test_notes_that_are_damaged_are_refused(run, name, text):
    getattr(run, name).write_bytes(text)
    words = rf"{name}\.json is damaged(?s:.*)copy the run again"
    with pytest.raises(FaceproofError, match=words):
        evaluate(run.path, "loader.num_workers=0")
    if name == "record":
        with pytest.raises(FaceproofError, match=words):
            train(run.path, f"resume={run.path}")


@pytest.mark.parametrize(
    "text",
    [
        b"epoch,val/loss\n0,half\n",
        b"epoch,val/loss\nfirst,0.5\n",
        b"epoch,val/loss\n0,0.5,0.6\n",
        b"val/loss\n0.5\n",
        b"epoch,val/loss\n\xff,0.5\n",
        b"epoch,val/loss\n,0.5\n",
    ],
)
def test_a_table_of_epochs_that_is_damaged_is_refused(run, text):
    run.metrics.write_bytes(text)
    words = r"metrics\.csv is damaged: (?s:.*)copy the run again"
    before = run.config.read_text()
    with pytest.raises(FaceproofError, match=words):
        train(run.path, f"resume={run.path}", "trainer.max_epochs=2")
    assert run.config.read_text() == before
    with pytest.raises(FaceproofError, match=words):
        evaluate(run.path, "loader.num_workers=0")


def test_a_run_whose_configuration_names_a_command_is_refused(run, tmp_path):
    text = run.config.read_text()
    hostile = text.replace("name: hidden", "name: os.system", 1)
    assert hostile != text
    run.config.write_text(hostile)
    with pytest.raises(FaceproofError, match=r"model\.head\.name = 'os\.system' is code"):
        evaluate(run.path, "loader.num_workers=0")


def test_a_scoring_is_noted_whole_or_not_at_all(tmp_path, monkeypatch):
    def full(number):
        raise OSError(errno.ENOSPC, "No space left on device")

    scored = RunFolder(tmp_path)
    scored.log_test_scoring(["lab"], "test", "lab-test", 3)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(FaceproofError, match="the disk is full"):
            scored.log_test_scoring(["lab"], "test", "lab-test", 3)
    assert scored.count_test_scorings(["lab"]) == 1
    scored.log_test_scoring(["lab", "other"], "test", "both-test", 3)
    assert scored.count_test_scorings(["lab"]) == 2
