"""DFDC: its metadata, labels.csv of the test set, pairs, and what is refused."""

import json
from collections import Counter
from pathlib import Path

import pytest

from faceproof.errors import FaceproofError
from tests import protocol_trees as trees
from tests.data.protocols.listing import listed, rows_of


def test_metadata_and_labels_say_split_label_and_pair(tmp_path: Path) -> None:
    rows = rows_of(listed("dfdc", f"data.root={trees.dfdc(tmp_path)}"), tmp_path)
    real, fake = (rows[f"dfdc_train_part_1/{kind}10.mp4"] for kind in ("real", "fake"))
    assert fake["pair"] == real["pair"] == "dfdc/dfdc_train_part_1/real10"
    assert fake["component"] == "dfdc/identity=dfdc_train_part_1" == real["component"]
    assert (real["label"], fake["label"], fake["generator"]) == ("real", "fake", "dfdc")
    assert rows["test/test1.mp4"]["label"] == "fake"
    assert rows["test/test0.mp4"]["label"] == "real"
    assert {row["split"] for path, row in rows.items() if path[:4] == "test"} == {"test"}
    assert not {row["split"] for path, row in rows.items() if path[:4] == "dfdc"} & {"test"}


def test_whole_parts_are_taken_for_validation(tmp_path: Path) -> None:
    root = trees.dfdc(tmp_path, parts=20)
    rows = rows_of(listed("dfdc", f"data.root={root}", "data.validation=0.4"), root)
    found: dict[str, set[str | None]] = {}
    for path, row in rows.items():
        found.setdefault(path.split("/")[0], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in found.values())
    number = Counter(next(iter(splits)) for splits in found.values())
    assert number["test"] == 1
    assert 3 <= number["val"] <= 14


def test_videos_of_one_name_in_two_parts_stay_two(tmp_path: Path) -> None:
    for part in (0, 1):
        folder = tmp_path / f"dfdc_train_part_{part}"
        held = {"a.mp4": {"label": "REAL"}, "b.mp4": {"label": "FAKE", "original": "a.mp4"}}
        trees.write_json(folder / "metadata.json", held)
        for name in "ab":
            trees.video(folder / name)
    data = listed("dfdc", f"data.root={tmp_path}")
    assert len(set(data.table["group"].to_pylist())) == data.table.num_rows == 4
    assert len(set(data.table["pair"].to_pylist())) == 2


def test_frames_in_folders_and_one_part_alone_are_read(tmp_path: Path) -> None:
    root = trees.dfdc(tmp_path, trees.two_empty_frames)
    assert listed("dfdc", f"data.root={root}").table.num_rows == 2 * (8 + 4)
    part = root / "dfdc_train_part_0"
    alone = listed("dfdc", f"data.root={part}", "data.validation=0")
    assert alone.table.num_rows == 8
    assert set(alone.table["split"].to_pylist()) == {"train"}


def test_what_is_missing_and_what_no_list_names_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = trees.dfdc(tmp_path)
    (root / "dfdc_train_part_0/real00.mp4").unlink()
    trees.video(root / "dfdc_train_part_0/stranger")
    assert listed("dfdc", f"data.root={root}").table.num_rows == 11
    assert "1 of 4 videos are not there, 'dfdc_train_part_0/real00' the first" in caplog.text
    assert "1 clips are left out: no list names them, 'dfdc_train_part_0/stranger'" in caplog.text


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (["a.mp4"], "is no metadata of DFDC"),
        ({"a.mp4": {"split": "train"}}, r"names no label of a\.mp4: found split"),
        ({"a.mp4": {"label": "MAYBE"}}, r"says 'MAYBE' of .*data\.labels\.MAYBE=real"),
        ({"a.mp4": {"label": "REAL", "split": "fold1"}}, r"names no split for .*: found 'fold1'"),
    ],
)
def test_metadata_of_another_form_is_refused(tmp_path: Path, held: object, message: str) -> None:
    trees.write_json(tmp_path / "dfdc_train_part_0/metadata.json", held)
    trees.video(tmp_path / "dfdc_train_part_0/a")
    with pytest.raises(FaceproofError, match=message):
        listed("dfdc", f"data.root={tmp_path}")


def test_no_list_at_all_is_refused_with_the_tree(tmp_path: Path) -> None:
    trees.video(tmp_path / "dfdc_train_part_0/a")
    with pytest.raises(FaceproofError, match=r"no metadata\.json and no labels\.csv below"):
        listed("dfdc", f"data.root={tmp_path}")


def test_a_test_set_with_metadata_of_numbers_is_read(tmp_path: Path) -> None:
    for name in "ab":
        trees.video(tmp_path / "test" / name)
    held = {"a.mp4": {"is_fake": 0}, "b.mp4": {"is_fake": 1}}
    (tmp_path / "test/metadata.json").write_text(json.dumps(held))
    rows = rows_of(listed("dfdc", f"data.root={tmp_path}"), tmp_path)
    assert {path: (row["label"], row["split"]) for path, row in rows.items()} == {
        "test/a.mp4": ("real", "test"), "test/b.mp4": ("fake", "test"),
    }  # fmt: skip
