"""The short form of `python -m tests.stress.strangers`, and what it must have tried."""

from pathlib import Path

import pytest

from tests.jobs import empty_plots
from tests.stress.strangers import SECRET, World, check

# Mutations for each command, 500 in all; more of those that are done sooner.
NUMBERS = {
    "predict": 190, "export": 120, "export_ensemble": 50, "ensemble": 95, "explain": 15,
    "evaluate": 10, "compare": 10, "evaluate_ensemble": 5, "resume": 5,
}  # fmt: skip
LONG = dict.fromkeys(NUMBERS, 150)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("strangers").resolve())


@pytest.fixture
def quick(monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.chdir(tmp_path)
    with empty_plots():
        yield


@pytest.mark.parametrize("command", NUMBERS)
def test_whatever_a_stranger_sends_ends_in_words_and_stays_in_its_place(
    world, quick, command, is_long
):
    number = (LONG if is_long else NUMBERS)[command]
    found = check(world, command, number, seed=1000)
    assert found["refused"] >= number // 5  # else hardly anything was changed
    assert not list(Path.cwd().iterdir())


def test_there_are_five_hundred():
    assert sum(NUMBERS.values()) == 500
