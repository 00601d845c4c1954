"""Disks that are full or can only be read, images that vanish, processes that die.

Each gives one message, keeps the last good file, and is gone on with. The disks are real, a few
megabytes of memory each, where the tests may mount them.
"""

import contextlib
import errno
import logging
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from faceproof.data.table import write_table
from faceproof.errors import FaceproofError
from faceproof.inference import output_parts
from faceproof.inference.predictor import load
from faceproof.io import cache
from faceproof.io.atomic import CannotWriteError, explain_disk_errors, write_text
from faceproof.io.run_folder import RunFolder, read_epochs, write_epochs
from faceproof.training.checkpoints import AtomicCheckpointIO
from faceproof.training.loggers import TensorBoard
from faceproof.training.module import DetectorModule
from faceproof.workflows.export import export_run
from faceproof.workflows.predict import PredictConfig, predict
from tests.conftest import write_faces, write_images
from tests.jobs import REPOSITORY, evaluate, train

INSIDE = "FACEPROOF_TESTS_MAY_MOUNT"
# Four batches an epoch, three epochs, a checkpoint after every step.
TINY = (
    "data=face_or_not", "model=face_cnn", "model.weights=none", "model.input.size=16",
    "trainer=cpu",
    "trainer.max_epochs=3", "loader.batch_size=4", "loader.num_workers=0", "logger=csv",
    "augment=colour", "checkpoint.minutes=null", "checkpoint.steps=1", "trainer.precision=32-true",
)  # fmt: skip


class Disk:
    """A file system of its own."""

    def __init__(self, path):
        self.path = path
        self.ballast = path / "ballast"

    def fill(self, leave=0):
        """Fill it but for so many bytes."""
        self.ballast.unlink(missing_ok=True)
        system = os.statvfs(self.path)
        room = system.f_bavail * system.f_frsize - leave
        self.ballast.write_bytes(bytes(room))

    def make_room(self):
        self.ballast.unlink()

    def mount(self, *options):
        return subprocess.run(["mount", *options, str(self.path)], capture_output=True, check=False)


@pytest.fixture
def disk(tmp_path):
    found = Disk(tmp_path / "disk")
    found.path.mkdir()
    if shutil.which("mount") is None or found.mount("-t", "tmpfs", "-o", "size=8m", "t").returncode:
        pytest.skip("may not mount a file system here; see the last test of this file")
    yield found
    subprocess.run(["umount", "--lazy", str(found.path)], check=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("faces"), train=8, val=4, test=4)


@pytest.fixture(scope="module")
def tiny(root):
    return (*TINY, f"data.root={root}")


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole") / "run", *tiny)


def in_step(monkeypatch, number, act):
    """Let something happen in the given training step."""
    original, steps = DetectorModule.training_step, iter(range(1000))

    def training_step(self, batch, batch_idx):
        if next(steps) == number:
            act()
        return original(self, batch, batch_idx)

    monkeypatch.setattr(DetectorModule, "training_step", training_step)


def stopped(monkeypatch, folder, act, *words, step=5):
    """Train until something that happens in a step stops the run; return what is said."""
    with monkeypatch.context() as patched:
        in_step(patched, step, act)
        with pytest.raises(FaceproofError, match=r"resume it by: faceproof train resume=") as error:
            train(folder, *words)
    assert not list(folder.glob("*.partial-*"))
    torch.load(folder / "last.ckpt", weights_only=True)
    return str(error.value)


def assert_same_run(first, second):
    one, other = (torch.load(run.last, weights_only=True) for run in (first, second))
    for name, tensor in one["state_dict"].items():
        assert torch.equal(tensor, other["state_dict"][name]), name
    moments = [state["optimizer_states"][0]["state"] for state in (one, other)]
    for key, state in moments[0].items():
        assert all(torch.equal(value, moments[1][key][name]) for name, value in state.items())
    drop = "train/images_per_second"
    rows = [[{**row, drop: 0} for row in read_epochs(run.metrics)] for run in (first, second)]
    assert rows[0] == rows[1]


def go_on(folder, *words):
    return train(folder, f"resume={folder}", *words)


def test_a_run_whose_disk_fills_up_keeps_its_checkpoint_and_goes_on(disk, tiny, whole, monkeypatch):
    folder = disk.path / "run"
    said = stopped(monkeypatch, folder, lambda: disk.fill(leave=40_000), *tiny)
    assert f"{folder / 'last.ckpt'} could not be written: the disk is full" in said
    assert f"the one before it is whole; make room in {folder}" in said
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 5
    assert RunFolder(folder).read_record()["status"].startswith("stopped: ")
    disk.make_room()
    assert_same_run(whole, go_on(folder))


def test_the_command_ends_with_one_message_and_a_code(disk, tiny, whole):
    """The first checkpoint fits, and the one that is to take its place no longer."""
    assert disk.mount("-o", f"remount,size={whole.last.stat().st_size * 3 // 2}").returncode == 0
    done = subprocess.run(
        [sys.executable, REPOSITORY / "train.py", *tiny, f"hydra.run.dir={disk.path / 'run'}",
         "logger=tensorboard"],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("error: ") == 1
    assert "last.ckpt could not be written: the disk is full; the one before it" in done.stderr
    assert "; resume it by: faceproof train resume=" in done.stderr
    assert disk.mount("-o", "remount,size=8m").returncode == 0
    assert_same_run(whole, go_on(disk.path / "run"))


def test_a_run_whose_events_find_no_room_either_says_it_once(disk, tiny, whole, monkeypatch):
    def fill():
        disk.fill()
        for events in folder.glob("events.*"):  # there is room in the last page of its own
            with contextlib.suppress(OSError), events.open("ab") as file:
                file.write(bytes(1 << 16))

    folder = disk.path / "run"
    words = (*tiny, "logger=tensorboard", "trainer.log_every_n_steps=1", "checkpoint.steps=2")
    said = stopped(monkeypatch, folder, fill, *words, step=4)  # a step before a checkpoint
    assert said.startswith(f"{folder / 'last.ckpt'} could not be written: the disk is full; the on")
    assert RunFolder(folder).read_record()["status"] == "running"  # there was no room for more
    disk.make_room()
    assert_same_run(whole, go_on(folder))


def test_events_that_find_no_room_are_left_out_with_one_warning(disk, caplog):
    board = TensorBoard(disk.path / "run")
    board.log_metrics({"before": 1.0}, 0)
    board.save()
    disk.fill()
    for step in range(2000):
        board.log_metrics({"a": 1.0}, step)
    board.save()
    disk.make_room()
    board.log_metrics({"after": 1.0}, 0)  # behind what may be half a record
    board.finalize("failed")
    assert caplog.text.count("no more TensorBoard events") == 1
    events = EventAccumulator(str(disk.path / "run")).Reload()
    assert {"before", "after"} & set(events.Tags()["scalars"]) == {"before"}


@pytest.fixture
def run(disk, whole):
    return RunFolder(shutil.copytree(whole.path, disk.path / "run"))


def test_an_evaluation_that_finds_no_room_leaves_the_earlier_report(disk, run):
    report = evaluate(run.path, "loader.num_workers=0")
    before = {file.name: file.read_bytes() for file in report.iterdir() if file.is_file()}
    disk.fill(leave=20_000)
    with pytest.raises(FaceproofError, match=r"could not be written: the disk is full"):
        evaluate(run.path, "loader.num_workers=0")
    assert {f.name: f.read_bytes() for f in report.iterdir() if f.is_file()} == before
    disk.make_room()
    assert evaluate(run.path, "loader.num_workers=0") == report


def test_an_export_that_finds_no_room_leaves_the_earlier_artifact(disk, run):
    folder = disk.path / "detector"
    export_run(run.path, folder)
    disk.fill(leave=20_000)
    with pytest.raises(CannotWriteError, match=f"{folder} could not be written: the disk is full"):
        export_run(run.path, folder, overwrite=True)
    assert sorted(entry.name for entry in disk.path.iterdir()) == ["ballast", "detector", "run"]
    load(folder)
    disk.make_room()
    export_run(run.path, folder, overwrite=True)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_predictions_go_on_when_there_is_room_again(disk, run, tmp_path, monkeypatch, suffix):
    export_run(run.path, tmp_path / "detector")
    images = [str(p) for p in write_images(tmp_path / "p", [f"{n}.jpg" for n in range(12)])]
    monkeypatch.setattr(output_parts, "ROWS_PER_PART", 4)
    config = PredictConfig(
        tuple(images), detector=tmp_path / "detector", out=tmp_path / f"all{suffix}", batch_size=4
    )
    predict(config)
    original, parts = output_parts.Results.flush, iter(range(100))

    def flush(self):
        if next(parts) == 1:
            disk.fill()
        original(self)

    config = replace(config, out=disk.path / f"out{suffix}")
    with monkeypatch.context() as patched:
        patched.setattr(output_parts.Results, "flush", flush)
        with pytest.raises(CannotWriteError, match="the disk is full"):
            predict(config)
    assert not config.out.exists()
    assert len(list((disk.path / f"out{suffix}.unfinished").glob(f"[0-9]*{suffix}"))) == 1
    disk.make_room()
    predict(config)
    assert config.out.read_bytes() == (tmp_path / f"all{suffix}").read_bytes()


def wanted(fill):
    return cache.CachedArray("squares", "a", (1000, 100), np.float32, fill, lambda values: True)


def test_what_would_be_kept_is_computed_every_time_where_there_is_no_room(
    disk, tiny, whole, monkeypatch, caplog
):
    words = (*tiny, "freeze=head_only", "augment=none", "trainer.max_epochs=1")
    other = train(disk.path / "kept", *words)
    monkeypatch.setenv("FACEPROOF_CACHE", str(disk.path))
    train(disk.path / "first", *words, "cache.features=none")  # what is known of files is there
    monkeypatch.setattr(cache, "_make_room", lambda *given: True)  # another has taken it since
    disk.fill()
    folder = whole.path.with_name("without-room")
    with caplog.at_level(logging.WARNING):
        run = train(folder, *words)
    assert "nothing is cached" in caplog.text
    assert "the disk is full" in caplog.text
    assert not list((disk.path / "features").iterdir())
    for name, value in torch.load(run.last, weights_only=True)["state_dict"].items():
        known = torch.load(other.last, weights_only=True)["state_dict"][name]
        assert torch.allclose(value, known, atol=1e-5), name


def test_a_full_cache_is_said_before_training(disk, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("FACEPROOF_CACHE", str(disk.path))
    disk.fill()
    with pytest.raises(FaceproofError, match="set FACEPROOF_CACHE to a folder that can"):
        train(tmp_path / "run", *tiny)


MUCH = np.random.default_rng(0).random(10_000)
WRITERS = {
    "a text": lambda file: write_text(file, "x" * 80_000),
    "a table": lambda file: write_table(pa.table({"a": MUCH}), file),
    "epochs": lambda file: write_epochs(file, [{"epoch": n, "a": MUCH[n]} for n in range(9000)]),
    "a checkpoint": lambda file: AtomicCheckpointIO().save_checkpoint(
        {"a": torch.tensor(MUCH)}, file
    ),
}


def assert_stands(write, file, message):
    with pytest.raises(CannotWriteError, match=message):
        write(file)
    assert file.read_text() == "whole"
    assert not list(file.parent.glob("*partial*"))


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_file_stands_until_another_is_whole(disk, write):
    (disk.path / "file").write_text("whole")
    disk.fill(leave=20_000)
    assert_stands(write, disk.path / "file", "the disk is full; the one before it is whole")
    disk.make_room()
    write(disk.path / "file")


FAULTS = {
    errno.ENOSPC: "the disk is full; the one before it is whole; make room in",
    errno.EDQUOT: "the disk's quota is used up",
    errno.EROFS: "the disk can only be read; .* choose another folder",
    errno.EACCES: "this user may not write there",
    errno.EIO: "the disk fails",
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("number", FAULTS, ids=errno.errorcode.get)
@pytest.mark.parametrize("where", ["replace", "fsync"])
def test_faults_while_a_file_is_written(tmp_path, monkeypatch, write, number, where):
    def fail(*given):
        raise OSError(number, os.strerror(number))

    (tmp_path / "file").write_text("whole")
    if where == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    else:
        monkeypatch.setattr(os, "fsync", fail)
    assert_stands(write, tmp_path / "file", FAULTS[number])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_what_another_disk_says_is_told_of_its_own_file(tmp_path, number):
    place, other = tmp_path / "run" / "last.ckpt", tmp_path / "run2" / "kept.npy"
    for named, file in ((other, other), (place.with_name("x"), place), (None, place)):
        with pytest.raises(CannotWriteError) as told, explain_disk_errors(place):
            raise OSError(number, os.strerror(number), named and str(named))
        assert str(told.value).startswith(f"{file} could not be written")
        assert str(told.value).endswith(str(file.parent))


def test_other_errors_keep_their_traceback(tmp_path, monkeypatch):
    def fail(*given):
        raise OSError(errno.ELOOP, "a defect")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="a defect"):
        write_text(tmp_path / "file", "x")


def test_what_can_only_be_read_is_said_and_read(disk, run, tmp_path, monkeypatch):
    export_run(run.path, disk.path / "detector")
    monkeypatch.setenv("FACEPROOF_CACHE", str(disk.path / "cache"))
    monkeypatch.setattr(cache, "SPARE", 0)
    assert cache.load_or_compute(wanted(lambda values: values.fill(1)), 10**9) is not None
    assert disk.mount("-o", "remount,ro").returncode == 0
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    only_read = "could not be written: the disk can only be read"
    with pytest.raises(FaceproofError, match=only_read):
        go_on(run.path, "trainer.max_epochs=4")
    with pytest.raises(FaceproofError, match=only_read):
        evaluate(run.path, "loader.num_workers=0")
    with pytest.raises(FaceproofError, match=only_read):
        export_run(run.path, disk.path / "other")
    load(disk.path / "detector")  # to read it, nothing is written
    (image,) = write_images(tmp_path, ["a.jpg"])
    with pytest.raises(FaceproofError, match=only_read):
        predict(
            PredictConfig((str(image),), detector=disk.path / "detector", out=disk.path / "out.csv")
        )
    monkeypatch.setenv("FACEPROOF_CACHE", str(disk.path / "cache"))
    found = cache.load_or_compute(wanted(lambda values: pytest.fail("was computed again")), 10**9)
    assert found is not None
    assert found[3, 3] == 1
    assert (
        cache.load_or_compute(
            cache.CachedArray("squares", "b", (1,), np.float32, print, bool), 10**9
        )
        is None
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_vanishes_stops_the_run_which_goes_on_when_it_is_back(
    root, tiny, whole, tmp_path, monkeypatch, workers
):
    gone = root / "train" / "faces" / "3.jpg"
    hidden = gone.rename(tmp_path / "hidden.jpg")
    shutil.copy(hidden, gone)
    words = (*tiny, f"loader.num_workers={workers}")
    try:
        said = stopped(monkeypatch, tmp_path / "run", gone.unlink, *words, step=4)
    finally:
        shutil.copy(hidden, gone)
    assert said.startswith(f"{gone} could be read when the run began and no longer can")
    assert "Traceback" not in said
    assert_same_run(whole, go_on(tmp_path / "run"))


def kill_loader():
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)


def test_a_loading_process_that_is_killed_stops_the_run_which_goes_on(
    tiny, whole, tmp_path, monkeypatch
):
    words = (*tiny, "loader.num_workers=2")
    said = stopped(monkeypatch, tmp_path / "run", kill_loader, *words)
    assert said.startswith("a worker process died (")  # by which way, chance decides
    assert "or lower loader.num_workers" in said
    assert_same_run(whole, go_on(tmp_path / "run", "loader.num_workers=1"))


def test_a_loading_process_that_dies_while_a_checkpoint_is_written_leaves_it_whole(
    tiny, tmp_path, monkeypatch
):
    save, written = torch.save, []

    def killed_while_saving(checkpoint, file):
        save(checkpoint, file)
        written.append(checkpoint["global_step"])
        if len(written) == 3:
            process = multiprocessing.active_children()[0]
            os.kill(process.pid, signal.SIGKILL)
            wait([process.sentinel], 60)  # which leaves it for torch to take away

    monkeypatch.setattr(torch, "save", killed_while_saving)
    with pytest.raises(FaceproofError, match="a worker process died"):
        train(tmp_path / "run", *tiny, "loader.num_workers=2")
    assert torch.load(tmp_path / "run/last.ckpt", weights_only=True)["global_step"] == written[2]


def may_unshare():
    words = ("unshare", "--map-root-user", "--mount", "true")
    found = shutil.which("unshare")
    return found and not subprocess.run(words, capture_output=True, check=False).returncode


@pytest.mark.skipif(
    os.geteuid() == 0 or INSIDE in os.environ or not may_unshare(),
    reason="root mounts without it, or no name space may be made",
)
def test_all_of_this_in_a_name_space_where_disks_may_be_mounted():
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", sys.executable, "-m", "pytest", "-n", "0",
         "-k", "disk or room or read or message", __file__],
        env=os.environ | {INSIDE: "yes"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
