"""Image tables of users' own: words in any case, columns of other names, paths of elsewhere."""

import logging
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from faceproof.data.listing import DataSet, TableData
from faceproof.errors import FaceproofError
from faceproof.settings import SettingError


def listed(folder: Path, text: str | bytes, task: str = "deepfake", **settings: Any) -> DataSet:
    file = folder / "mine.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return TableData("mine", task, str(file), **settings).list()


def rows(data: DataSet, *columns: str) -> list[tuple[str | None, ...]]:
    return [tuple(row[name] for name in columns) for row in data.table.to_pylist()]


@pytest.mark.parametrize(
    ("word", "split"),
    [("TRAIN", "train"), ("Training", "train"), ("valid", "val"), ("Validation", "val"),
     ("dev", "val"), ("Val", "val"), ("Testing", "test"), ("Unlabeled", "unlabelled")],
)  # fmt: skip
def test_usual_words_for_splits(tmp_path: Path, word: str, split: str) -> None:
    data = listed(tmp_path, f"path,label,split\na.jpg,REAL,{word}\nb.jpg,Fake, train \n")
    assert rows(data, "label", "split") == [("real", split), ("fake", "train")]


@pytest.mark.parametrize("word", ["non-face", "NON_FACE", "Non Face"])
def test_class_names_in_any_spelling(tmp_path: Path, word: str) -> None:
    data = listed(tmp_path, f"path,label\na.jpg,{word}\nb.jpg,FACE\n", "face")
    assert rows(data, "label") == [("non_face",), ("face",)]


def test_words_of_ones_own_are_mapped_and_null_leaves_rows_out(tmp_path: Path) -> None:
    text = "path,label,split\na.jpg,0,fold1\nb.jpg,1,fold2\nc.jpg,2,fold1\nd.jpg,1,rest\n"
    data = listed(
        tmp_path, text, labels={0: "real", "1": "fake", "2": None},
        splits={"Fold1": "train", "fold2": "val", "rest": "auto"},
    )  # fmt: skip
    found = rows(data, "label", "split")
    assert found[:2] == [("real", "train"), ("fake", "val")]
    assert len(found) == 3
    assert found[2][1] in ("train", "val", "test")


def test_columns_of_ones_own_are_mapped_and_null_leaves_them_out(tmp_path: Path) -> None:
    text = ",Filename,target,Fold\n0,a.jpg,real,3\n1,b.jpg,fake,4\n"
    columns = {"filename": "path", "TARGET": "label", "fold": None}
    data = listed(tmp_path, text, columns=columns)
    assert rows(data, "path", "label") == [
        (f"{tmp_path}/a.jpg", "real"), (f"{tmp_path}/b.jpg", "fake"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\na.jpg,2\n", r"'2' in the column label \(a.jpg\); known are real, fake"
         r": say what each means by data\.labels\.2=real or =fake \(null leaves its rows out\)"),
        ("path,split\na.jpg,fold1\n", r"known are train, val, .*data\.splits\.fold1=train or =val"),
        ("path,fold\na.jpg,1\n", r"path, fold; fold is none .*data\.columns\.fold=path"),
        ("file\na.jpg\n", r"file is none of an image table"),
        ("label\nreal\n", r"none with the images: .*data\.columns\.NAME=path"),
        ("path,label\n,real\n", "row 1 has no path"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_named_with_the_setting(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(FaceproofError, match=message):
        listed(tmp_path, text)


@pytest.mark.parametrize(
    "settings", [{"columns": {"x": "paths"}}, {"labels": {"0": "REAL"}}, {"splits": {"a": "valid"}}]
)
def test_meanings_that_are_none(tmp_path: Path, settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(SettingError, match=rf"{name}\..* must be one of .*null to leave it out"):
        listed(tmp_path, "path\na.jpg\n", **settings)


def test_a_parquet_table_is_mapped_too(tmp_path: Path) -> None:
    table = pa.table({"Path": ["a.jpg", "b.jpg"], "label": [0, 1], "split": ["valid", "TEST"]})
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    data = TableData(
        "t", "deepfake", str(tmp_path / "t.parquet"), labels={"0": "real", "1": "fake"}
    ).list()
    assert rows(data, "label", "split") == [("real", "val"), ("fake", "test")]


def test_what_a_spreadsheet_of_windows_writes(tmp_path: Path) -> None:
    (tmp_path / "réel").mkdir()
    (tmp_path / "réel" / "1, a.jpg").touch()
    text = "Path;Label;Split\r\nréel\\1, a.jpg;REAL;Valid\r\nfaux\\2.jpg;FAKE;Training\r\n"
    data = listed(tmp_path, text.encode("utf-16"))
    assert rows(data, "path", "label", "split") == [
        (f"{tmp_path}/réel/1, a.jpg", "real", "val"), (f"{tmp_path}/faux/2.jpg", "fake", "train"),
    ]  # fmt: skip


def test_a_table_beside_its_images_may_come_from_another_machine(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("real/1.jpg", "fake/1.jpg"):
        (tmp_path / "sets" / name).parent.mkdir(parents=True)
        (tmp_path / "sets" / name).touch()
    text = "path,label\n/home/ann/sets/real/1.jpg,real\n/home/ann/sets/fake/1.jpg,fake\n"
    with caplog.at_level(logging.WARNING):
        data = listed(tmp_path, text, root=str(tmp_path / "sets"))
    assert rows(data, "path") == [
        (f"{tmp_path}/sets/real/1.jpg",), (f"{tmp_path}/sets/fake/1.jpg",)
    ]  # fmt: skip
    assert "there is no /home/ann/sets/ on this machine" in caplog.text


def test_a_table_of_which_nothing_is_there_names_the_setting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        listed(tmp_path, "path\na.jpg\nb.jpg\n")
    assert f"none of its 2 files is there, {tmp_path}/a.jpg the first; set data.root" in caplog.text


def test_what_systems_leave_is_left_out_of_tables(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "path,label\na.jpg,real\na.jpg:Zone.Identifier,real\n__MACOSX/._a.jpg,fake\nb.jpg,fake\n"
    with caplog.at_level(logging.WARNING):
        data = listed(tmp_path, text)
    assert rows(data, "path") == [(f"{tmp_path}/a.jpg",), (f"{tmp_path}/b.jpg",)]
    assert "left out: 2 hidden files, or of systems and programs ('a.jpg:Zone" in caplog.text


def test_accents_change_neither_files_nor_splits(tmp_path: Path) -> None:
    names = [unicodedata.normalize("NFD", f"réel/é{n}.jpg") for n in range(20)]
    (tmp_path / names[0]).parent.mkdir()
    for name in names:
        (tmp_path / name).touch()
    lines = [f"{name},{label}" for name, label in zip(names, ["real", "fake"] * 10, strict=True)]
    text = "\n".join(["path,label", *lines])
    found = rows(listed(tmp_path, text), "path", "split")
    assert [path for path, _ in found] == [f"{tmp_path}/{name}" for name in names]
    assert {split for _, split in found} == {"train", "val", "test"}
    assert rows(listed(tmp_path, unicodedata.normalize("NFC", text)), "path", "split") == found
