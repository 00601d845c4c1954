"""Searches with real processes and storages; the runs are pretended."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faceproof.errors import FaceproofError
from faceproof.workflows.search import Search, SearchConfig, open_study, search
from tests.small_postgres import needs_postgres, small_postgres, trials_of
from tests.small_programs import small_program

optuna = pytest.importorskip("optuna", reason="needs the extra sweep")
COMMAND = """
import sys
from pathlib import Path
from faceproof.workflows import search
from tests.workflows.test_search import find

search.WAIT = 0.1
find(Path(sys.argv[1]), n_trials=int(sys.argv[2]), storage=sys.argv[3] or None)
"""
STORAGES = ["study.journal", "sqlite:///study.db"]


def find(folder, low=0.0, high=1.0, num=1, program=None, space=None, **config):
    """Search for the smallest x."""
    space = space or {"x": optuna.distributions.FloatDistribution(low, high)}
    config = SearchConfig(**{"n_trials": 3, **config})
    return search(folder, space, [f"num={num}"], "val/loss", program or small_program(), config)


def leaderboard(folder):
    with (folder / "leaderboard.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def attempts(folder):
    return [len(json.loads(f.read_text())["attempts"]) for f in sorted(folder.glob("*/job.json"))]


def states(study):
    return [trial.state.name for trial in study.trials]


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("faceproof.workflows.run_process.POLL", 0.05)
    monkeypatch.setattr("faceproof.workflows.search.WAIT", 0.05)


@pytest.fixture
def begin(tmp_path):
    """Return what starts a search in a group of processes of its own."""
    started = []

    def start(n_trials=3, storage=""):
        command = [sys.executable, "-c", COMMAND, "sweep", str(n_trials), storage]
        process = subprocess.Popen(
            command, start_new_session=True, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            kill(process)


def until(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


def kill(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_search_continues_to_its_number_of_trials(tmp_path, capsys):
    assert find(tmp_path / "sweep")
    assert find(tmp_path / "sweep", n_trials=5)
    rows = leaderboard(tmp_path / "sweep")
    assert [row["status"] for row in rows] == ["finished"] * 5
    assert len({row["x"] for row in rows}) == 5
    assert attempts(tmp_path / "sweep") == [1] * 5
    said = capsys.readouterr().out
    assert "[3/3]" in said
    assert "[4/5]" in said
    assert find(tmp_path / "sweep", n_trials=5)
    assert "[" not in capsys.readouterr().out
    study = optuna.load_study(study_name="sweep", storage="sqlite:///sweep/search.db")
    assert min(float(row["x"]) for row in rows) == study.best_params["x"]
    assert study.best_value == float(rows[0]["value"])


def test_suggestions_depend_on_the_seed_alone(tmp_path):
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        find(tmp_path / name, seed=seed, n_trials=2)
    drawn = [{row["x"] for row in leaderboard(tmp_path / n)} for n in ("one", "same", "other")]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_failed_trial_is_tried_again_with_the_same_settings(tmp_path, capsys):
    Path("fail").touch()
    assert not find(tmp_path / "sweep", n_trials=2)
    assert "2 of 2 runs failed" in capsys.readouterr().out
    Path("fail").unlink()
    assert find(tmp_path / "sweep", n_trials=2)
    assert attempts(tmp_path / "sweep") == [2, 2]
    assert [row["status"] for row in leaderboard(tmp_path / "sweep")] == ["finished"] * 2


def test_a_search_that_is_killed_resumes_with_the_trial_under_way(tmp_path, begin):
    Path("hold").touch()
    first = begin()
    until(lambda: list(Path("sweep").glob("*/begun")), first)
    kill(first)
    Path("hold").unlink()
    assert find(tmp_path / "sweep")
    assert sorted(attempts(tmp_path / "sweep")) == [1, 1, 2]


def test_a_second_command_on_the_folder_s_own_study_is_refused(tmp_path, begin):
    Path("hold").touch()
    first = begin()
    until(lambda: list(Path("sweep").glob("*/begun")), first)
    with pytest.raises(FaceproofError, match="a sweep is at work in"):
        find(tmp_path / "sweep")
    kill(first)


@pytest.mark.parametrize("storage", STORAGES)
def test_commands_that_share_a_storage_work_on_one_study(tmp_path, begin, storage):
    Path("hold").touch()
    first = begin(6, storage)
    until(lambda: list(Path("sweep").glob("*/begun")), first)
    second = begin(6, storage)
    until(lambda: len(list(Path("sweep").glob("*/begun"))) == 2, second)
    Path("hold").unlink()
    for process in (first, second):
        output, _ = process.communicate()
        assert process.returncode == 0, output
        assert "finished in" in output
    rows = leaderboard(tmp_path / "sweep")
    assert [row["status"] for row in rows] == ["finished"] * 6
    assert attempts(tmp_path / "sweep") == [1] * 6


@pytest.mark.parametrize("storage", STORAGES)
def test_the_trial_of_a_killed_command_is_taken_up_by_another(tmp_path, begin, storage):
    Path("hold").touch()
    first = begin(2, storage)
    until(lambda: list(Path("sweep").glob("*/begun")), first)
    second = begin(2, storage)
    until(lambda: len(list(Path("sweep").glob("*/begun"))) == 2, second)
    kill(first)
    Path("hold").unlink()
    output, _ = second.communicate()
    assert second.returncode == 0, output
    assert sorted(attempts(tmp_path / "sweep")) == [1, 2]


@needs_postgres
def test_three_commands_begin_a_database_at_once_and_one_is_killed(tmp_path, begin):
    Path("hold").touch()
    with small_postgres() as storage:
        commands = [begin(9, storage) for _ in range(3)]
        for process in commands:
            until(lambda: len(list(Path("sweep").glob("*/begun"))) == 3, process)
        kill(commands[0])
        Path("hold").unlink()
        for process in commands[1:]:
            output, _ = process.communicate()
            assert process.returncode == 0, output
            assert "finished in" in output
        trials = trials_of(storage, "sweep")
    rows = leaderboard(tmp_path / "sweep")
    assert [row["status"] for row in rows] == ["finished"] * 9
    assert sorted(attempts(tmp_path / "sweep")) == [1] * 8 + [2]
    by_state = {name: [t for t in trials if t.state.name == name] for name in ("COMPLETE", "FAIL")}
    (lost,) = by_state["FAIL"]
    assert len(trials) == 10
    assert len({trial.params["x"] for trial in by_state["COMPLETE"]}) == 9
    (again,) = [trial for trial in trials if trial.user_attrs.get("retries") == lost.number]
    assert again.params == lost.params


def test_the_trial_of_a_lost_machine_is_taken_up_when_it_is_silent(tmp_path, monkeypatch):
    monkeypatch.setattr("faceproof.workflows.search.STALE", 1.0)
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend("study.journal")
    )
    space = {"x": optuna.distributions.FloatDistribution(0.0, 1.0)}
    study = optuna.create_study(storage=storage, study_name="sweep")
    trial = study.ask(space)  # its folder is on a disk that is not seen here
    trial.set_user_attr("folder", "x-elsewhere")
    trial.set_user_attr("alive", time.time())
    assert find(tmp_path / "sweep", n_trials=1, storage="study.journal")
    assert states(study) == ["FAIL", "COMPLETE"]
    assert study.trials[1].params == trial.params


def test_a_trial_that_ends_while_it_is_looked_at_is_not_tried_again(tmp_path, monkeypatch):
    """Another command tells its result and unlocks the folder between two looks of this one."""
    backend = optuna.storages.journal.JournalFileBackend("study.journal")
    storage = optuna.storages.JournalStorage(backend)
    study = optuna.create_study(storage=storage, study_name="sweep")
    trial = study.ask({"x": optuna.distributions.FloatDistribution(0.0, 1.0)})

    def looks_lost(search, found):
        study.tell(trial, 1.0, skip_if_finished=True)
        return True

    monkeypatch.setattr(Search, "_is_lost", looks_lost)
    assert find(tmp_path / "sweep", n_trials=1, storage="study.journal")
    assert states(study) == ["COMPLETE"]


def test_a_command_that_is_told_to_end_leaves_its_trial_to_others(tmp_path, monkeypatch):
    def end(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("faceproof.workflows.sweep.run_process", end)
        with pytest.raises(KeyboardInterrupt):
            find(tmp_path / "sweep", storage="study.journal")
    assert leaderboard(tmp_path / "sweep")[0]["status"] == "interrupted"
    assert find(tmp_path / "sweep", n_trials=1, storage="study.journal")
    assert attempts(tmp_path / "sweep") == [2]


@pytest.mark.parametrize(("pruner", "good"), [("median", 5), ("hyperband", 3)])
def test_what_is_worse_than_the_others_is_pruned_and_is_no_failure(tmp_path, capsys, pruner, good):
    folder = tmp_path / "sweep"
    assert find(folder, n_trials=good, num=5, pruner=pruner)
    options = {"low": 8.0, "high": 9.0, "num": 5, "pruner": pruner, "n_trials": good + 3}
    assert find(folder, **options)
    rows = leaderboard(folder)
    pruned = [row for row in rows if row["status"] == "pruned"]
    assert any(float(row["x"]) > 1 for row in pruned)
    assert {row["status"] for row in rows} == {"finished", "pruned"}
    best = min(float(row["x"]) for row in rows)
    for row in pruned:
        assert row["reason"].startswith(f"{pruner}: val/loss ")
        assert float(row["x"]) > best  # of the good ones too, the worse may be pruned
        assert len((folder / row["folder"] / "metrics.csv").read_text().splitlines()) < 6
    assert f"{len(pruned)} of {good + 3} runs pruned" in capsys.readouterr().out
    assert find(folder, **options)  # nothing is tried again
    assert attempts(folder) == [1] * (good + 3)


def test_pruning_needs_processes_of_this_machine(tmp_path):
    program = small_program(launch=lambda runs: [""] * len(runs))
    with pytest.raises(FaceproofError, match="pruner=median stops processes of this machine"):
        find(tmp_path, program=program, pruner="median")


def test_a_launcher_trains_the_trials_too(tmp_path):
    here = small_program()

    def launch(runs):
        for words, folder in runs:
            subprocess.run(here.train(words, folder), check=True)
        return [""] * len(runs)

    assert find(tmp_path, program=small_program(launch=launch), n_trials=2)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"n_trials": 0}, "n_trials = 0 must be a count from 1 on"),
        ({"pruner": "medain"}, "hydra.sweeper.pruner = 'medain' is not known; did you mean median"),
        ({"storage": "nosuch://user:secret@host/name"}, "storage of the study cannot be opened"),
        ({"storage": "sqlite:////nowhere/at/all.db"}, "storage of the study cannot be opened"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, config, message):
    with pytest.raises(FaceproofError, match=message) as refused:
        find(tmp_path, **config)
    assert "secret" not in str(refused.value)


def test_a_study_of_other_values_or_another_metric_is_not_mixed_with(tmp_path):
    choices = optuna.distributions.CategoricalDistribution
    find(tmp_path / "a", n_trials=1, storage="s.journal", study_name="s")
    with pytest.raises(FaceproofError, match="searches for val/loss, not for val/f1"):
        search(
            tmp_path / "a", {"x": choices(["1"])}, [], "val/f1", small_program(),
            SearchConfig(storage="s.journal", study_name="s"),
        )  # fmt: skip
    find(tmp_path / "b", n_trials=1, space={"x": choices(["1", "2"])})
    with pytest.raises(FaceproofError, match="searched among other values before"):
        find(tmp_path / "b", n_trials=2, space={"x": choices(["3", "4"])})


def test_there_must_be_something_to_search(tmp_path):
    with pytest.raises(FaceproofError, match="nothing to search"):
        search(tmp_path, {}, [], "val/loss", small_program(), SearchConfig())


@pytest.mark.parametrize("name", ["what?", "no#1", "{a}", "100%", "plain", "a b?ä%3F"])
def test_a_study_lies_in_the_folder_whatever_its_name(tmp_path, name):
    """In an address of SQLAlchemy's what follows ? are options."""
    folder = tmp_path / name
    folder.mkdir()
    for _ in range(2):
        open_study(folder, "val/loss", SearchConfig())
    assert [file.name for file in folder.iterdir()] == ["search.db"]
    assert [file.name for file in tmp_path.iterdir()] == [name]
