"""Which files are judged: folders, patterns, lists and standard input."""

import io
import os
import shutil
from pathlib import Path

import pytest

from faceproof.errors import FaceproofError
from faceproof.inference.inputs import list_images
from tests.conftest import write_images


@pytest.fixture
def images(tmp_path):
    """Three images of each kind in folders, and what else lies about in them."""
    write_images(tmp_path / "photos", ["a.jpg", "b.JPG"])
    write_images(tmp_path / "photos" / "deep" / "er", ["c.jpeg"], face=True)
    write_images(tmp_path / "photos" / ".thumbs", ["hidden.jpg"])
    (tmp_path / "photos" / "notes.md").write_text("no image")
    shutil.copy(tmp_path / "photos" / "a.jpg", tmp_path / "photos" / ".hidden.jpg")
    return tmp_path / "photos"


def names(words):
    return sorted(Path(path).name for path in list_images([str(word) for word in words]))


def test_folders_patterns_and_files_are_listed(images):
    assert names([images]) == ["a.jpg", "b.JPG", "c.jpeg"]
    assert names([images / "a.jpg", images / "notes.md"]) == ["a.jpg", "notes.md"]
    assert names([f"{images}/*"]) == ["a.jpg", "b.JPG", "c.jpeg"]
    assert names([f"{images}/**/*.jp*g"]) == ["a.jpg", "c.jpeg"]
    assert names([f"{images}/**"]) == ["a.jpg", "b.JPG", "c.jpeg"]


def test_lists_are_relative_to_themselves(images, monkeypatch):
    (images / "list.txt").write_text("a.jpg\r\n\ndeep/er/c.jpeg\n")
    (images / "list.csv").write_text('label,path\nx,"b.JPG"\ny,/absolute/z.png\n')
    assert names([images / "list.txt"]) == ["a.jpg", "c.jpeg"]
    listed = list(list_images([str(images / "list.csv")]))
    assert listed == [str(images / "b.JPG"), "/absolute/z.png"]
    (images / "list.csv").write_text("file\nx\n")
    with pytest.raises(FaceproofError, match="has no column path; found file"):
        names([images / "list.csv"])


def test_standard_input_is_a_path_a_line(monkeypatch):
    lines = io.TextIOWrapper(io.BytesIO(b"a b.jpg\n\nodd-\xff.jpg\r\n"))
    monkeypatch.setattr("sys.stdin", lines)
    assert [os.fsencode(path) for path in list_images(["-"])] == [b"a b.jpg", b"odd-\xff.jpg"]


def test_what_names_nothing_is_refused_at_once(tmp_path):
    for words in ([str(tmp_path / "gone.jpg")], [f"{tmp_path}/*.png"]):
        with pytest.raises(FaceproofError, match="there is no file or folder"):
            list_images(words)
    with pytest.raises(FaceproofError, match="name images, folders"):
        list_images([])
