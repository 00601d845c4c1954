"""The short form of `python -m tests.stress.soak`: processes that are really killed."""

import sys

import pytest

from tests.stress import soak


def test_killed_runs_end_as_the_one_that_was_not(monkeypatch, capsys):
    """One is killed in training, one as it writes a checkpoint."""
    monkeypatch.setattr(sys, "argv", ["soak", "--kills", "2", "--seed", "3"])
    with pytest.raises(SystemExit) as end:
        soak.main()
    assert "2 of 2 runs ended bit for bit" in capsys.readouterr().out
    assert end.value.code == 0
