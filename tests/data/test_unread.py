"""Settings of a data set that would change nothing are refused or said."""

import logging
from pathlib import Path
from typing import Any

import pytest

from faceproof.data.listing import DemoData, FolderData, ShardData, TableData
from faceproof.errors import FaceproofError
from tests.conftest import MakeImages

LABELS: dict[str, str | None] = {"real": "real", "fake": "fake"}


def folder(root: object, layout: str = "{label}/*", **settings: Any) -> FolderData:
    settings = {"labels": LABELS, **settings}
    return FolderData("x", "deepfake", str(root), layout, **settings)


@pytest.fixture
def faces(tmp_path: Path, make_images: MakeImages) -> Path:
    for split in ("train", "fold1"):
        for label in LABELS:
            make_images(tmp_path / split / label, ["a.jpg", "b.jpg"], size=(8, 8))
    return tmp_path


@pytest.mark.parametrize(
    ("layout", "settings", "message"),
    [
        (
            "{label}/*",
            {"splits": {"fold1": "val"}},
            r"splits = .* changes nothing: .* no \{split\}",
        ),
        ("{label}/*", {"splits": {"val": "test"}}, "set data.splits=null"),
        ("{label}/*", {"generators": {"a": "b"}}, r"generators = .* has no \{generator\}"),
        ("{label}/{generator}/*", {"generator": "gan"}, "generator = 'gan' changes nothing"),
    ],
)
def test_what_the_layout_line_gives_nothing_to_do_is_refused(
    layout: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(FaceproofError, match=message):
        folder("x", layout, **settings)


@pytest.mark.parametrize(
    ("layout", "settings", "message"),
    [
        ("{split}/{label}/*", {"splits": {"fold1": "val", "fold2": "test"}},
         "gives a meaning to 'fold2', which no folder is named; found 'fold1', 'train'"),
        ("*/{label}/*", {"labels": {**LABELS, "swaps": "fake"}},
         "data.labels gives a meaning to 'swaps', which no folder is named; found 'fake', 'real'"),
        ("{generator}/{label}/*", {"generators": {"fold3": "gan"}},
         "data.generators gives a meaning to 'fold3', which no folder is named"),
        ("*/{label}/*", {"splits": {"train": "train"}},
         "data.splits changes nothing: data.layout = '*/{label}/*' has no {split}"),
        ("**", {}, "data.labels changes nothing: data.layout = '**' has no {label}, so that all "
         "images are unlabelled"),
        ("{split}/{label}/*", {"splits": {"fold1": "val"}, "split_seed": 3},
         "data.ratios and data.split_seed change nothing"),
        ("{split}/{label}/*", {"splits": {"fold1": "val"}, "ratios": {"train": 1.0}},
         "data.ratios and data.split_seed change nothing"),
    ],
)  # fmt: skip
def test_what_changes_nothing_in_these_folders_is_said(
    faces: Path, caplog: pytest.LogCaptureFixture, layout: str, settings: dict[str, Any],
    message: str,
) -> None:  # fmt: skip
    with caplog.at_level(logging.WARNING):
        folder(faces, layout, **settings).list()
    (line,) = caplog.messages
    assert message in line


@pytest.mark.parametrize(
    "settings",
    [
        {"splits": {"fold1": "val"}},
        {"splits": {"fold1": "auto", "TRAIN": "train", "validation": "val"}, "split_seed": 3},
        {"splits": {"FOLD1": "test"}, "generator": "gan"},
    ],
)
def test_what_has_an_effect_is_not_warned_of(
    faces: Path, caplog: pytest.LogCaptureFixture, settings: dict[str, Any]
) -> None:
    with caplog.at_level(logging.WARNING):
        folder(faces, "{split}/{label}/*", **settings).list()
    assert not caplog.messages


@pytest.mark.parametrize("place", ["", "  "])
def test_an_empty_place_is_refused(place: str) -> None:
    """An empty root would be the folder that one is in."""
    with pytest.raises(FaceproofError, match=r"root = '.*' must be a folder or file"):
        folder(place)
    with pytest.raises(FaceproofError, match="root"):
        ShardData("x", "deepfake", place)
    with pytest.raises(FaceproofError, match="root"):
        DemoData("x", "deepfake", place)
    with pytest.raises(FaceproofError, match="root"):
        TableData("x", "deepfake", "x.csv", place)
    with pytest.raises(FaceproofError, match="file"):
        TableData("x", "deepfake", place)


def table(folder: Path, **settings: Any) -> TableData:
    (folder / "mine.csv").write_text("path,label\na.jpg,real\nb.jpg,fake\n")
    return TableData("x", "deepfake", str(folder / "mine.csv"), **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": {"video": "group"}}, "to 'video', which is no column of .*'label', 'path'"),
        ({"columns": {"video": None}}, "to 'video', which is no column of"),
        ({"splits": {"a": "train"}}, "data.splits changes nothing: .* has no column split"),
    ],
)
def test_what_a_table_gives_nothing_to_do_is_refused(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(FaceproofError, match=message):
        table(tmp_path, **settings).list()


def test_a_word_that_is_in_no_row_of_a_table_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        table(tmp_path, labels={"swap": "fake", "REAL": "real"}).list()
    assert "data.labels gives a meaning to 'swap', found in no row" in caplog.text
    assert "REAL" not in caplog.text
