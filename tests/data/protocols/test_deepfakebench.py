"""Files of DeepfakeBench and DF40: splits, labels, pairs, videos in several splits, refusals."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from faceproof.data.protocols.originals import original_of
from faceproof.errors import FaceproofError
from tests import protocol_trees as trees
from tests.data.protocols.listing import listed, rows_of


def written(root: Path, held: Any) -> tuple[str, str]:
    """Write a file and two frames of each of its videos; return the words that name it."""

    def make(node: Any) -> None:
        if isinstance(node, dict):
            for path in node.get("frames", ()):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).touch()
            for one in node.values():
                make(one)

    make(held)
    trees.write_json(root / "file.json", held)
    return f"data.root={root}", f"data.file={root}/file.json"


def videos(label: str, *names: str) -> dict[str, Any]:
    return {n: {"label": label, "frames": [f"{label}/{n}/{f}.png" for f in "01"]} for n in names}


def test_the_file_says_split_label_and_frames(tmp_path: Path) -> None:
    file = trees.deepfakebench(tmp_path)
    data = listed("deepfakebench", f"data.root={tmp_path}", f"data.file={file}")
    rows = rows_of(data, tmp_path)
    assert len(rows) == 2 * 3 * 6
    real = rows["FaceForensics++/FF-real/c23/frames/000/0000.png"]
    fake = rows["FaceForensics++/FF-DF/c23/frames/000_001/0001.png"]
    assert (real["label"], fake["label"], fake["generator"]) == ("real", "fake", "FF-DF")
    assert real["pair"] == fake["pair"] == "deepfakebench/000"
    assert real["component"] == fake["component"]
    assert fake["group"] == "deepfakebench/FF-DF/FF-DF/000_001"
    assert Counter(row["split"] for row in rows.values()) == dict.fromkeys(
        ("train", "val", "test"), 12
    )


def test_a_video_of_several_splits_is_tested_on_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reals = videos("CelebDFv2_real", "id0_0000", "id1_0000")
    fakes = videos("CelebDFv2_fake", "id0_id1_0000", "id1_id0_0000")
    tested = {"CelebDFv2_real": videos("CelebDFv2_real", "id0_0000"),
              "CelebDFv2_fake": videos("CelebDFv2_fake", "id0_id1_0000")}  # fmt: skip
    held = {
        label: {"train": all_of, "val": tested[label], "test": tested[label]}
        for label, all_of in (("CelebDFv2_real", reals), ("CelebDFv2_fake", fakes))
    }
    words = written(tmp_path, {"Celeb-DF-v2": held})
    rows = rows_of(listed("deepfakebench", *words, "data.validation=0"), tmp_path)
    assert {path.split("/")[1]: row["split"] for path, row in rows.items()} == {
        "id0_0000": "test", "id0_id1_0000": "test", "id1_0000": "train", "id1_id0_0000": "train",
    }  # fmt: skip
    assert "2 of 4 videos are in more than one split" in caplog.text


def test_labels_without_real_or_fake_in_their_names_are_asked_for(tmp_path: Path) -> None:
    held = {"S": {"S_Real": {"test": videos("S_Real", "a")}, "S_X": {"test": videos("S_X", "b")}}}
    words = written(tmp_path, held)
    with pytest.raises(FaceproofError, match=r"label 'S_X', .*data\.labels\.S_X=fake"):
        listed("deepfakebench", *words)
    data = listed("deepfakebench", *words, "data.labels.S_X=fake")
    assert Counter(data.table["label"].to_pylist()) == {"real": 2, "fake": 2}
    with pytest.raises(FaceproofError, match=r"labels\.S_X = 'x' must be real, fake or null"):
        listed("deepfakebench", *words, "data.labels.S_X=x")


def test_a_compression_is_chosen(tmp_path: Path) -> None:
    held = {"F": {"FF-real": {"test": {"c23": videos("FF-real", "000"), "c40": {}}},
                  "FF-DF": {"test": {"c23": videos("FF-DF", "000_001"), "c40": {}}}}}  # fmt: skip
    words = written(tmp_path, held)
    assert listed("deepfakebench", *words).table.num_rows == 4
    with pytest.raises(FaceproofError, match=r"compressions c23, c40 .*data\.compression=c23"):
        listed("deepfakebench", *words, "data.compression=raw")


def test_paths_of_another_machine_and_system_are_found(tmp_path: Path) -> None:
    file = trees.deepfakebench(tmp_path)
    text = file.read_text().replace("FaceForensics++/", "/their/rgb/FaceForensics++/")
    whole = listed("df40", f"data.root={tmp_path}", f"data.file={file}").table["path"].to_pylist()
    file.write_text(text)
    moved = listed("df40", f"data.root={tmp_path}", f"data.file={file}")
    assert moved.table["path"].to_pylist() == whole
    file.write_text(text.replace("/their/rgb/", "").replace("/", "\\\\"))
    windows = listed("df40", f"data.root={tmp_path}", f"data.file={file}")
    assert windows.table["path"].to_pylist() == whole


def test_missing_frames_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = trees.deepfakebench(tmp_path)
    (tmp_path / "FaceForensics++/FF-real/c23/frames/000/0000.png").unlink()
    words = (f"data.root={tmp_path}", f"data.file={file}")
    assert listed("deepfakebench", *words).table.num_rows == 35
    assert "1 of 36 frames are not there" in caplog.text
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(FaceproofError, match=r"none of the 36 frames .*set data\.root"):
        listed("deepfakebench", f"data.root={tmp_path / 'elsewhere'}", words[1])


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ([], "in place of data sets it has a list"),
        ({"S": {"real": {"fold": {}}}}, "has 'fold' where splits should be"),
        ({"S": {"real": {"train": {"v": {"label": "real"}}}}}, "has the compressions v|no frames"),
        (
            {"S": {"real": {"train": {"v": {"frames": "x"}}}}},
            "frames of S/real/.* no list",
        ),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, held: object, message: str) -> None:
    (tmp_path / "file.json").write_text(json.dumps(held))
    with pytest.raises(FaceproofError, match=message):
        listed("deepfakebench", f"data.root={tmp_path}", f"data.file={tmp_path}/file.json")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FaceproofError, match=r"no file .*none\.json; set data\.file"):
        listed("deepfakebench", f"data.root={tmp_path}", f"data.file={tmp_path}/none.json")


@pytest.mark.parametrize(
    ("name", "original"),
    [("017", "017"), ("017_803", "017"), ("000_M101", "000"), ("id3_id10_0003", "id3_0003"),
     ("01__walking", "01__walking"), ("fake_7", None)],
)  # fmt: skip
def test_names_of_known_sets_tell_the_original(name: str, original: str | None) -> None:
    assert original_of(name) == original
