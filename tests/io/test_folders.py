"""Folders as messages name them; one is replaced whole only if nothing of the user's is in it."""

import os
from pathlib import Path

import pytest

from faceproof.errors import FaceproofError
from faceproof.io.folders import from_here, refuse_foreign_folder
from faceproof.io.left_behind import holds_nothing
from faceproof.io.run_folder import RunFolder

OURS = ("report.json", "plots/*.png")


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
    assert using == {"folders.py", "layout.py", "places.py"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out" / "plots").mkdir(parents=True)
    for name in ("report.json", "plots/a.png"):
        (tmp_path / "out" / name).touch()
    return tmp_path / "out"


@pytest.mark.parametrize(
    "name", [".DS_Store", "plots/Thumbs.db", "desktop.ini", "Icon\r", "report.json:Zone.Identifier",
             "plots/._a.png", "@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg", "__MACOSX/x"],
)  # fmt: skip
def test_what_systems_leave_in_it_is_in_nobodys_way(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    before = sorted(folder.rglob("*"))
    refuse_foreign_folder(folder, OURS)
    assert sorted(folder.rglob("*")) == before  # and it is left where it is


@pytest.mark.parametrize("name", ["notes.txt", "plots/mine.jpg", "a.png", "notes.txt~", "x.lnk"])
def test_what_is_the_users_is_named(folder: Path, name: str) -> None:
    (folder / name).touch()
    with pytest.raises(FaceproofError, match="holds what faceproof has not written there"):
        refuse_foreign_folder(folder, OURS)


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "desktop.ini", "Icon\r", "._x"])
def test_a_folder_that_somebody_has_looked_into_is_empty(tmp_path: Path, name: str) -> None:
    assert holds_nothing(tmp_path)
    (tmp_path / name).touch()
    assert holds_nothing(tmp_path)
    refuse_foreign_folder(tmp_path, OURS)
    (tmp_path / "mine.txt").touch()
    assert not holds_nothing(tmp_path)
    with pytest.raises(FaceproofError, match="holds something else"):
        refuse_foreign_folder(tmp_path, OURS)
