"""The image table: what it takes, what it refuses, and that it survives a file."""

import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceproof.data import table as tables
from faceproof.data.own_table import read_own_table
from faceproof.data.table import (
    SCHEMA,
    concat_tables,
    counts,
    describe_counts,
    evenly_spaced,
    select,
    table_from_columns,
    validate,
    write_table,
)
from faceproof.errors import FaceproofError
from faceproof.task import TASKS

TASK = TASKS["deepfake"]
GOOD: dict[str, list[str | None]] = {
    "path": ["/a", "/b", "/c", "/d"],
    "label": ["real", "fake", "real", "fake"],
    "split": ["train", "train", "val", "val"],
}


def read_table(path: Path) -> pa.Table:
    return table_from_columns(read_own_table(path, {}))


def changed(**columns: list[str | None]) -> pa.Table:
    return table_from_columns({**GOOD, **columns})


def test_absent_columns_are_null_and_the_types_are_the_schema() -> None:
    table = table_from_columns({"path": ["/a", "/b"]})
    assert table.schema == SCHEMA
    assert table["label"].null_count == table["group"].null_count == 2


def test_a_good_table_is_returned_as_it_is() -> None:
    table = changed()
    assert validate(table, TASK, "mine") is table


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": ["real"]}, "needs the column path .*found the columns label"),
        ({}, "found the columns none"),
        ({"path": ["a"], "labels": ["real"]}, "may have label, split.*rename or drop labels"),
        ({"path": ["a", None]}, "row 2 of an image table has no path"),
    ],
)
def test_columns_that_make_no_table(columns: dict[str, list[str | None]], message: str) -> None:
    with pytest.raises(FaceproofError, match=message):
        table_from_columns(columns)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": ["real", "Fake", "real", "fake"]}, "has Fake in .*label.* are real, fake"),
        ({"split": ["train", "dev", "val", "val"]}, "has dev in .*split.*train, val, test, unl"),
        ({"split": ["train", None, "val", "val"]}, r"nothing \(null\) in the column split"),
        ({"path": ["/a", "/b", "/a", "/a"]}, "lists 2 images more than once, /a for one"),
        ({"label": ["real", None, "real", "fake"]}, "has 1 images without a label"),
        ({"label": ["real"] * 4}, "no image of class fake; found train real 2; val real 2"),
    ],
)
def test_tables_that_are_not_valid(columns: dict[str, list[str | None]], message: str) -> None:
    with pytest.raises(FaceproofError, match=message):
        validate(changed(**columns), TASK, "mine")


def test_an_empty_table_is_refused_and_an_unlabelled_one_is_not() -> None:
    with pytest.raises(FaceproofError, match="data set mine has no images"):
        validate(table_from_columns({"path": []}), TASK, "mine")
    unlabelled = changed(label=[None] * 4, split=["unlabelled"] * 4)
    assert validate(unlabelled, TASK, "mine").num_rows == 4


def test_counts_and_their_words() -> None:
    table = changed(generator=[None, "x", None, "y"])
    assert counts(table, "label", "generator") == {
        ("fake", "x"): 1,
        ("fake", "y"): 1,
        ("real", None): 2,
    }
    assert describe_counts(table) == "train fake 1; train real 1; val fake 1; val real 1"
    every = changed(split=["test", "val", "train", "unlabelled"])
    splits = [part.split()[0] for part in describe_counts(every).split("; ")]
    assert splits == ["train", "val", "test", "unlabelled"]
    assert describe_counts(select(table, "test")) == "no images"


@given(st.lists(st.sampled_from(["train", "val", "test"]), max_size=30))
def test_splits_divide_a_table(splits: list[str]) -> None:
    table = table_from_columns({"path": [f"/{n}" for n in range(len(splits))], "split": splits})
    parts = [select(table, split) for split in ("train", "val", "test")]
    together = concat_tables(parts)
    assert sorted(together["path"].to_pylist()) == sorted(table["path"].to_pylist())
    assert counts(together, "split") == counts(table, "split")


@pytest.mark.parametrize("suffix", [".csv", ".CSV", ".parquet"])
def test_a_table_survives_a_file(tmp_path: Path, suffix: str) -> None:
    names: list[str | None] = ["NA", None, "0012", "null"]
    table = changed(group=names, path=["/ä b", "/b,c", '/"c"', "/d"])
    file = tmp_path / f"table{suffix}"
    if suffix == ".parquet":
        write_table(table, file)
    else:
        pa.csv.write_csv(
            table.cast(pa.schema([(name, pa.string()) for name in SCHEMA.names])), file
        )
    assert read_table(file).to_pydict() == table.to_pydict()
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]


def test_numbers_in_a_file_are_read_as_text(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"path": ["a"], "group": [12]}), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet")["group"].to_pylist() == ["12"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("absent.csv", None, r"no image table at .*absent\.csv; set data\.file"),
        ("table.xlsx", "", r"is neither of \.csv, .*\.parquet, as an image table"),
        ("empty.csv", "", r"empty\.csv is empty; its first line must name the columns"),
        (
            "ragged.csv",
            "path,label\na\n",
            r"ragged\.csv, row 2 cannot be read: it has 1 cells, and the first line names 2",
        ),
        ("text.parquet", "path\na\n", r"text\.parquet cannot be read as an image table"),
        (
            "headless.csv",
            "a.jpg,real\nb.jpg,fake\n",
            r"has the columns a\.jpg, real; a\.jpg is none of an image table",
        ),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(FaceproofError, match=message):
        read_table(tmp_path / name)


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(table: pa.Table, path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    file = tmp_path / "t.parquet"
    write_table(changed(), file)
    monkeypatch.setattr(tables.pyarrow.parquet, "write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        write_table(table_from_columns({"path": []}), file)
    monkeypatch.undo()
    assert read_table(file).num_rows == 4


def test_a_million_rows_are_checked_as_columns() -> None:
    """Row by row, the check would make a Python string of every path."""
    number = 1_000_000
    null = pa.nulls(number, pa.string())
    labels, splits = pa.array(["real", "fake"] * (number // 2)), pa.array(["train"] * number)
    columns = [
        pa.array(range(number)).cast(pa.string()),
        labels,
        splits,
        *[null] * (len(SCHEMA) - 3),
    ]
    table = pa.table([c.cast(f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)
    tracemalloc.start()
    validate(table, TASK, "big")
    described = describe_counts(select(table, "train"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert described == "train fake 500,000; train real 500,000"
    assert peak < 1_000_000


def grouped(**groups):
    paths = [f"/{group}/{n}.png" for group, size in groups.items() for n in range(size)]
    columns = {"path": paths, "group": [path.split("/")[1] for path in paths]}
    return table_from_columns(columns)


def frames(table):
    return [int(path.split("/")[2][:-4]) for path in table["path"].to_pylist()]


@pytest.mark.parametrize(
    ("size", "num", "expected"),
    [(100, 4, [12, 37, 62, 87]), (12, 3, [2, 6, 10]), (5, 5, [0, 1, 2, 3, 4]), (7, 1, [3])],
)
def test_frames_are_spread_over_the_whole_video(size, num, expected):
    assert frames(evenly_spaced(grouped(a=size), num)) == expected


def test_numbers_in_names_count_as_numbers():
    table = grouped(a=30)
    backwards = table.take(list(range(29, -1, -1)))
    assert sorted(frames(evenly_spaced(backwards, 3))) == [5, 15, 25]
    assert frames(evenly_spaced(table, 3)) == [5, 15, 25]


def test_short_groups_and_single_images_stay(caplog):
    single = table_from_columns({"path": ["/x.png", "/y.png"]})
    assert evenly_spaced(single, 1).num_rows == 2
    assert "frames=1 changes nothing: no image is in a group" in caplog.text
    found = evenly_spaced(grouped(a=2, b=50), 4)
    assert found["group"].to_pylist() == ["a", "a", "b", "b", "b", "b"]


def test_no_frames_are_refused():
    with pytest.raises(FaceproofError, match="at least 1"):
        evenly_spaced(grouped(a=3), 0)
