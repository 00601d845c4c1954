"""`latest`, what can be resumed, and the names that a message gives to copy."""

import logging
import os
from pathlib import Path

import pytest

from faceproof.errors import FaceproofError
from faceproof.io.newest_runs import (
    find_resumable,
    find_run,
    named_folder,
    refuse_missing,
    refuse_missing_detector,
)


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Return what makes a run with some files, each run a second younger than the one before."""
    monkeypatch.chdir(tmp_path)
    ages = iter(range(1, 100))

    def run(name, *files):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        age = next(ages)
        for file in files:
            (folder / file).touch()
            os.utime(folder / file, (age, age))

    return run


def test_the_latest_to_resume_is_the_newest_with_a_checkpoint(make):
    make("old", "last.ckpt", "best.ckpt")
    make("interrupted in its first epoch", "last.ckpt")
    make("without", "config.yaml")
    assert find_resumable("latest").path.name == "interrupted in its first epoch"
    assert find_run("latest").path.name == "old"


def test_a_wrong_name_is_answered_by_those_to_copy(make, tmp_path):
    for name in ("a", "b", "c d", "e"):
        make(name, "last.ckpt", "best.ckpt")
    for name, lacks in (("runs/x", "there is no such folder"), (".", "it has no last.ckpt")):
        with pytest.raises(FaceproofError) as refusal:
            find_resumable(name)
        assert str(refusal.value) == (
            f"resume={name} is not a run to use: {lacks}; "
            "the newest: resume=runs/e, 'resume=runs/c d', resume=runs/b"
        )
    with pytest.raises(FaceproofError, match=r"no such folder; the newest: run=runs/e, "):
        find_run("runs/x")
    with pytest.raises(FaceproofError, match=r"no folder gone; .*\(the newest runs: runs/e, "):
        refuse_missing(tmp_path, None, tmp_path.joinpath("gone").relative_to(tmp_path))


@pytest.mark.parametrize("name", ["latest", "runs/x"])
def test_where_there_is_no_run_that_is_said(make, name):
    with pytest.raises(FaceproofError, match=r"no run below runs has a last\.ckpt"):
        find_resumable(name)
    with pytest.raises(FaceproofError, match=r"train one|that faceproof train has written"):
        find_run(name)


def test_latest_is_a_name_for_a_folder_too_unless_there_is_one_of_it(make, tmp_path, caplog):
    with pytest.raises(FaceproofError, match=r"no run below runs has a best\.ckpt"):
        named_folder(Path("latest"))
    make("old", "best.ckpt")
    make("new", "best.ckpt")
    with caplog.at_level(logging.INFO):
        assert named_folder(Path("latest")) == Path("runs/new")
    assert caplog.messages == ["latest is runs/new"]
    assert named_folder(Path("runs/old")) == Path("runs/old")
    with pytest.raises(FaceproofError, match="no folder run=latest"):
        named_folder(Path("run=latest"))
    (tmp_path / "latest").mkdir()
    assert named_folder(Path("latest")) == Path("latest")


def test_a_missing_detector_is_answered_by_what_makes_one(tmp_path):
    refuse_missing_detector(tmp_path)
    with pytest.raises(FaceproofError, match="faceproof export latest --to detector"):
        refuse_missing_detector(Path("latest"))
