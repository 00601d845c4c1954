import io
import logging
import sys
from types import SimpleNamespace

import pytest

from faceproof.io import progress as module
from faceproof.io.progress import log_progress, progress, time_left


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
    clock = iter([0.0, 4.0, 6.0, 7.0, 12.0])
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with caplog.at_level(logging.INFO):
        assert list(progress("abcd", "counting")) == list("abcd")
    assert caplog.messages == [
        "counting: 2 of 4, about 4 s left", "counting: 4 of 4, about 0 s left"
    ]  # fmt: skip


def test_a_notebook_has_one_line_that_is_drawn_again(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr("sys.stdout", shown)
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    clock = iter([0.0, 4.0, 4.1, 6.0, 6.1])  # item 1 at 4 s; two more in 2 s
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    assert list(progress("abcd", "counting")) == list("abcd")
    states = shown.getvalue().split("\r")
    assert states == [
        "", "counting: 1 of 4", "counting: 3 of 4, about 1 s left",
        "counting: 4 done                \n",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (119, "119 s"), (121, "2 min"), (7199, "120 min"), (7201, "2 h")],
)
def test_time_left_is_told_in_a_unit_of_its_size(seconds, words):
    assert time_left(seconds) == f"about {words} left"


def test_what_fails_under_a_bar_fails(monkeypatch):
    monkeypatch.setattr("sys.stdout", Terminal())
    with pytest.raises(ZeroDivisionError):
        list(progress((1 // number for number in (1, 0)), "dividing"))


def test_what_counts_for_several_is_counted_so(monkeypatch, caplog):
    clock = iter([0.0, 4.0, 6.0])
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with caplog.at_level(logging.INFO):
        assert list(log_progress(["ab", "cde"], "letters", size=len)) == ["ab", "cde"]
    assert caplog.messages == ["letters: 5"]


def test_the_first_item_which_loads_what_all_need_is_no_measure_of_the_others(monkeypatch, caplog):
    monkeypatch.setattr("sys.stdout", io.StringIO())
    clock = iter([0.0, 20.0, 20.2, 25.4])
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with caplog.at_level(logging.INFO):
        list(progress("abc", "counting", 80))
    assert caplog.messages == ["counting: 1 of 80", "counting: 3 of 80, about 3 min left"]


def test_a_finished_bar_says_that_its_time_is_what_it_took(monkeypatch):
    shown = Terminal()
    monkeypatch.setattr("sys.stdout", shown)
    assert list(progress("abc", "counting")) == ["a", "b", "c"]
    assert "took 0:00:0" in shown.getvalue()
