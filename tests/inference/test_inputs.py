"""Which files are judged: folders, patterns, lists and standard input."""

import io
import os
import shutil
import unicodedata
from pathlib import Path

import pytest

from faceproof.data.kinds import LeftOut
from faceproof.data.layout import list_folder
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


def test_what_listednothing_is_refused_at_once(tmp_path):
    for words in ([str(tmp_path / "gone.jpg")], [f"{tmp_path}/*.png"]):
        with pytest.raises(FaceproofError, match="there is no file or folder"):
            list_images(words)
    with pytest.raises(FaceproofError, match="name images, folders"):
        list_images([])


def told(words):
    left_out = LeftOut()
    found = sorted(Path(path).name for path in list_images([str(word) for word in words], left_out))
    return found, str(left_out) if left_out else ""


def test_what_a_folder_holds_besides_is_counted(images, monkeypatch):
    monkeypatch.setattr("faceproof.data.kinds._installed", frozenset)
    found, line = told([images])
    assert found == ["a.jpg", "b.JPG", "c.jpeg"]
    assert "1 file of other kinds ('notes.md')" in line
    assert "1 hidden folder" in line
    for name in ("a.jpg:Zone.Identifier", "Thumbs.db", "Icon\r", "c.jpg~"):
        shutil.copy(images / "a.jpg", images / name)
    for name in ("d.heic", "e.jp2", "clip.mp4", "grey.pgm", "noending"):
        shutil.copy(images / "a.jpg", images / name)
    for words in ([images], [f"{images}/*"]):
        found, line = told(words)
        assert [*{"clip.mp4", "grey.pgm", "noending"} - {*found}] == []
        assert not {"d.heic", "e.jp2", "c.jpg~", "a.jpg:Zone.Identifier"} & {*found}
        assert "1 HEIC file" in line
        assert "pip install 'faceproof[heif]'" in line
        assert "1 JPEG 2000 file" in line


def test_training_and_judging_take_the_same_files_of_a_folder(images):
    for name in ("grey.pgm", "noending", "x.jp2", "x.heic", "x.tga", "x.jpg.bak", "x.jfif"):
        shutil.copy(images / "a.jpg", images / name)
    trained = list_folder(images, "**", {}, {}, {})["path"]
    assert trained == sorted(Path(path).relative_to(images).as_posix() for path in
                             list_images([str(images)]))  # fmt: skip


def test_what_systems_leave_is_not_judged_from_lists_either(images, monkeypatch):
    listed = [
        "a.jpg",
        "a.jpg:Zone.Identifier",
        "._a.jpg",
        "__MACOSX/x.jpg",
        "Icon\r",
        "deep/.DS_Store",
    ]
    (images / "list.txt").write_text("\n".join(listed))
    assert told([images / "list.txt"])[0] == ["a.jpg"]
    lines = io.TextIOWrapper(io.BytesIO("\n".join(listed).encode()))
    monkeypatch.setattr("sys.stdin", lines)
    found, line = told(["-"])
    assert found == ["a.jpg"]
    assert "5 hidden files" in line


def test_a_named_file_may_be_hidden_or_a_copy(images):
    shutil.copy(images / "a.jpg", images / "a.jpg.bak")
    (images / "list.txt").write_text("a.jpg.bak\n.hidden.jpg\n")
    assert names([images / "list.txt"]) == [".hidden.jpg", "a.jpg.bak"]
    assert names([images / "a.jpg.bak"]) == ["a.jpg.bak"]


@pytest.mark.parametrize("name", ["set [1]", "a[b-c]", "[x]", "(1) {x}", "50% *", "é [ü]"])
def test_brackets_in_the_name_of_a_folder_stand_for_themselves(images, name):
    folder = images.rename(images.with_name(name))
    shutil.copy(folder / "a.jpg", folder / "img[1].jpg")
    (folder / "list.txt").write_text("a.jpg\nimg[1].jpg\n")
    (folder / "list.csv").write_text("path\na.jpg\nimg[1].jpg\n")
    assert names([f"{folder}/*.jpg"]) == ["a.jpg", "img[1].jpg"]
    assert names([f"{folder}/**/*.jp*g"]) == ["a.jpg", "c.jpeg", "img[1].jpg"]
    assert names([f"{folder}/img[1]*"]) == ["img[1].jpg"]
    assert names([f"{folder}/[a]*.jpg"]) == ["a.jpg"]
    assert names([folder / "img[1].jpg"]) == ["img[1].jpg"]
    assert names([folder]) == ["a.jpg", "b.JPG", "c.jpeg", "img[1].jpg"]
    for file in ("list.txt", "list.csv"):
        assert names([folder / file]) == ["a.jpg", "img[1].jpg"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_words_name_files_in_either_form_of_their_accents(images, form):
    folder = images.rename(images.with_name(unicodedata.normalize("NFD", "jürgen")))
    typed = unicodedata.normalize(form, str(folder))
    assert names([typed]) == ["a.jpg", "b.JPG", "c.jpeg"]
    assert names([f"{typed}/a.jpg"]) == ["a.jpg"]
    assert names([f"{typed}/*.jpg"]) == ["a.jpg"]


def test_lists_as_windows_writes_them(images):
    c = f"{images}/deep/er/c.jpeg"
    (images / "list.txt").write_bytes("a.jpg\r\ndeep\\er\\c.jpeg\r\n".encode("utf-16"))
    assert list(list_images([str(images / "list.txt")])) == [f"{images}/a.jpg", c]
    (images / "list.csv").write_text("LABEL;Path\r\nx;deep\\er\\c.jpeg\r\n")
    assert list(list_images([str(images / "list.csv")])) == [c]
