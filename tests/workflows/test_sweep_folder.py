import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceproof.errors import FaceproofError
from faceproof.settings import NAME
from faceproof.words import for_hydra
from faceproof.workflows.sweep_folder import SweepFolder, run_name, sweep_name

SETTINGS = st.dictionaries(
    st.sampled_from(["model", "seed", "optimizer.lr", "scheduler.lr", "+a.b"]),
    st.text(st.characters(codec="utf-8"), max_size=12),
    min_size=1,
)
HOLD = """
import sys, time
from pathlib import Path
from faceproof.workflows.run_process import run_process
from faceproof.words import for_hydra
from faceproof.workflows.sweep_folder import SweepFolder

with SweepFolder(Path(sys.argv[1])) as sweep:
    print("in", flush=True)
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    run_process([sys.executable, "-uc", code], Path(sys.argv[1], "log"), sweep.lock)
"""


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
    with SweepFolder(tmp_path / "sweep") as entered:
        yield entered


@given(SETTINGS, SETTINGS)
def test_names_of_runs_are_distinct_and_harmless(one, other):
    assert (run_name(one) == run_name(other)) == (one == other)
    assert set(run_name(one)) <= set("+-._") | set(map(chr, range(48, 123))) - set(":;<=>?@[]^`\\")


def test_names_of_runs_are_names_on_windows_too():
    assert run_name({"model": "x"}) == "model-x"
    dotted = run_name({"model": "x."})
    assert NAME.fits(dotted)
    assert dotted != run_name({"model": "x"})


def test_the_name_of_a_sweep_depends_on_the_command_alone():
    words = ["model=resnet18,effnet_b0", "data.root=/a/b", "freeze=head_only"]
    name = sweep_name(words)
    assert name.startswith("model-resnet18-effnet_b0+freeze-head_only_")
    assert sweep_name(reversed(words)) == name
    assert sweep_name([*words, "seed=1"]) != name
    assert len(sweep_name([f"group{n}=choice_number_{n}" for n in range(50)])) < 80


def test_the_best_of_the_finished_is_first_and_the_others_say_why(sweep):
    for seed, value in enumerate([0.5, 0.2, 0.9]):
        job = sweep.plan(("model=a", f"seed={seed}"), ["seed"])
        assert sweep.start(job) == job.overrides
        finish(job, value)
        sweep.end(job, "", 1.5)
    failed = sweep.plan(("model=a", "seed=3"), ["seed"])
    sweep.start(failed)
    sweep.end(failed, "it broke\nhere" + "!" * 999, 1.0)
    sweep.plan(("model=a", "seed=4"), ["seed"])
    pruned = sweep.plan(("model=a", "seed=5"), ["seed"])
    sweep.start(pruned)
    sweep.end(pruned, "median", 1.0, "pruned")
    sweep.write_leaderboard()
    found = rows(sweep)
    assert [row["seed"] for row in found] == ["1", "0", "2", "5", "3", "4"]
    statuses = ["finished"] * 3 + ["pruned", "failed", "waiting"]
    assert [row["status"] for row in found] == statuses
    assert found[0]["value"] == found[0]["val/loss"] == "0.2"
    assert found[0]["folder"] == "seed-1"
    assert found[3]["reason"] == "median"
    assert found[4]["reason"].startswith("it broke here!!!")
    assert len(found[4]["reason"]) == 300
    assert "train/loss" not in found[0]
    assert not list(sweep.path.glob("*.partial*"))
    assert list(found[0])[:3] == ["seed", "status", "value"]  # what was varied stands first
    assert (found[0]["best_epoch_from_1"], found[0]["epochs"]) == ("2", "2")
    assert sweep.best_first()[0] == sweep.plan(("model=a", "seed=1"), ["seed"])
    assert "in epoch 2" in sweep.best_first()[0].describe()


def test_metrics_for_which_more_is_better_are_sorted_so(sweep):
    for seed, value in enumerate([0.5, 0.9]):
        job = sweep.plan((f"seed={seed}",), ["seed"])
        sweep.start(job)
        finish(job, value, "val/roc_auc")
        sweep.end(job, "")
    sweep.write_leaderboard()
    assert [row["seed"] for row in rows(sweep)] == ["1", "0"]


def test_a_run_resumes_from_its_last_checkpoint_or_begins_anew(sweep):
    job = sweep.plan(("seed=0",), ["seed"])
    sweep.start(job)
    job.run.update_record(status="running")
    for name in ("output.log", "job.lock"):
        (job.folder / name).write_text("first")
    (job.folder / "evaluations").mkdir()
    assert sweep.start(job) == ("seed=0",)
    left = sorted(entry.name for entry in job.folder.iterdir())
    assert left == ["job.json", "job.lock", "output.log"]
    for file in (job.run.config, job.run.last, job.run.samples):
        file.touch()
    assert sweep.start(job) == (f"resume={for_hydra(str(job.folder))}",)
    assert job.run.last.is_file()
    assert len(job.read().attempts) == 3


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
    with SweepFolder(sweep.path) as again:
        again.write_leaderboard()
        assert rows(again)[0]["status"] == "interrupted"


def test_two_commands_in_one_folder_do_not_take_each_others_runs(sweep):
    one = sweep.plan(("model=a", "seed=0"), ["seed"])
    other = sweep.plan(("model=b", "seed=0"), ["seed"])
    assert one.folder != other.folder
    assert sweep.plan(("seed=0", "model=b"), ["seed"]).folder == other.folder
    assert {job.folder for job in sweep.jobs()} == {one.folder, other.folder}


def pid_of_run(log, other):
    """Return the number of the process that a sweep has started, as soon as its log tells it."""
    while True:
        text = log.read_text() if log.exists() else ""
        words = text.partition("sleep(600)\n")[2]
        if "\n" in words:
            return int(words)
        assert other.poll() is None
        time.sleep(0.02)


def test_a_second_sweep_waits_for_the_first_and_for_a_run_that_outlives_it(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout.readline() == b"in\n"
            busy = rf"at work in .* already \(sweep {other.pid}\b.*hydra\.sweep\.dir"
            with pytest.raises(FaceproofError, match=busy), SweepFolder(tmp_path):
                pass
            run = pid_of_run(tmp_path / "log", other)
        finally:
            other.kill()
            other.wait()
        with pytest.raises(FaceproofError, match="and its run"), SweepFolder(tmp_path):
            pass
        os.kill(run, signal.SIGKILL)
    lock = SweepFolder(tmp_path).lock
    lock.acquire(wait=True)  # the system needs a moment
    lock.release()
    with SweepFolder(tmp_path):
        assert f"sweep {os.getpid()} " in (tmp_path / "sweep.lock").read_text()


def test_in_a_shared_folder_each_run_is_locked_by_itself(tmp_path):
    with SweepFolder(tmp_path, shared=True) as one, SweepFolder(tmp_path, shared=True) as other:
        job = one.plan(("seed=0",), ["seed"])
        assert other.plan(("seed=0",), ["seed"]) == job
        with one.working_on(job):
            one.start(job)
            assert not other.is_abandoned(job)
            with SweepFolder(tmp_path, shared=True):  # leaves the run alone
                assert job.read().status == "running"
        assert other.is_abandoned(job)


def test_notes_survive_as_json(sweep):
    job = sweep.plan(("seed=0", "data.root='/a b'"), ["seed"])
    notes = json.loads((job.folder / "job.json").read_text())
    assert notes["overrides"] == ["seed=0", "data.root='/a b'"]
    assert notes["settings"] == {"seed": "0"}


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "[" * 200_000, " " * 2_000_000, "{}", '{"overrides": "rm"}',
        json.dumps({"overrides": [], "settings": {}, "status": "odd", "reason": "",
                    "attempts": [], "seconds": 0}),
        json.dumps({"overrides": [5], "settings": {}, "status": "waiting", "reason": "",
                    "attempts": [], "seconds": 0}),
    ],
    ids=range(8),
)  # fmt: skip
def test_notes_of_a_stranger_are_read_as_data(sweep, text):
    job = sweep.plan(["model=a", "seed=1"], ["model"])
    (job.folder / "job.json").write_text(text)
    with pytest.raises(FaceproofError, match=r"job\.json (is damaged|has 2,000,000 bytes)"):
        job.read()


def test_words_that_do_not_print_are_those_of_the_command(sweep):
    """Escaped, they would be another run's."""
    words = ["model=a", "data.root=a\u00a0b\tc"]
    job = sweep.plan(words, ["model"])
    assert job.read().overrides == tuple(words)
    assert sweep.plan(words, ["model"]) == job


def test_notes_that_are_a_link_are_refused(sweep, tmp_path):
    job = sweep.plan(["model=a"], ["model"])
    (job.folder / "job.json").rename(tmp_path / "elsewhere.json")
    (job.folder / "job.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(FaceproofError, match="is a link or no plain file"):
        job.read()
