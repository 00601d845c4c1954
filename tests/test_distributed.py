"""`trainer=ddp` by the command: two processes, one run folder."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from faceproof.io.run_folder import RunFolder, is_first_process, read_epochs
from tests.conftest import write_images
from tests.jobs import REPOSITORY

TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "loader.batch_size=4")
ONE = ("trainer=cpu", "loader.batch_size=8")
DDP = "ddp_find_unused_parameters_true"
DYING = """
from torch.optim import SGD
import os
from faceproof.training.freezing import FreezeSchedule

original = FreezeSchedule.stage

def stage(self, epoch):
    if epoch == 1 and os.environ.get("LOCAL_RANK") == "1":
        os.kill(os.getpid(), 9)
    return original(self, epoch)

FreezeSchedule.stage = stage
"""
STOPPING = """
from torch.optim import SGD
import os, signal
from faceproof.training.module import DetectorModule

original = DetectorModule.training_step

def training_step(self, batch, batch_idx):
    if (self.current_epoch, batch_idx) == (1, 0) and os.environ.get("LOCAL_RANK", "0") == "0":
        os.kill(os.getpid(), signal.SIGTERM)
    return original(self, batch, batch_idx)

DetectorModule.training_step = training_step
"""
DIVERGING = """
from torch.optim import SGD
import os
from faceproof.training.module import DetectorModule

original = DetectorModule.score

def score(self, batch):
    at = (self.current_epoch, os.environ.get("LOCAL_RANK", "0"))
    return original(self, batch) * (float("nan") if at == (1, os.environ["RANK_AT_FAULT"]) else 1)

DetectorModule.score = score
"""

FAULTY = """
from torch.optim import SGD
import multiprocessing, os, signal
from pathlib import Path
from faceproof.data.loaders import ImageDataset
from faceproof.training.module import DetectorModule

look, step, faults = ImageDataset.image, DetectorModule.training_step, []

def image(self, row, epoch=0):
    if "vanish" in faults:
        Path(self.paths[row].as_py()).unlink()
    return look(self, row, epoch)

def training_step(self, batch, batch_idx):
    kind, rank = os.environ["FAULT"].split()
    if (self.current_epoch, batch_idx, os.environ.get("LOCAL_RANK", "0")) == (1, 0, rank):
        faults.append(kind)
        if kind == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        for loader in multiprocessing.active_children():
            os.kill(loader.pid, signal.SIGKILL)
    return step(self, batch, batch_idx)

ImageDataset.image, DetectorModule.training_step = image, training_step
"""


@pytest.fixture
def run(small_faces, tmp_path):
    """Return what runs train.py in a process of its own, without anything random in a step.

    Two processes of four images see the same images in a step as one of eight.
    """
    common = (
        "model=face_cnn", "model.input.size=16",
        "model.head.dropout=0", "augment=none", "trainer.precision=32-true",
        "optimizer=sgd", "scheduler=none", "trainer.max_epochs=3", "logger=csv",
        "loader.num_workers=0",
        "freeze.stages=[{from_epoch: 0, train: head}, {from_epoch: 1, train: all}]",
    )  # fmt: skip

    def start(folder, *words):
        if words[0] != "data=table" and not words[0].startswith("resume="):
            words = ("data=face_or_not", f"data.root={small_faces}", *words)
        words = words if words[0].startswith("resume=") else (*common, *words)
        path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
        return subprocess.run(
            [sys.executable, str(REPOSITORY / "train.py"), *words, f"hydra.run.dir={folder}"],
            cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
            env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": path,
                 "FACEPROOF_ALLOW": "custom"},
        )  # fmt: skip

    def finish(folder, *words):
        done = start(folder, *words)
        assert done.returncode == 0, done.stderr
        return RunFolder(tmp_path / folder)

    start.finish = finish
    return start


def assert_alike(first, second):
    """Compare to rounding: sums over two processes are added in another order."""
    states = [torch.load(run.last, weights_only=True)["state_dict"] for run in (first, second)]
    for name, tensor in states[0].items():
        assert torch.allclose(tensor, states[1][name], atol=1e-5), name
    drop = "train/images_per_second"
    for one, other in zip(read_epochs(first.metrics), read_epochs(second.metrics), strict=True):
        figures = ({**row, drop: 0.0} for row in (one, other))
        assert next(figures) == pytest.approx(next(figures), abs=1e-4)


def test_two_processes_are_one_run_and_go_on_as_one_and_the_other_way_round(run, tmp_path, is_long):
    one = run.finish("one", *ONE)
    two = run.finish("two", *TWO)
    record = json.loads(two.record.read_text())
    assert record["status"] == "finished"
    assert record["device"].startswith("2 x CPU")
    assert two.operating_point.is_file()
    assert not list(tmp_path.glob("faceproof-*"))
    # The backbone thaws in epoch 1: were its gradients not shared, the ranks would part from there.
    assert_alike(one, two)
    as_one = ("loader.batch_size=8", "trainer.devices=1", "trainer.strategy=auto")
    as_two = ("loader.batch_size=4", "trainer.devices=2", f"trainer.strategy={DDP}")
    changes = (("then-two", ONE, as_two), ("then-one", TWO, as_one))
    for name, first, then in changes if is_long else changes[:1]:
        run.finish(name, *first, "trainer.max_epochs=2")
        assert_alike(one, run.finish(name, f"resume={name}", *then, "trainer.max_epochs=3"))


@pytest.fixture
def pairs(tmp_path):
    """Return the words of a table of real and fake images in pairs, two fakes an original."""
    lines = ["path,label,split,pair"]
    for split in ("train", "val"):
        for label, copies in (("real", 1), ("fake", 2)):
            for copy in range(copies):
                names = [f"{split}{label}{copy}{n}.jpg" for n in range(4)]
                paths = write_images(tmp_path / "pairs", names, face=label == "fake")
                lines += [f"{path},{label},{split},{split}{n}" for n, path in enumerate(paths)]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    leaks = "data.allow_leaks=true"  # small images of noise look alike
    return "data=table", f"data.file={tmp_path / 'table.csv'}", leaks


# Where no epoch's mean or pair depends on the number of processes, that of the weights does not.
METHODS = {
    # that ranks part no pair is tested by tests/data/test_pairs.py too
    "paired": ("loader.sampler=paired",),
    "pseudo-fakes": ("synthesis=blended", "synthesis.share=1", "loader.sampler=shuffled"),
    "ema": ("ema=0.9", "loader.sampler=paired"),
    "swa": ("swa=0.4", "loader.sampler=paired"),
}


@pytest.mark.long
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_see_and_keep_what_one_does(run, pairs, method):
    words = (*pairs, *METHODS[method])
    assert_alike(run.finish("one", *words, *ONE), run.finish("two", *words, *TWO))


@pytest.mark.long  # of one process, test_resuming.py has the short form
def test_two_processes_told_to_end_in_an_epoch_go_on_as_if_nothing_had_been(run, tmp_path):
    """Two batches an epoch: the signal comes in the first of the second, to one of the two."""
    whole = run.finish("whole", *TWO)
    (tmp_path / "custom.py").write_text(STOPPING)
    done = run("run", *TWO, "optimizer.name=custom.SGD")
    assert done.returncode == 1
    assert "interrupted; resume it by: faceproof train resume=" in done.stderr
    assert "Traceback" not in done.stderr
    checkpoint = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3
    assert checkpoint["begun_epoch"]["batches"] == [4, 2, "shuffled"]
    again = run.finish("run", "resume=run")
    states = [torch.load(one.last, weights_only=True)["state_dict"] for one in (whole, again)]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert_alike(whole, again)


def test_the_death_of_one_process_ends_the_run_with_a_message(run, tmp_path):
    (tmp_path / "custom.py").write_text(DYING)
    done = run("run", *TWO, "optimizer.name=custom.SGD")
    assert done.returncode != 0
    # Lightning looks after its processes every few seconds, and may be the first to see it.
    said = "another process of this run has ended" in done.stderr
    assert said or "terminated with code -9" in done.stdout
    assert not said or "resume it by: faceproof train resume=" in done.stderr


@pytest.mark.long  # a fault that ends both is also below
@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_fault_in_one_process_is_said_with_how_to_resume(run, tmp_path, monkeypatch, rank):
    monkeypatch.setenv("RANK_AT_FAULT", rank)
    (tmp_path / "custom.py").write_text(DIVERGING)
    done = run("run", *TWO, "optimizer.name=custom.SGD")
    assert done.returncode != 0
    assert "the loss is not finite in epoch 2, step 1" in done.stderr
    assert "resume it by: faceproof train resume=" in done.stderr
    status = RunFolder(tmp_path / "run").read_record()["status"]
    assert status == "stopped: the loss is not finite in epoch 2, step 1"


def test_a_fault_in_one_process_ends_both_with_one_message(
    run, small_faces, tmp_path, monkeypatch, is_long
):
    """One fault after the other in the second epoch, in one process of the two; then none."""
    images = shutil.copytree(small_faces, tmp_path / "images")
    whole = run.finish("whole", *TWO, f"data.root={images}")
    (tmp_path / "custom.py").write_text(FAULTY)
    words = (*TWO, f"data.root={images}", "optimizer.name=custom.SGD")
    gone = "could be read when the run began and no longer can"
    faults = [
        ("vanish 1", 0, gone),
        ("kill 1", 1, "a worker process died"),
        ("vanish 0", 0, gone),
        ("die 0", 0, "another process of this run has ended"),
    ]
    for fault, workers, reason in faults if is_long else faults[:1]:
        monkeypatch.setenv("FAULT", fault)
        done = run("run", *words, f"loader.num_workers={workers}")
        assert done.returncode != 0
        assert done.stderr.count("error: ") == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert reason in done.stderr
        assert "resume it by: faceproof train resume=" in done.stderr
        assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 2
        assert RunFolder(tmp_path / "run").read_record()["status"].startswith("stopped: ")
        shutil.copytree(small_faces, images, dirs_exist_ok=True)
        words = ("resume=run",)
    monkeypatch.setenv("FAULT", "none 0")
    again = run.finish("run", *words)
    states = [torch.load(one.last, weights_only=True)["state_dict"] for one in (whole, again)]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert_alike(whole, again)


@pytest.mark.parametrize(
    ("ranks", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "SLURM_PROCID": "4"}, False),
    ],
)
def test_the_first_process_is_told_by_its_ranks(monkeypatch, ranks, first):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, rank in ranks.items():
        monkeypatch.setenv(name, rank)
    assert is_first_process() is first
