import io
import logging
from types import SimpleNamespace

import pytest

from faceproof.io import progress as module
from faceproof.io.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_shown_on_a_terminal_alone(monkeypatch):
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr("sys.stdout", stream)
        assert list(progress(iter("abc"), "counting", 3)) == ["a", "b", "c"]
        assert ("counting" in stream.getvalue()) == shown


def test_a_log_has_a_line_now_and_then_with_the_time_left(monkeypatch, caplog):
    monkeypatch.setattr("sys.stdout", io.StringIO())
    clock = iter([0.0, 4.0, 11.0, 12.0, 22.0])
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with caplog.at_level(logging.INFO):
        assert list(progress("abcd", "counting")) == list("abcd")
    assert caplog.messages == [
        "counting: 2 of 4, about 11 s left", "counting: 4 of 4, about 0 s left"
    ]  # fmt: skip


def test_what_fails_under_a_bar_fails(monkeypatch):
    monkeypatch.setattr("sys.stdout", Terminal())
    with pytest.raises(ZeroDivisionError):
        list(progress((1 // number for number in (1, 0)), "dividing"))
