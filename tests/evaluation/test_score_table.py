"""Tables of scores: what they mean is said, never guessed, and what is wrong in them is named."""

import json
import logging
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from faceproof.errors import FaceproofError
from faceproof.evaluation.path_matching import match_paths, shared_paths
from faceproof.evaluation.predictions import logits_of, probabilities_of
from faceproof.evaluation.score_table import (
    ScoreFormat,
    as_logits,
    read_scores,
    refuse_unused,
    reported_split,
)

ROWS = "path,label,score\na.jpg,real,0.1\nb.jpg,fake,0.9\nc.jpg,fake,0.5\n"
PROBABILITY = ScoreFormat(score="probability")


def written(folder: Path, text: str, name: str = "scores.csv", encoding: str = "utf-8") -> Path:
    file = folder / name
    file.write_bytes(text.encode(encoding))
    return file


def refused(folder: Path, text: str, how: ScoreFormat = PROBABILITY) -> str:
    with pytest.raises(FaceproofError) as caught:
        read_scores(written(folder, text), how)
    return str(caught.value)


def test_probabilities_stay_as_they_are_and_get_their_logits(tmp_path: Path) -> None:
    table = read_scores(written(tmp_path, ROWS), PROBABILITY)
    assert table.predictions["path"].to_pylist() == ["a.jpg", "b.jpg", "c.jpg"]
    assert probabilities_of(table.predictions) == pytest.approx([0.1, 0.9, 0.5])
    assert logits_of(table.predictions) == pytest.approx([math.log(1 / 9), math.log(9), 0])
    assert table.predictions["source"].to_pylist() == ["scores.csv"] * 3
    assert table.split == [None] * 3
    assert reported_split(table) is None


def test_what_scores_are_is_said_by_hand_or_by_the_columns_name(tmp_path: Path) -> None:
    assert "--score probability" in refused(tmp_path, ROWS, ScoreFormat())
    percents = ROWS.replace("0.", "")
    table = read_scores(written(tmp_path, percents), ScoreFormat(score="percent"))
    assert probabilities_of(table.predictions) == pytest.approx([0.01, 0.09, 0.05])
    named = ROWS.replace("score", "logit")
    table = read_scores(written(tmp_path, named), ScoreFormat())
    assert logits_of(table.predictions) == pytest.approx([0.1, 0.9, 0.5])
    assert table.kind == "logit"
    assert "contradicts" in refused(tmp_path, named, PROBABILITY)
    both = "path,label,logit,probability\na.jpg,real,2,0.3\n"
    assert "--score probability or --score logit" in refused(tmp_path, both, ScoreFormat())
    table = read_scores(written(tmp_path, both), PROBABILITY)
    assert probabilities_of(table.predictions) == pytest.approx([0.3])


def test_a_score_of_the_other_class_is_turned(tmp_path: Path) -> None:
    turned = ScoreFormat(score="probability", score_of="real")
    table = read_scores(written(tmp_path, ROWS), turned)
    assert probabilities_of(table.predictions) == pytest.approx([0.9, 0.1, 0.5])
    assert logits_of(table.predictions)[0] > 0
    with pytest.raises(FaceproofError, match="--score-of human is none of real, fake"):
        ScoreFormat(score_of="human")


@given(st.lists(st.floats(0, 1) | st.sampled_from([0.0, 1.0, 1e-300, 1 - 2**-53]), min_size=1))
def test_logits_of_probabilities_are_finite_and_rank_alike(probabilities: list[float]) -> None:
    logits, same = as_logits(np.array(probabilities), "probability")
    assert np.isfinite(logits).all()
    assert same.tolist() == probabilities
    ranks = rankdata(probabilities, "dense")
    order = np.lexsort((logits, ranks))
    # A logit's last bit may run two together, but none overtakes another.
    assert (np.diff(logits[order]) >= 0).all()
    for end, beyond in ((0.0, np.less), (1.0, np.greater)):
        at = np.array(probabilities) == end
        if at.any() and not at.all():
            assert beyond(logits[at].max() if end == 0 else logits[at].min(), logits[~at]).all()


@pytest.mark.parametrize(
    ("how", "cell", "words"),
    [
        ("probability", "97.3", ["1 of 3 scores", "row 3 (b.jpg: 97.3)", "--score percent"]),
        ("probability", "-0.2", ["outside of 0 to 1", "--score logit"]),
        ("percent", "101", ["outside of 0 to 100", "--score logit"]),
        ("probability", "", ["row 3 (b.jpg: empty)", "no finite numbers"]),
        ("probability", "nan", ["row 3 (b.jpg: nan)"]),
        ("logit", "inf", ["row 3 (b.jpg: inf)"]),
        ("logit", "1e39", ["outside of -3e+38"]),
        ("logit", "n/a", ["row 3 (b.jpg: n/a)", "remove the rows"]),
        ("probability", '"0,9"', ["decimal comma", "row 3 (b.jpg: 0,9)"]),
    ],
)
def test_scores_that_are_none_are_named_with_their_rows(
    how: str, cell: str, words: list[str], tmp_path: Path
) -> None:
    said = refused(tmp_path, ROWS.replace("0.9", cell), ScoreFormat(score=how))
    assert all(word in said for word in words), said


def test_thousands_of_bad_rows_are_counted_and_the_first_named(tmp_path: Path) -> None:
    lines = [f"{n}.jpg,real,{'x' if n % 2 else 0.5}" for n in range(10_000)]
    said = refused(tmp_path, "path,label,score\n" + "\n".join(lines))
    assert "5,000 of 10,000 scores" in said
    assert "row 3 (1.jpg: x)" in said
    assert "and 4,995 more" in said
    assert len(said) < 400


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("label,score\nreal,0.5\n", "none with the images"),
        ("path,label\na.jpg,real\n", "no column with the scores"),
        ("path,label,score\n", "no rows"),
        ("", "is empty"),
        (ROWS + "a.jpg,real,0.2\n", "a.jpg in the rows 2 and 5"),
        (ROWS + ",real,0.2\n", "1 rows have no path: row 5"),
        (ROWS.replace("real", "0"), "--labels.0=real"),
        (ROWS + "d.jpg,real\n", "row 5 cannot be read: it has 2 cells"),
        ("path,label,score,score\na,real,1,1\n", "score twice"),
        (ROWS.replace("label", "probability", 1).replace("score", "logit", 1), "which one to read"),
    ],
)
def test_tables_that_cannot_be_used_are_refused(text: str, words: str, tmp_path: Path) -> None:
    assert words in refused(tmp_path, text, ScoreFormat(score=None if "logit" in text else "logit"))


def test_columns_and_words_of_ones_own_get_their_meaning(tmp_path: Path) -> None:
    text = "Datei;Ziel;p_fake;path\na.jpg;1;0.9;x\nb.jpg;0;0.2;y\n"
    how = ScoreFormat(
        columns={"datei": "path", "Ziel": "label", "p_fake": "probability", "path": None},
        labels={"0": "real", "1": "fake"},
    )
    table = read_scores(written(tmp_path, text), how)
    assert table.predictions["path"].to_pylist() == ["a.jpg", "b.jpg"]
    assert table.predictions["label"].to_pylist() == ["fake", "real"]
    assert table.kind == "probability"
    refuse_unused(how, [table])
    wrong = ScoreFormat(columns={"file": "path"}, score="probability")
    with pytest.raises(FaceproofError, match=r"'file', which is no column of .*found label, path"):
        refuse_unused(wrong, [read_scores(written(tmp_path, ROWS), wrong)])
    with pytest.raises(FaceproofError, match=r"--columns.a=colour is none of path"):
        ScoreFormat(columns={"a": "colour"})
    with pytest.raises(FaceproofError, match=r"two columns for path, b.jpg"):
        read_scores(
            written(tmp_path, "a,b.jpg,score\nx,y,1\n"),
            ScoreFormat(columns={"a": "path", "b.jpg": "path"}, score="logit"),
        )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_any_spreadsheets_csv_is_read(encoding: str, delimiter: str, tmp_path: Path) -> None:
    text = ROWS.replace("a.jpg", "é.jpg").replace(",", delimiter).replace("\n", "\r\n")
    table = read_scores(written(tmp_path, text, encoding=encoding), PROBABILITY)
    assert table.predictions["path"].to_pylist()[0] == "é.jpg"


def test_an_encoding_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FaceproofError, match="save it as UTF-8"):
        read_scores(written(tmp_path, ROWS.replace("a.", "é."), encoding="latin-1"), PROBABILITY)


def test_json_and_parquet_are_read_and_rows_counted_from_one(tmp_path: Path) -> None:
    records = [{"path": "a.jpg", "label": "real", "score": 0.1}, {"path": "b.jpg", "score": None}]
    with pytest.raises(FaceproofError, match=r"row 2 \(b.jpg: empty\)"):
        read_scores(written(tmp_path, json.dumps(records), "scores.json"), PROBABILITY)
    file = tmp_path / "scores.parquet"
    columns = {"path": ["a.jpg"], "score": [0.25], "landmarks": [[1.0, 2.0]]}
    pyarrow.parquet.write_table(pa.table(columns), file)
    table = read_scores(file, PROBABILITY)
    assert probabilities_of(table.predictions).tolist() == [0.25]
    assert table.predictions["label"].to_pylist() == [None]


def test_scores_that_look_like_others_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        read_scores(written(tmp_path, ROWS), ScoreFormat(score="logit"))
    assert "if they are probabilities, type --score probability" in caplog.text


def test_splits_divide_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    text = "path,score,split,label\na,0.1,test,real\nb,0.2,valid,fake\nc,0.3,train,odd\n"
    how = ScoreFormat(score="probability", labels={"odd": None})
    table = read_scores(written(tmp_path, text), how)
    assert (table.split, table.num_left_out) == (["test", "val"], 1)
    assert table.part("val")["path"].to_pylist() == ["b"]
    assert reported_split(table) == "test"
    odd = read_scores(written(tmp_path, text.replace("test", "train")), how)
    with pytest.raises(FaceproofError, match="none of them is test: say which one"):
        reported_split(odd)


def test_a_table_of_images_adds_columns_by_path(tmp_path: Path) -> None:
    scores = written(tmp_path, "path,score\nimg/a.jpg,0.1\nimg\\b.jpg,0.9\n")
    images = written(
        tmp_path,
        "path,label,generator,group,tone\nimg/b.jpg,fake,gan,v2,dark\nimg/a.jpg,real,,v1,light\n"
        "img/c.jpg,real,,v3,light\n",
        "images.csv",
    )
    how = ScoreFormat(score="probability", subgroups=("tone",))
    table = read_scores(scores, how, images).predictions
    assert table["label"].to_pylist() == ["real", "fake"]
    assert table["generator"].to_pylist() == [None, "gan"]
    assert table["tone"].to_pylist() == ["light", "dark"]
    assert table["source"].to_pylist() == ["images.csv"] * 2

    more = written(tmp_path, "path,score\nimg/a.jpg,0.1\nimg/b.jpg,0.9\nz.jpg,0.5\n")
    with pytest.raises(FaceproofError, match=r"1 of the 3 images of .* are not in .*: z.jpg"):
        read_scores(more, how, images)
    other = written(tmp_path, "path,label,score\nimg/a.jpg,fake,0.1\n")
    with pytest.raises(FaceproofError, match=r"labelled otherwise.*img/a.jpg.*real there, fake"):
        read_scores(other, how, images)


def test_what_the_table_says_itself_comes_before_what_is_added(tmp_path: Path) -> None:
    own = "path,score,split,group,source\na.jpg,0.1,val,v1,web\nb.jpg,0.9,,,\n"
    scores = written(tmp_path, own)
    more = "path,split,group,source\na.jpg,dev,x,y\nb.jpg,test,v2,lab\n"
    table = read_scores(scores, PROBABILITY, written(tmp_path, more, "images.csv"))
    assert table.split == ["val", "test"]
    assert table.predictions["group"].to_pylist() == ["v1", "v2"]
    assert table.predictions["source"].to_pylist() == ["web", "lab"]
    other = written(tmp_path, more.replace("dev", "test"), "images.csv")
    with pytest.raises(FaceproofError, match=r"divided into splits otherwise.*a.jpg.*test there"):
        read_scores(scores, PROBABILITY, other)


def test_paths_match_as_written_or_from_their_tables_folders() -> None:
    here, there = Path("/x/scores"), Path("/x/images")
    assert match_paths(["a", "b"], here, ["b", "a"], there) == [1, 0]
    assert match_paths(["../images/a"], here, ["a"], there) == [0]
    assert match_paths(["/x/images/a", "b"], here, ["a"], there) == [0, None]
    assert match_paths(["sub\\a"], here, ["sub/a"], there) == [0]


def test_images_of_two_tables_are_the_same_by_their_files_or_else_by_either_writing(
    tmp_path: Path,
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    paths, others = ["a.jpg", "../there/b.jpg"], ["a.jpg", "b.jpg"]
    assert shared_paths(paths, here, others, there) == paths
    there.mkdir()
    (there / "a.jpg").touch()  # so that a.jpg of the two folders are two images
    assert shared_paths(paths, here, others, there) == ["../there/b.jpg"]
