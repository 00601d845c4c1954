"""Tables in JSON and JSON lines, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from faceproof.data.json_lists import json_columns, read_json
from faceproof.data.listing import TableData
from faceproof.errors import FaceproofError

TABLE = {"path": ["a.jpg", "b.jpg"], "label": ["real", "fake"]}


def columns(folder: Path, held: Any, name: str = "t.json") -> dict[str, list[str | None]]:
    file = folder / name
    text = held if isinstance(held, str) else json.dumps(held, ensure_ascii=False)
    file.write_text(text, encoding="utf-8")
    return json_columns(file)


@pytest.mark.parametrize(
    "held",
    [
        [{"path": "a.jpg", "label": "real"}, {"path": "b.jpg", "label": "fake"}],
        {"a.jpg": "real", "b.jpg": "fake"},
        {"a.jpg": {"label": "real"}, "b.jpg": {"label": "fake"}},
    ],
)
def test_three_forms_are_one_table(tmp_path: Path, held: object) -> None:
    assert columns(tmp_path, held) == TABLE


@pytest.mark.parametrize("name", ["t.jsonl", "t.NDJSON"])
def test_lines_are_records(tmp_path: Path, name: str) -> None:
    text = '{"path": "a.jpg", "label": "real"}\r\n\n{"path": "b.jpg", "label": "fake"}'
    assert columns(tmp_path, text, name) == TABLE


def test_values_are_text_and_what_is_missing_is_none(tmp_path: Path) -> None:
    held = [
        {"path": " é.jpg", "label": 0, "x": True, "y": 1.0, "z": 0.5},
        {"path": "b.jpg", "label": "", "y": None, "z": [1]},
    ]
    assert columns(tmp_path, held) == {
        "path": [" é.jpg", "b.jpg"], "label": ["0", None], "x": ["true", None], "y": ["1", None],
        "z": ["0.5", "[1]"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "held", [{"images": [{"path": "a"}]}, ["a.jpg"], {"a": "real", "b": {"label": "x"}}, 3]
)
def test_other_forms_are_refused(tmp_path: Path, held: object) -> None:
    with pytest.raises(FaceproofError, match=r"image table: it should hold a list of records"):
        columns(tmp_path, held)


@pytest.mark.parametrize("held", [[], {}, [{}]])
def test_an_empty_table_is_refused(tmp_path: Path, held: object) -> None:
    with pytest.raises(FaceproofError, match="it has no rows"):
        columns(tmp_path, held)


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FaceproofError, match=r"'a\.jpg' stands in it twice"):
        columns(tmp_path, '{"a.jpg": "real", "a.jpg": "fake"}')
    with pytest.raises(FaceproofError, match=r"line 2 is no JSON: 'path' stands in it twice"):
        columns(tmp_path, '{"path": "a"}\n{"path": "b", "path": "c"}', "t.jsonl")


@pytest.mark.parametrize(
    ("line", "message"), [("[1]", r"line 1 is '\[1\]'; each should"), ("{", "line 1 is no JSON")]
)
def test_a_line_that_is_no_record_is_refused(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(FaceproofError, match=message):
        columns(tmp_path, line, "t.jsonl")


def test_a_file_that_is_no_json_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FaceproofError, match=r"no .*t\.json, which should hold lists"):
        read_json(tmp_path / "t.json", "lists")
    (tmp_path / "t.json").write_bytes(b'{"\xff": 1}')
    with pytest.raises(FaceproofError, match="cannot be read as JSON"):
        read_json(tmp_path / "t.json", "lists")
    (tmp_path / "t.jsonl").write_bytes(b'{"\xff": 1}')
    with pytest.raises(FaceproofError, match="save it as UTF-8"):
        json_columns(tmp_path / "t.jsonl")


def test_a_data_set_of_records_with_words_of_ones_own(tmp_path: Path) -> None:
    held = [{"filename": "a.jpg", "target": 0}, {"filename": "b.jpg", "target": 1}]
    (tmp_path / "t.json").write_text(json.dumps(held))
    file, names = str(tmp_path / "t.json"), {"filename": "path", "target": "label"}
    data = TableData("t", "deepfake", file, columns=names, labels={"0": "real", "1": "fake"})
    rows = data.list().table.to_pylist()
    assert [(row["path"], row["label"]) for row in rows] == [
        (f"{tmp_path}/a.jpg", "real"), (f"{tmp_path}/b.jpg", "fake"),
    ]  # fmt: skip
    with pytest.raises(FaceproofError, match=r"'0', '1' in the column .*data\.labels\.0=real"):
        TableData("t", "deepfake", file, columns=names).list()
