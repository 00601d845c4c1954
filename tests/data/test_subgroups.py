"""Further columns of an image table: named, refused where they mean something else, and kept."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from faceproof.data.listing import TableData
from faceproof.data.prepared import PreparedData
from faceproof.data.run_tables import read_samples
from faceproof.data.subgroups import check_subgroups
from faceproof.data.table import (
    SCHEMA,
    WORD,
    concat_tables,
    subgroups_of,
    table_from_columns,
    write_table,
)
from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import (
    predictions_table,
    read_predictions,
    subgroup_columns,
    write_predictions,
)
from faceproof.io.run_folder import RunFolder
from faceproof.settings import SettingError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [
        f"{n}.jpg,{('real', 'fake')[n % 2]},{('dark', 'light', '')[n % 3]},{n}" for n in range(9)
    ]
    path = tmp_path / "images.csv"
    path.write_text("\n".join(["path,label,Skin_Tone,age", *rows]) + "\n")
    return path


def test_a_table_keeps_the_columns_that_are_named(file: Path) -> None:
    data = TableData("mine", "deepfake", str(file), subgroups=["Skin_Tone", "age"]).list()
    assert subgroups_of(data.table) == ["Skin_Tone", "age"]
    assert data.table["Skin_Tone"].to_pylist() == ["dark", "light", None] * 3
    assert data.table["age"].type == WORD
    renamed = TableData(
        "mine", "deepfake", str(file), columns={"age": "years", "skin_tone": None},
        subgroups=["years"],
    )  # fmt: skip
    assert renamed.list().table["years"].to_pylist() == [str(n) for n in range(9)]


def test_a_column_that_is_not_named_or_not_there_is_refused(file: Path) -> None:
    with pytest.raises(FaceproofError, match=r"age is none of an image table.*data\.subgroups"):
        TableData("mine", "deepfake", str(file), subgroups=["skin_tone"]).list()
    with pytest.raises(FaceproofError, match=r"no column size.*skin_tone, age"):
        TableData("mine", "deepfake", str(file), subgroups=["skin_tone", "age", "size"]).list()


def test_a_misspelt_column_is_answered_by_the_whole_setting(file: Path) -> None:
    with pytest.raises(FaceproofError) as caught:
        TableData("mine", "deepfake", str(file), subgroups=["skin_tone", "agee"]).list()
    assert str(caught.value) == (
        f"{file} has no column agee, which data.subgroups names; did you mean "
        "'data.subgroups=[skin_tone,age]'?"
    )
    with pytest.raises(
        FaceproofError, match=r"data\.subgroups: 'data\.subgroups=\[skin_tone,age\]'"
    ):
        TableData("mine", "deepfake", str(file)).list()
    hidden = {"age": None, "Skin_Tone": None}
    with pytest.raises(FaceproofError, match=r"no column age, which .* further columns are: none"):
        TableData("mine", "deepfake", str(file), columns=hidden, subgroups=["age"]).list()


@pytest.mark.parametrize(
    ("names", "said"),
    [("age", "a list of columns"), ([3], "no name of a column"), (["split"], "no further column"),
     *(([name], "no further column") for name in ("logit", "novelty", "row", "score", "percent")),
     (["a", "a"], "a column twice"), ([" "], "no name")],
)  # fmt: skip
def test_what_is_no_list_of_further_columns_is_refused(names: list[str], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        check_subgroups(names)


def test_crops_have_columns_of_their_own() -> None:
    with pytest.raises(SettingError, match=r"subgroups has landmarks, which is none of time"):
        PreparedData("faces", "deepfake", "faces", subgroups=["landmarks"])


def test_runs_and_predictions_keep_them(tmp_path: Path) -> None:
    columns = {"path": ["a", "b"], "label": ["real", "fake"], "tone": ["dark", None]}
    rows = table_from_columns(columns, ["tone"])
    run = RunFolder(tmp_path)
    write_table(rows, run.samples)
    assert read_samples(run).equals(rows)
    file = tmp_path / "predictions.parquet"
    write_predictions(
        predictions_table(rows, np.zeros(2), np.full(2, 0.5), subgroups=["tone"]), file
    )
    assert subgroup_columns(read_predictions(file)) == ["tone"]
    assert subgroup_columns(predictions_table(rows, np.zeros(2), np.full(2, 0.5))) == []
    others = read_predictions(file).append_column("rank", pa.array([1, 2]))
    write_predictions(others, file)
    assert subgroup_columns(read_predictions(file)) == ["tone"]  # numbers are none
    both = concat_tables([rows, table_from_columns({"path": ["c"]})])
    assert both["tone"].to_pylist() == ["dark", None, None]
    assert both.schema.names == [*SCHEMA.names, "tone"]
    with pytest.raises(FaceproofError, match="rename or drop tone"):
        table_from_columns(columns)
