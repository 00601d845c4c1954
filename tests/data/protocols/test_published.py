"""A published list: what is written, what is left out, and what is refused."""

import csv
from pathlib import Path
from typing import Any

import pytest

from faceproof.data.combined import CombinedData
from faceproof.data.listing import DataSet, TableData
from faceproof.data.protocols.published import (
    COLUMNS,
    PublishedData,
    digest_of_list,
    published_columns,
    read_published,
    write_published,
)
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError

NUM = 20


@pytest.fixture
def data(tmp_path: Path) -> DataSet:
    """A data set of real and fake files, some in a folder with a space before its name."""
    rows = ["path,label,split,source,generator,group,pair"]
    for number in range(NUM):
        for label in ("real", "fake"):
            path = f" {label}/v{number}.jpg" if number == 0 else f"{label}/v{number}.jpg"
            (tmp_path / "set" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / path).write_bytes(f"{label} {number}".encode())
            maker = "swap" if label == "fake" else ""
            split = "test" if number % 2 else "train"
            rows.append(f'"{path}",{label},{split},mine,{maker},g{number},p{number}')
    (tmp_path / "set.csv").write_text("\n".join(rows))
    file, root = str(tmp_path / "set.csv"), str(tmp_path / "set")
    return TableData("mine", "deepfake", file, root=root).list()


def published(data: DataSet, file: Path) -> Path:
    columns, _ = published_columns(data.table, None)
    write_published(columns, file)
    return file


def read(file: Path, root: Path, **settings: Any) -> DataSet:
    return PublishedData("p", "deepfake", str(file), str(root), **settings).list()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_list_gives_the_same_data_set_elsewhere(
    data: DataSet, tmp_path: Path, suffix: str
) -> None:
    file = published(data, tmp_path / f"list{suffix}")
    (tmp_path / "set").rename(tmp_path / "moved")
    again = read(file, tmp_path / "moved")
    moved = [
        {**row, "path": row["path"].replace("/set/", "/moved/")} for row in data.table.to_pylist()
    ]
    assert again.table.to_pylist() == moved
    (coverage,) = again.coverage
    assert coverage.protocol == "list"
    assert coverage.splits == {"test": (NUM, 0, 0), "train": (NUM, 0, 0)}


def test_the_digest_of_a_list_is_that_of_its_rows(data: DataSet, tmp_path: Path) -> None:
    columns, root = published_columns(data.table, None)
    assert root == tmp_path / "set"
    for suffix in (".csv", ".parquet"):
        read_again = read_published(published(data, tmp_path / f"list{suffix}"))
        assert digest_of_list(read_again) == digest_of_list(columns)
    backwards = {name: values[::-1] for name, values in columns.items()}
    assert digest_of_list(backwards) == digest_of_list(columns)
    for name in COLUMNS:
        other = {**columns, name: ["x", *columns[name][1:]]}
        assert digest_of_list(other) != digest_of_list(columns), name


def test_missing_and_changed_files_are_left_out_and_counted(
    data: DataSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = published(data, tmp_path / "list.csv")
    (tmp_path / "set/real/v2.jpg").unlink()
    (tmp_path / "set/fake/v3.jpg").write_bytes(b"other")
    found = read(file, tmp_path / "set", min_coverage=0.9)
    assert found.table.num_rows == 2 * NUM - 2
    assert found.coverage[0].splits == {"test": (20, 0, 1), "train": (20, 1, 0)}
    assert "protocol list: 95.0% of 40 images present and unchanged" in caplog.text
    assert "missing: 1 ('real/v2.jpg'); changed: 1 ('fake/v3.jpg')" in caplog.text


def test_too_few_are_refused_of_all_or_of_one_split(data: DataSet, tmp_path: Path) -> None:
    file = published(data, tmp_path / "list.csv")
    for number in (1, 3):
        (tmp_path / f"set/real/v{number}.jpg").unlink()
    message = r"(?s)95\.0% of 40 .*only 90\.0% of its split test .*data\.min_coverage=0\.9$"
    with pytest.raises(FaceproofError, match=message):
        read(file, tmp_path / "set", min_coverage=0.95)
    assert read(file, tmp_path / "set", min_coverage=0.9).table.num_rows == 38


def test_a_combination_has_the_coverage_of_its_parts(data: DataSet, tmp_path: Path) -> None:
    file = published(data, tmp_path / "list.csv")
    part = PublishedData("p", "deepfake", str(file), str(tmp_path / "set"))
    (coverage,) = CombinedData("both", "deepfake", {"a": part}).list().coverage
    assert coverage.protocol == "list"


def rewritten(file: Path, **cells: str) -> None:
    """Write other cells into the first row."""
    with file.open(newline="") as text:
        rows = list(csv.DictReader(text))
    rows[0] |= cells
    with file.open("w", newline="") as text:
        writer = csv.DictWriter(text, rows[0])
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"path": "/etc/passwd"}, "each must lie below the root"),
        ({"path": "a/../../b.jpg"}, "each must lie below the root"),
        ({"path": "C:\\a.jpg"}, "each must lie below the root"),
        ({"path": "fake/v1.jpg"}, r"lists fake/v1\.jpg 2 times"),
        ({"content": "abc"}, "has the digest 'abc'; it must be 32 hexadecimal digits"),
        ({"split": "fold1"}, "has 'fold1' in the column split"),
        ({"label": "face"}, "has 'face' in the column label"),
    ],
)
def test_a_row_that_makes_no_sense_is_refused(
    data: DataSet, tmp_path: Path, cells: dict[str, str], message: str
) -> None:
    file = published(data, tmp_path / "list.csv")
    rewritten(file, **cells)
    with pytest.raises(FaceproofError, match=message):
        read(file, tmp_path / "set")


def test_a_table_without_digests_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,label\na.jpg,real\n")
    with pytest.raises(FaceproofError, match=r"lacks the columns content, split; found path"):
        read(tmp_path / "t.csv", tmp_path)
    with pytest.raises(FaceproofError, match="there is no folder"):
        read(tmp_path / "t.csv", tmp_path / "none")
    with pytest.raises(FaceproofError, match="there is no image table"):
        read(tmp_path / "none.csv", tmp_path)


def test_what_cannot_be_published_is_refused(data: DataSet, tmp_path: Path) -> None:
    with pytest.raises(FaceproofError, match=r"does not lie below .*set/real; name another"):
        published_columns(data.table, tmp_path / "set/real")
    (tmp_path / "set/real/v1.jpg").unlink()
    with pytest.raises(FaceproofError, match=r"1 of 40 files cannot be read, .*real/v1\.jpg"):
        published_columns(data.table, None)
    shard = table_from_columns({"path": ["/x/a-000000.tar@0-10-0badcafe/0.jpg"]})
    with pytest.raises(FaceproofError, match="lies in a shard"):
        published_columns(shard, None)
    columns = {name: ["x"] for name in COLUMNS}
    with pytest.raises(FaceproofError, match=r"must end with \.csv or \.parquet"):
        write_published(columns, tmp_path / "list.txt")
