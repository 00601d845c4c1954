import csv
import re

import pytest

from faceproof.workflows.sweep import COMPARE, sweep
from tests.small_programs import small_program

RUNS = [("x=0.3", "num=1"), ("x=0.1", "num=1"), ("x=bad", "num=1")]


def leaderboard(folder):
    with (folder / "leaderboard.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_runs_of_plain_words_are_trained_once_and_fail_alone(tmp_path, capsys):
    folder = tmp_path / "sweep"
    assert not sweep(folder, RUNS, ["x"], small_program())
    said = capsys.readouterr().out
    assert "1 of 3 runs failed" in said
    assert "[2/3] x-0.1: finished in " in said
    assert re.search(r"^about \d+ s left, for 2 more runs$", said, re.M)
    assert said.splitlines()[-4:] == [
        "next:", "  faceproof evaluate run=sweep/x-0.1", f"  {COMPARE}",
        "  tensorboard --logdir sweep",
    ]  # fmt: skip
    assert re.search(r"^about \d+ s left, for 1 more run$", said, re.M)
    rows = leaderboard(folder)
    assert [row["status"] for row in rows] == ["finished", "finished", "failed"]
    assert [row["x"] for row in rows] == ["0.1", "0.3", "bad"]
    assert "could not convert string to float" in rows[2]["reason"]
    assert sweep(folder, RUNS[:2], ["x"], small_program())
    assert capsys.readouterr().out.count("finished before") == 2


def test_code_that_the_runs_may_use_is_allowed_in_the_next_command(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FACEPROOF_ALLOW", "my_networks")
    sweep(tmp_path, RUNS[:1], ["x"], small_program())
    said = capsys.readouterr().out.splitlines()
    assert said[-2] == "  faceproof evaluate run=x-0.3 --allow my_networks"  # nothing to compare


def test_what_makes_no_run_is_not_started(tmp_path):
    program = small_program(check=lambda words: "no such setting" if "x=0.1" in words else "")
    assert not sweep(tmp_path, RUNS[:2], ["x"], program)
    assert [row["reason"] for row in leaderboard(tmp_path)] == ["", "no such setting"]
    assert not (tmp_path / "x-0.1" / "begun").exists()


def test_finished_runs_are_evaluated_once_and_compared(tmp_path, capsys):
    compared = []

    def compare(runs, folder):
        compared.append((runs, folder))
        return folder / "page.html"

    program = small_program(compare=compare)
    for times in (2, 0):
        sweep(tmp_path, RUNS, ["x"], program, compare=True)
        said = capsys.readouterr().out
        assert said.count("is evaluated on the test split") == times
        assert said.splitlines()[-3:-1] == ["next:", "  open comparison/page.html in a browser"]
    runs = [tmp_path / "x-0.3", tmp_path / "x-0.1"]
    assert compared == [(runs, tmp_path / "comparison")] * 2


def test_a_launcher_takes_what_is_to_do_and_says_what_failed(tmp_path, capsys):
    taken = []

    def launch(runs):
        taken.extend(runs)
        return ["the node was lost"] * len(runs)

    sweep(tmp_path, RUNS[:1], ["x"], small_program())
    assert not sweep(tmp_path, RUNS[:2], ["x"], small_program(launch=launch))
    assert taken == [(("x=0.1", "num=1"), tmp_path / "x-0.1")]
    assert [row["reason"] for row in leaderboard(tmp_path)] == ["", "the node was lost"]
