"""FaceForensics++ and DeepFakeDetection: splits, pairs, components, and what is refused."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from faceproof.errors import FaceproofError
from tests import protocol_trees as trees
from tests.data.protocols.listing import listed, rows_of

FAKES = "manipulated_sequences/Deepfakes/c23/videos"
REALS = "original_sequences/youtube/c23/videos"


def test_videos_have_the_splits_of_the_lists(tmp_path: Path) -> None:
    data = listed("faceforensics", f"data.root={trees.faceforensics(tmp_path)}")
    rows = rows_of(data, tmp_path)
    assert len(rows) == 8 + 8 * len(trees.MANIPULATIONS)
    assert rows[f"{REALS}/000.mp4"]["split"] == rows[f"{FAKES}/003_002.mp4"]["split"] == "train"
    assert rows[f"{REALS}/004.mp4"]["split"] == "val"
    assert rows[f"{FAKES}/007_006.mp4"]["split"] == "test"
    assert Counter(row["split"] for row in rows.values()) == {"train": 20, "val": 10, "test": 10}


def test_a_fake_is_a_pair_with_its_target_and_stays_with_both(tmp_path: Path) -> None:
    data = listed("faceforensics", f"data.root={trees.faceforensics(tmp_path)}")
    rows = rows_of(data, tmp_path)
    target, source = rows[f"{REALS}/000.mp4"], rows[f"{REALS}/001.mp4"]
    fake = rows[f"{FAKES}/000_001.mp4"]
    assert fake["pair"] == target["pair"] == "faceforensics/000" != source["pair"]
    assert fake["component"] == target["component"] == source["component"]
    assert fake["component"] != rows[f"{REALS}/002.mp4"]["component"]
    assert (fake["label"], fake["generator"]) == ("fake", "Deepfakes")
    assert (target["label"], target["generator"]) == ("real", None)
    groups = [row["group"] for row in rows.values()]
    assert len(set(groups)) == len(groups)


@pytest.mark.parametrize("inside", ["images", "frames"])
def test_frames_in_a_folder_a_video_are_read_too(tmp_path: Path, inside: str) -> None:
    root = trees.faceforensics(tmp_path, trees.two_empty_frames, inside=f"c23/{inside}")
    rows = rows_of(listed("faceforensics", f"data.root={root}"), root)
    group = [row for row in rows.values() if row["pair"] == "faceforensics/000"]
    assert len(rows) == 2 * (8 + 8 * 4)
    assert Counter(row["group"] for row in group) == {
        "faceforensics/original_sequences/youtube/c23/000": 2,
        **{f"faceforensics/manipulated_sequences/{name}/c23/000_001": 2
           for name in trees.MANIPULATIONS},
    }  # fmt: skip


def test_one_compression_is_read_and_another_is_refused_by_name(tmp_path: Path) -> None:
    root = trees.faceforensics(tmp_path)
    trees.faceforensics(tmp_path, inside="c40/videos")
    for compression in ("c23", "c40"):
        data = listed("faceforensics", f"data.root={root}", f"data.compression={compression}")
        assert all(f"/{compression}/" in path for path in rows_of(data, root))
        assert data.table.num_rows == 40
    with pytest.raises(FaceproofError, match=r"youtube/raw; found c23, c40: .*compression=c23"):
        listed("faceforensics", f"data.root={root}", "data.compression=raw")
    with pytest.raises(FaceproofError, match=r"compression = 'c30' must be one of raw, c0, c23"):
        listed("faceforensics", f"data.root={root}", "data.compression=c30")


def test_manipulations_are_chosen_and_others_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = trees.faceforensics(tmp_path, manipulations=("Deepfakes", "FaceShifter"))
    data = listed("faceforensics", f"data.root={root}", "data.manipulations=[Deepfakes]")
    assert {row["generator"] for row in rows_of(data, root).values()} == {None, "Deepfakes"}
    assert "FaceShifter is there too, and is left out" in caplog.text
    with pytest.raises(FaceproofError, match=r"no folder .*Face2Face/c23; .*manipulations"):
        listed("faceforensics", f"data.root={root}")
    with pytest.raises(FaceproofError, match="data=dfd"):
        listed("faceforensics", f"data.root={root}", "data.manipulations=[DeepFakeDetection]")


def test_masks_and_videos_of_no_list_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = trees.faceforensics(tmp_path)
    trees.video(root / "manipulated_sequences/Deepfakes/c23/masks/000_001")
    trees.video(root / FAKES / "000_007")
    trees.video(root / FAKES / "trailer")
    trees.video(root / REALS / "900")
    assert listed("faceforensics", f"data.root={root}").table.num_rows == 40
    assert "2 clips are left out: they are in no list, or of videos of two lists" in caplog.text
    assert "1 clips are left out: their names are no videos of FaceForensics++" in caplog.text


def test_missing_videos_are_counted_and_a_missing_manipulation_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = trees.faceforensics(tmp_path)
    (root / REALS / "000.mp4").unlink()
    (root / FAKES / "001_000.mp4").unlink()
    assert listed("faceforensics", f"data.root={root}").table.num_rows == 38
    assert "1 of 8 originals of the lists are not there" in caplog.text
    assert "1 of 8 Deepfakes fakes of the lists are not there" in caplog.text
    shutil.rmtree(root / FAKES)
    (root / FAKES).mkdir()
    with pytest.raises(FaceproofError, match=r"none of the 8 Deepfakes fakes .*leave Deepfakes"):
        listed("faceforensics", f"data.root={root}")


def test_lists_are_looked_for_and_their_absence_says_where_they_are(tmp_path: Path) -> None:
    root = trees.faceforensics(tmp_path / "set")
    whole = listed("faceforensics", f"data.root={root}").table.to_pylist()
    for file in (root / "splits").iterdir():
        file.rename(root / file.name)
    assert listed("faceforensics", f"data.root={root}").table.to_pylist() == whole
    (tmp_path / "lists").mkdir()
    for file in root.glob("*.json"):
        file.rename(tmp_path / "lists" / file.name)
    given = f"data.lists={tmp_path}/lists"
    assert listed("faceforensics", f"data.root={root}", given).table.to_pylist() == whole
    with pytest.raises(FaceproofError, match=r"no train\.json in .*dataset/splits of github"):
        listed("faceforensics", f"data.root={root}")


@pytest.mark.parametrize("held", ['{"a": 1}', "[]", '[["000"]]', "[[0, 1]]", '[["000", "x"]]'])
def test_a_list_of_another_form_is_refused(tmp_path: Path, held: str) -> None:
    root = trees.faceforensics(tmp_path)
    (root / "splits/val.json").write_text(held)
    with pytest.raises(FaceproofError, match=r"val\.json is no list of FaceForensics\+\+"):
        listed("faceforensics", f"data.root={root}")
    (root / "splits/val.json").write_text("[[")
    with pytest.raises(FaceproofError, match=r"val\.json cannot be read as JSON"):
        listed("faceforensics", f"data.root={root}")


def test_a_video_in_two_lists_is_refused(tmp_path: Path) -> None:
    root = trees.faceforensics(tmp_path)
    (root / "splits/val.json").write_text(json.dumps([["000", "004"]]))
    with pytest.raises(FaceproofError, match=r"names video 000, which train\.json names too"):
        listed("faceforensics", f"data.root={root}")


def test_by_ratios_no_list_is_needed_and_source_videos_stay_together(tmp_path: Path) -> None:
    root = trees.faceforensics(tmp_path, splits={"train": 20})
    shutil.rmtree(root / "splits")
    for seed in range(3):
        words = ("data.splits=ratios", f"data.split_seed={seed}")
        rows = rows_of(listed("faceforensics", f"data.root={root}", *words), root)
        splits: dict[str | None, set[str | None]] = {}
        for row in rows.values():
            splits.setdefault(row["component"], set()).add(row["split"])
        assert len(splits) == 20
        assert all(len(found) == 1 for found in splits.values())
        assert set.union(*splits.values()) == {"train", "val", "test"}


def test_settings_that_change_nothing_are_refused(tmp_path: Path) -> None:
    root = f"data.root={trees.faceforensics(tmp_path)}"
    for word in ("data.bridges=leave_out", "data.ratios={train:0.8,val:0.1,test:0.1}"):
        with pytest.raises(FaceproofError, match=r"changes nothing with data\.splits=official"):
            listed("faceforensics", root, word)
    with pytest.raises(FaceproofError, match=r"lists = .* changes nothing with data\.splits=ratio"):
        listed("faceforensics", root, "data.splits=ratios", f"data.lists={tmp_path}")


def test_actors_are_named_by_dfd_and_a_fake_is_a_pair_with_its_scene(tmp_path: Path) -> None:
    rows = rows_of(listed("dfd", f"data.root={trees.dfd(tmp_path)}"), tmp_path)
    real = rows["original_sequences/actors/c23/videos/01__kitchen_pan.mp4"]
    fake = rows["manipulated_sequences/DeepFakeDetection/c23/videos/"
                "01_02__kitchen_pan__8DTEGQ51.mp4"]  # fmt: skip
    assert real["pair"] == fake["pair"] == "dfd/01__kitchen_pan"
    assert real["component"] == fake["component"] == "dfd/identity=01"
    assert (fake["generator"], real["generator"]) == ("DeepFakeDetection", None)
    assert len({row["component"] for row in rows.values()}) == 2


def test_dfd_has_no_official_splits(tmp_path: Path) -> None:
    root = trees.dfd(tmp_path)
    with pytest.raises(FaceproofError, match="its authors name no splits"):
        listed("dfd", f"data.root={root}", "data.splits=official")
    trees.video(root / "original_sequences/actors/c40/videos/01__x")
    with pytest.raises(FaceproofError, match=r"no folder .*DeepFakeDetection/c40; found c23"):
        listed("dfd", f"data.root={root}", "data.compression=c40")
