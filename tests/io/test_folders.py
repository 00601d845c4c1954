"""Folders as messages name them."""

import os
from pathlib import Path

from faceproof.io.folders import from_here
from faceproof.io.run_folder import RunFolder


def test_a_path_is_named_from_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Path(from_here(tmp_path / "runs" / "one")) == Path("runs", "one")


def test_on_another_drive_of_windows_a_path_is_absolute(tmp_path, monkeypatch):
    """There is no way from one drive to another: Python raises ValueError."""

    def relpath(path, start=None):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(os.path, "relpath", relpath)
    assert from_here(tmp_path) == str(tmp_path)
    assert RunFolder(tmp_path / "run").argument("run") == f"run={(tmp_path / 'run').as_posix()}"


def test_every_path_that_is_shown_is_made_so():
    """`relpath` elsewhere is between a folder and what lies below it."""
    source = Path(__file__).parents[2] / "src"
    using = {
        file.name for file in source.rglob("*.py") if "os.path.relpath(" in file.read_text("utf-8")
    }
    assert using == {"folders.py", "layout.py"}
