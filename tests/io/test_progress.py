import io

import pytest

from faceproof.io.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_is_shown_on_a_terminal_and_nothing_in_a_log(monkeypatch):
    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr("sys.stdout", stream)
        assert list(progress(iter("abc"), "counting", 3)) == ["a", "b", "c"]
        assert ("counting" in stream.getvalue()) == shown


def test_what_fails_under_a_bar_fails(monkeypatch):
    monkeypatch.setattr("sys.stdout", Terminal())
    with pytest.raises(ZeroDivisionError):
        list(progress((1 // number for number in (1, 0)), "dividing"))
