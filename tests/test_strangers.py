"""The short form of `python -m tests.stress.strangers`, and what it must have tried."""

import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from faceproof.reports import report
from tests.stress.strangers import SECRET, World, check

# Mutations for each command, 500 in all; more of those that are done sooner.
NUMBERS = {
    "predict": 150, "export": 110, "export_ensemble": 60, "ensemble": 90, "explain": 30,
    "evaluate": 20, "compare": 20, "evaluate_ensemble": 10, "resume": 10,
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("strangers").resolve())


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Draw the plots empty: they take most of the time, and show what the numbers say."""
    template = (Path(report.__file__).parent / "templates/report.html.j2").read_text("utf-8")
    plots = dict.fromkeys(re.findall(r'plot\("(\w+)"', template), Figure(figsize=(1, 1)))
    monkeypatch.setattr(report, "draw", lambda *_: plots)
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", NUMBERS)
def test_whatever_a_stranger_sends_ends_in_words_and_stays_in_its_place(world, quick, command):
    found = check(world, command, NUMBERS[command], seed=1000)
    assert found["refused"] >= NUMBERS[command] // 5  # else hardly anything was changed
    assert not list(Path.cwd().iterdir())


def test_there_are_five_hundred():
    assert sum(NUMBERS.values()) == 500
