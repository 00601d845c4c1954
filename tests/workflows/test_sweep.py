import csv
import re
import sys

import pytest

from faceproof.workflows.sweep import COMPARE, sweep
from faceproof.workflows.sweep_folder import SweepFolder, setting_of
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


SEEDS = [(f"x={x}", "num=1", f"seed={seed}") for x in (0.3, 0.1) for seed in (0, 1)]


def test_seeds_are_told_by_their_mean_and_none_is_called_the_best(tmp_path, capsys):
    sweep(tmp_path, SEEDS, ["x", "seed"], small_program())
    said = capsys.readouterr().out
    assert "4 finished runs of 2 configurations; mean over seeds and standard" in said
    rows = re.findall(r"│ (0\.\d) *│ (\d) *│ val/loss ([\d.]+) ± 0\.0000 \(", said)
    assert rows == [("0.1", "2", "1.1000"), ("0.3", "2", "1.3000")]
    assert "best on validation" not in said
    assert "faceproof evaluate" not in said
    sweep(tmp_path, SEEDS[:1], ["x"], small_program())
    assert "best on validation" not in capsys.readouterr().out


def test_the_best_of_runs_of_one_seed_is_named(tmp_path, capsys):
    sweep(tmp_path, RUNS[:2], ["x"], small_program())
    assert "best on validation: x-0.1" in capsys.readouterr().out


def test_runs_of_a_data_set_that_refuses_itself_are_not_tried(tmp_path, capsys):
    refusing = [("x=0.3", "data=a"), ("x=0.1", "data=a"), ("x=0.2", "data=b"), ("x=0.5", "data=a")]
    said = "the set cannot be used"

    def train(words, folder):
        code = f"import sys; sys.exit('error: {said}')"
        return [sys.executable, "-c", code]

    def check_data(words):
        return said if "data=a" in words else ""

    assert not sweep(tmp_path, refusing, ["x"], small_program(train=train, check_data=check_data))
    printed = capsys.readouterr().out
    assert "2 more runs have the same data and would fail alike; not tried" in printed
    assert printed.count(": runs (") == 2  # the first of data=a, and data=b
    assert [row["reason"] for row in leaderboard(tmp_path)] == [said] * 4
    assert sweep(tmp_path, refusing, ["x"], small_program())  # all are tried again


def test_a_run_that_fails_by_itself_ends_no_other(tmp_path):
    asked = []
    program = small_program(check_data=lambda words: asked.append(words) or "")
    sweep(tmp_path, [("x=bad", "num=1"), ("x=0.1", "num=1")], ["x"], program)
    assert asked == [("x=bad", "num=1")]
    assert [row["status"] for row in leaderboard(tmp_path)] == ["finished", "failed"]


def test_what_one_sweep_varies_is_told_of_the_runs_of_others(tmp_path):
    sweep(tmp_path, [("x=0.3", "num=1")], ["x"], small_program())
    sweep(tmp_path, [("x=0.1", "num=2"), ("x=0.2", "num=3")], ["num"], small_program())
    rows = leaderboard(tmp_path)
    assert {(row["x"], row["num"]) for row in rows} == {("0.3", "1"), ("0.1", "2"), ("0.2", "3")}


def test_a_default_that_another_sweep_varies_is_told_too(tmp_path):
    sweep(tmp_path, [("x=0.3",)], ["x"], small_program())
    job = SweepFolder(tmp_path).jobs()[0]
    job.run.config.write_text("model: {name: a}\ndata: {}\nseed: 7\nema: null\n")
    job.run.update_record(choices={"model": "resnet18"})
    found = [setting_of(job, key) for key in ("seed", "model", "ema", "x", "other")]
    assert found == ["7", "resnet18", "null", "0.3", ""]
