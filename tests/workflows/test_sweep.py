import csv
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceproof.errors import FaceproofError
from faceproof.workflows.sweep import (
    Lock,
    Sweep,
    failure_reason,
    quoted,
    run_name,
    run_process,
    sweep_name,
)

SETTINGS = st.dictionaries(
    st.sampled_from(["model", "seed", "optimizer.lr", "scheduler.lr", "+a.b"]),
    st.text(st.characters(codec="utf-8"), max_size=12),
    min_size=1,
)


def finish(job, value, monitor="val/loss"):
    """Leave behind what a finished run does."""
    job.run.update_record(
        status="finished", monitor=monitor, best_epoch=1, epochs=2,
        best={monitor: value, "val/accuracy": 0.5, "train/loss": 9.0},
    )  # fmt: skip
    job.run.write_operating_point({"threshold": 0.5})


def rows(sweep):
    with sweep.leaderboard.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def sweep(tmp_path):
    with Sweep(tmp_path / "sweep") as entered:
        yield entered


@given(SETTINGS, SETTINGS)
def test_names_of_runs_are_distinct_and_harmless(one, other):
    assert (run_name(one) == run_name(other)) == (one == other)
    assert set(run_name(one)) <= set("+-._") | set(map(chr, range(48, 123))) - set(":;<=>?@[]^`\\")


def test_the_name_of_a_sweep_depends_on_the_command_alone():
    words = ["model=resnet18,effnet_b0", "data.root=/a/b", "freeze=head_only"]
    name = sweep_name(words)
    assert name.startswith("model-resnet18-effnet_b0+freeze-head_only_")
    assert sweep_name(reversed(words)) == name
    assert sweep_name([*words, "seed=1"]) != name
    assert len(sweep_name([f"group{n}=choice_number_{n}" for n in range(50)])) < 80


@pytest.mark.parametrize(
    ("code", "output", "reason"),
    [
        (0, "Traceback (most recent call last):\nValueError: x", ""),
        (-9, "", "the process was killed by SIGKILL (out of memory?)"),
        (-11, "", "the process was killed by SIGSEGV"),
        (1, "INFO: a\nerror: no such folder:\n  more of it\n", "no such folder: more of it"),
        (
            1,
            'Traceback (most recent call last):\n  File "a"\nValueError: first\n\nDuring\n\n'
            'Traceback (most recent call last):\n  File "b"\n    f(x)\n      ^^^\n'
            "torch.OutOfMemoryError: CUDA out of memory.\nsecond line\n",
            "torch.OutOfMemoryError: CUDA out of memory. second line",
        ),
        (3, "last words\n\n", "last words"),
        (3, "", "the process ended with code 3"),
    ],
)
def test_the_reason_of_a_failure_in_one_line(code, output, reason):
    assert failure_reason(code, output) == reason


def test_a_process_that_fails_leaves_its_output_and_its_reason(tmp_path):
    lock, log = Lock(tmp_path / "lock"), tmp_path / "log"
    lock.acquire()
    assert run_process([sys.executable, "-c", "print('fine')"], log, lock) == ""
    code = "import os, sys; print('here', flush=True); os.kill(os.getpid(), 9)"
    assert "SIGKILL" in run_process([sys.executable, "-c", code], log, lock)
    assert "fine" in log.read_text()
    assert "here" in log.read_text()
    lock.release()


def test_the_best_of_the_finished_is_first_and_the_failed_are_named(sweep):
    for seed, value in enumerate([0.5, 0.2, 0.9]):
        job = sweep.plan(("model=a", f"seed={seed}"), ["seed"])
        assert sweep.start(job) == job.overrides
        finish(job, value)
        assert sweep.end(job, "", 1.5)
    failed = sweep.plan(("model=a", "seed=3"), ["seed"])
    sweep.start(failed)
    assert not sweep.end(failed, "it broke\nhere" + "!" * 999, 1.0)
    sweep.plan(("model=a", "seed=4"), ["seed"])
    sweep.write_leaderboard()
    found = rows(sweep)
    assert [row["seed"] for row in found] == ["1", "0", "2", "3", "4"]
    assert [row["status"] for row in found] == ["finished"] * 3 + ["failed", "waiting"]
    assert found[0]["value"] == found[0]["val/loss"] == "0.2"
    assert found[0]["folder"] == "seed-1"
    assert found[3]["reason"].startswith("it broke here!!!")
    assert len(found[3]["reason"]) == 300
    assert "train/loss" not in found[0]
    assert not list(sweep.folder.glob("*.partial"))


def test_figures_for_which_more_is_better_are_sorted_so(sweep):
    for seed, value in enumerate([0.5, 0.9]):
        job = sweep.plan((f"seed={seed}",), ["seed"])
        sweep.start(job)
        finish(job, value, "val/roc_auc")
        sweep.end(job, "")
    sweep.write_leaderboard()
    assert [row["seed"] for row in rows(sweep)] == ["1", "0"]


def test_a_run_goes_on_from_its_last_checkpoint_or_begins_anew(sweep):
    job = sweep.plan(("seed=0",), ["seed"])
    sweep.start(job)
    job.run.update_record(status="running")
    (job.folder / "output.log").write_text("first")
    (job.folder / "evaluations").mkdir()
    assert sweep.start(job) == ("seed=0",)
    assert sorted(entry.name for entry in job.folder.iterdir()) == ["job.json", "output.log"]
    for file in (job.run.config, job.run.last, job.run.samples):
        file.touch()
    assert sweep.start(job) == (f"resume={quoted(job.folder)}",)
    assert job.run.last.is_file()
    assert len(job.read()["attempts"]) == 3


def test_a_run_without_its_threshold_is_not_finished(sweep):
    job = sweep.plan(("seed=0",), ["seed"])
    finish(job, 0.1)
    assert job.finished
    job.run.operating_point.unlink()
    assert not job.finished


def test_what_ran_when_a_sweep_was_killed_is_interrupted(sweep):
    job = sweep.plan(("seed=0",), ["seed"])
    sweep.start(job)
    sweep.lock.release()
    with Sweep(sweep.folder) as again:
        again.write_leaderboard()
        assert rows(again)[0]["status"] == "interrupted"


def test_two_commands_in_one_folder_do_not_take_each_others_runs(sweep):
    one = sweep.plan(("model=a", "seed=0"), ["seed"])
    other = sweep.plan(("model=b", "seed=0"), ["seed"])
    assert one.folder != other.folder
    assert sweep.plan(("seed=0", "model=b"), ["seed"]).folder == other.folder
    assert {job.folder for job in sweep.jobs()} == {one.folder, other.folder}


def test_two_sweeps_in_one_folder_are_refused_and_a_dead_ones_lock_is_not(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from faceproof.workflows.sweep import Sweep\n"
        "s = Sweep(Path(sys.argv[1])); s.__enter__(); print('in', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(FaceproofError, match=f"at work in .* already .sweep {other.pid} on"):
            Sweep(tmp_path).__enter__()
        other.kill()
    with Sweep(tmp_path):
        assert f"sweep {os.getpid()} " in (tmp_path / "sweep.lock").read_text()


def test_a_run_that_outlives_its_sweep_keeps_the_folder(tmp_path):
    lock = Lock(tmp_path / "lock")
    lock.acquire()
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()]
    ) as run:
        lock.release()
        with pytest.raises(FaceproofError, match="is at work"):
            Lock(tmp_path / "lock").acquire()
        run.kill()
    lock.acquire()
    lock.release()


def test_notes_survive_as_json(sweep):
    job = sweep.plan(("seed=0", "data.root='/a b'"), ["seed"])
    notes = json.loads((job.folder / "job.json").read_text())
    assert notes["overrides"] == ["seed=0", "data.root='/a b'"]
    assert notes["settings"] == {"seed": "0"}
