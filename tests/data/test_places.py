"""Folders and tables that are not there are refused before anything is listed."""

import pytest

from faceproof.data.combined import CombinedData
from faceproof.data.listing import FolderData, TableData
from faceproof.data.places import check_places
from faceproof.errors import FaceproofError


def folder(root):
    return FolderData("x", "deepfake", str(root), "{label}/*", {"real": "real", "fake": "fake"})


def test_what_is_there_is_not_looked_into(tmp_path):
    """An empty folder and an empty table are there; listing them is what refuses them."""
    (tmp_path / "images.csv").touch()
    table = TableData("t", "deepfake", str(tmp_path / "images.csv"))
    check_places({"data": folder(tmp_path), "data.sets.t": table})
    for source in (folder(tmp_path), table):
        with pytest.raises(FaceproofError):
            source.list()


def test_what_is_not_there_is_named_with_its_setting(tmp_path):
    with pytest.raises(FaceproofError, match=r"(?s)there is no folder .*gone.*set data\.root"):
        check_places({"data": folder(tmp_path / "gone")})
    table = TableData("t", "deepfake", str(tmp_path / "gone.csv"))
    with pytest.raises(FaceproofError, match=r"no image table at .*gone\.csv; set data\.file"):
        check_places({"data": table})
    both = CombinedData("c", "deepfake", {"a": folder(tmp_path), "b": folder(tmp_path / "gone")})
    with pytest.raises(FaceproofError, match=r"set data\.sets\.b\.root"):
        check_places({"data": both})


def test_the_name_of_a_file_is_no_setting(tmp_path):
    sets = {"mine": TableData("mine", "deepfake", str(tmp_path / "data.csv"))}
    with pytest.raises(FaceproofError) as refusal:
        check_places({"data": CombinedData("both", "deepfake", sets)})
    assert str(tmp_path / "data.csv") in str(refusal.value)
    assert "data.sets.mine.csv" not in str(refusal.value)
