"""Tables of strangers: what they declare is checked before it is unpacked."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from faceproof.errors import FaceproofError
from faceproof.io.parquet import read_parquet

WANTED = pa.schema([("path", pa.string()), ("score", pa.float32())])


def written(folder: Path, **columns: object) -> Path:
    pyarrow.parquet.write_table(pa.table(columns), folder / "table.parquet")
    return folder / "table.parquet"


def test_the_wanted_columns_come_as_the_types_that_they_should_have(tmp_path: Path) -> None:
    file = written(tmp_path, more=[1], score=[1.0], path=["a"])
    assert read_parquet(file, WANTED) == pa.table([["a"], [1.0]], schema=WANTED)
    assert read_parquet(file).column_names == ["more", "score", "path"]


def test_columns_that_earlier_versions_lack_are_null(tmp_path: Path) -> None:
    file = written(tmp_path, path=["a"])
    found = read_parquet(file, WANTED, may_lack=("score",))
    assert found == pa.table([["a"], [None]], schema=WANTED)
    with pytest.raises(FaceproofError, match="it lacks score and has path"):
        read_parquet(file, WANTED)


def test_columns_of_another_type_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FaceproofError, match="cannot be read as an image table"):
        read_parquet(written(tmp_path, path=["a"], score=["high"]), WANTED)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + bytes(50) + b"PAR1", b"no table"])
def test_what_is_no_table_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "table.parquet").write_bytes(data)
    with pytest.raises(FaceproofError, match=r"table\.parquet"):
        read_parquet(tmp_path / "table.parquet")


def test_a_table_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FaceproofError, match=r"gone\.parquet cannot be read: No such file"):
        read_parquet(tmp_path / "gone.parquet")


def test_a_word_that_ten_million_rows_repeat_is_not_unpacked(tmp_path: Path) -> None:
    word = pa.DictionaryArray.from_arrays(pa.array([0] * 3_000_000, pa.int32()), ["x" * 5000])
    file = written(tmp_path, path=word)
    assert file.stat().st_size < 100_000
    with pytest.raises(FaceproofError, match=r"would unpack to .*; it is not read"):
        read_parquet(file)


def test_many_columns_are_refused_by_what_the_file_says_of_itself(tmp_path: Path) -> None:
    file = written(tmp_path, **{f"c{n}": [1] for n in range(200)})
    with pytest.raises(FaceproofError, match="has 200 columns in 1 parts"):
        read_parquet(file)


def test_a_link_is_followed_only_where_the_user_named_it(tmp_path: Path) -> None:
    file = written(tmp_path, path=["a"])
    (tmp_path / "link.parquet").symlink_to(file)
    with pytest.raises(FaceproofError, match="is a link or no plain file"):
        read_parquet(tmp_path / "link.parquet")
    assert read_parquet(tmp_path / "link.parquet", follow=True).num_rows == 1
