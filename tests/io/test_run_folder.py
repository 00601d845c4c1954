"""A run folder that several processes come upon at once."""

import errno
import fcntl
import json
import logging
import os
import shutil
import signal
import subprocess
import sys

import pytest

from faceproof.data import FolderData
from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RunFolder
from tests.conftest import write_faces
from tests.jobs import REPOSITORY, train

TINY = (
    "data=face_or_not", "model=face_cnn", "model.input.size=16", "trainer=cpu",
    "trainer.max_epochs=1", "loader.batch_size=8", "loader.num_workers=0", "logger=csv",
)  # fmt: skip
HOLD = """
import os, signal, sys
from faceproof.io.run_folder import RunFolder

with RunFolder(sys.argv[1]).locked():
    child = os.fork()  # as a worker process is begun
    if child:
        print(child, flush=True)
    signal.pause()
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = write_faces(tmp_path_factory.mktemp("faces"), train=8, val=4, test=4)
    return (*TINY, f"data.root={root}")


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "run", *tiny)


@pytest.fixture
def run(trained, tmp_path):
    return RunFolder(shutil.copytree(trained.path, tmp_path / "run"))


@pytest.fixture
def holder(tmp_path):
    """Return a process that trains in the folder `run`, as far as others can tell."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        child = int(process.stdout.readline())
        yield process
        process.kill()
        os.kill(child, signal.SIGKILL)


def files(run):
    return {file.name: file.read_bytes() for file in run.path.iterdir() if file.is_file()}


@pytest.mark.parametrize("resume", [True, False])
def test_a_second_training_in_a_folder_is_refused_until_the_first_has_ended(
    run, holder, tiny, resume
):
    run.operating_point.unlink()
    if not resume:
        run.last.unlink()  # it has only just begun
    before = files(run)
    words = (f"resume={run.path}", "trainer.max_epochs=2") if resume else tiny
    said = rf"run is being trained in by another process \(process {holder.pid} on .*hydra\.run\.d"
    with pytest.raises(FaceproofError, match=said):
        train(run.path, *words)
    assert files(run) == before
    holder.kill()  # its worker process lives on
    holder.wait()
    train(run.path, *words)
    assert run.read_record()["status"] == "finished"


def test_the_command_says_so_and_leaves_the_first_alone(tiny, tmp_path):
    run = RunFolder(tmp_path / "run")
    with run.locked():
        done = subprocess.run(
            [sys.executable, REPOSITORY / "train.py", *tiny, f"hydra.run.dir={run.path}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {run.path} is being trained in by another process")
    assert "Traceback" not in done.stderr
    assert set(files(run)) == {"train.lock", "train.log"}  # the second is Hydra's


def test_a_folder_is_held_by_one_after_the_other_in_one_process(tmp_path):
    run = RunFolder(tmp_path / "run")
    for _ in range(2):
        with run.locked():
            assert str(os.getpid()) in run.lock.read_text()


def test_a_file_system_without_locks_is_trained_on(tmp_path, monkeypatch, caplog):
    def refuse(file, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with caplog.at_level(logging.WARNING), RunFolder(tmp_path / "run").locked():
        assert "run cannot be locked (No locks available)" in caplog.text


def test_a_run_that_another_began_in_the_meantime_is_not_overwritten(
    trained, tiny, tmp_path, monkeypatch
):
    run, listed = RunFolder(tmp_path / "run"), FolderData.list

    def list_slowly(source):
        shutil.copytree(trained.path, run.path, dirs_exist_ok=True)
        return listed(source)

    monkeypatch.setattr(FolderData, "list", list_slowly)
    with pytest.raises(FaceproofError, match="holds a run already"):
        train(run.path, *tiny)
    assert {**files(run), "train.lock": b""} == {**files(trained), "train.lock": b""}


def test_of_two_scorings_at_once_neither_is_lost(tmp_path, monkeypatch):
    run, written = RunFolder(tmp_path), os.fsync

    def meanwhile(number):
        monkeypatch.setattr(os, "fsync", written)
        RunFolder(tmp_path).log_test_scoring(["other"], "test", "other-test", 3)

    monkeypatch.setattr(os, "fsync", meanwhile)
    run.log_test_scoring(["lab"], "test", "lab-test", 3)
    assert [run.count_test_scorings([name]) for name in ("lab", "other")] == [1, 1]


def test_a_scoring_that_finds_no_room_takes_back_no_other_s(tmp_path, monkeypatch):
    run, written = RunFolder(tmp_path), os.fsync

    def full(number):
        monkeypatch.setattr(os, "fsync", written)
        RunFolder(tmp_path).log_test_scoring(["other"], "test", "other-test", 3)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FaceproofError, match="the disk is full"):
        run.log_test_scoring(["lab"], "test", "lab-test", 3)
    assert run.count_test_scorings(["other"]) == 1


def test_half_a_line_of_a_scoring_counts_for_nothing_and_spoils_no_other(tmp_path):
    run = RunFolder(tmp_path)
    run.log_test_scoring(["lab"], "test", "lab-test", 3)
    whole = run.test_scorings.read_bytes()
    for size in (1, 20, len(whole) - 2):
        run.test_scorings.write_bytes(whole + whole[:size])
        assert run.count_test_scorings(["lab"]) == 1
        run.log_test_scoring(["lab", "other"], "test", "both-test", 3)
        assert run.count_test_scorings(["lab"]) == 2
        assert json.loads(run.test_scorings.read_text().splitlines()[-1])["images"] == 3


def test_nothing_is_written_where_a_link_in_a_run_points(tmp_path):
    mine, run = tmp_path / "mine", RunFolder(tmp_path / "run")
    mine.write_text("mine")
    run.path.mkdir()
    for file in (run.lock, run.test_scorings):
        file.symlink_to(mine)
    with pytest.raises(FaceproofError, match=r"train\.lock is a link"), run.locked():
        pass
    with pytest.raises(FaceproofError, match=r"test_scorings\.jsonl is a link"):
        run.log_test_scoring(["lab"], "test", "lab-test", 3)
    assert mine.read_text() == "mine"


@pytest.fixture
def fitted(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.config.write_text("model: {backbone: {name: a}}\ndata: {task: face}\n")
    run.best.write_bytes(b"weights")
    run.validation.write_bytes(b"scores")
    run.write_operating_point({"threshold": 0.5})
    assert run.read_operating_point() == {"threshold": 0.5}
    return run


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("best.ckpt", "others", "fitted to other weights"),
        ("config.yaml", "model: {backbone: {name: b}}\ndata: {task: face}", "another network"),
        ("config.yaml", "model: {backbone: {name: a}}\ndata: {task: b}", "network or task"),
        ("validation.parquet", "others", "does not hold the scores that operating_point.json was"),
        ("operating_point.json", '{"threshold": 0.5}', "does not say which weights"),
    ],
)
def test_an_operating_point_of_something_else_is_refused(fitted, name, content, message):
    (fitted.path / name).write_text(content)
    with pytest.raises(FaceproofError, match=message) as refusal:
        fitted.read_operating_point()
    assert f"faceproof train {fitted.argument('resume')}" in str(refusal.value)


def test_an_operating_point_outlives_a_copy_and_other_settings(fitted, tmp_path):
    shutil.copytree(fitted.path, tmp_path / "copy")
    copy = RunFolder(tmp_path / "copy")
    copy.config.write_text(copy.config.read_text() + "seed: 5\n")
    assert copy.read_operating_point() == {"threshold": 0.5}


def test_what_is_computed_while_the_weights_change_does_not_stand(fitted):
    with fitted.unchanged() as before:
        pass
    assert before == fitted.detector_digest
    with pytest.raises(FaceproofError, match="were changed while"), fitted.unchanged():
        fitted.best.write_bytes(b"others")
