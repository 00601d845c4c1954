"""Logs hold what prints, in a file of the run's own."""

import logging
import os
from pathlib import Path

import pytest

from faceproof.errors import FaceproofError
from faceproof.io.logs import OwnFileHandler, PlainFormatter


def record(message: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord("x", logging.WARNING, "f", 1, message, values, None)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("\x1b[2Ja.jpg", r"\x1b[2Ja.jpg"),
        ("a\u202egpj.exe", r"a\u202egpj.exe"),
        ("a\rb", r"a\rb"),
        ("Gesicht ä.jpg", "Gesicht ä.jpg"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(name: str, written: str) -> None:
    assert (
        PlainFormatter("%(message)s").format(record("%s left out", name)) == f"{written} left out"
    )


def test_lines_stay_lines() -> None:
    assert PlainFormatter("%(message)s").format(record("a\nb")) == "a\nb"


def test_a_log_is_appended_to(tmp_path: Path) -> None:
    for word in ("first", "second"):
        handler = OwnFileHandler(tmp_path / "train.log", encoding="utf-8")
        handler.setFormatter(PlainFormatter("%(message)s"))
        handler.handle(record(word))
        handler.close()
    assert (tmp_path / "train.log").read_text().splitlines() == ["first", "second"]


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="takes links that are not followed")
def test_a_link_to_a_file_of_the_users_is_not_written_to(tmp_path: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text("mine")
    (tmp_path / "train.log").symlink_to(own)
    with pytest.raises(FaceproofError, match="is a link or no plain file"):
        OwnFileHandler(tmp_path / "train.log")
    assert own.read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="takes pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "train.log")
    with pytest.raises(FaceproofError, match="is a link or no plain file"):
        OwnFileHandler(tmp_path / "train.log")
