"""The short form of `python -m tests.stress.soak`: processes that are really killed."""

import sys

import pytest

from tests.stress import soak


@pytest.mark.parametrize("kills", [1, pytest.param(2, marks=pytest.mark.long)])
def test_killed_runs_end_as_the_one_that_was_not(monkeypatch, capsys, kills):
    """The first is killed in training, the second as it writes a checkpoint."""
    monkeypatch.setattr(sys, "argv", ["soak", "--kills", str(kills), "--seed", "3"])
    with pytest.raises(SystemExit) as end:
        soak.main()
    assert f"{kills} of {kills} runs ended bit for bit" in capsys.readouterr().out
    assert end.value.code == 0
