"""DeeperForensics: its lists, the originals of FaceForensics++, pairs, and what is refused."""

from collections import Counter
from pathlib import Path

import pytest

from faceproof.errors import FaceproofError
from tests import protocol_trees as trees
from tests.data.protocols.listing import listed, rows_of


def world(root: Path) -> tuple[str, str]:
    trees.deeperforensics(root / "deeper")
    trees.faceforensics(root / "ff", manipulations=())
    return f"data.root={root}/deeper", f"data.targets={root}/ff"


def test_an_original_has_the_split_of_its_fake_and_is_a_pair_with_it(tmp_path: Path) -> None:
    rows = rows_of(listed("deeperforensics", *world(tmp_path)), tmp_path)
    fake = rows["deeper/manipulated_videos/end_to_end/002_M102.mp4"]
    real = rows["ff/original_sequences/youtube/c23/videos/002.mp4"]
    assert (fake["split"], real["split"]) == ("val", "val")
    assert fake["pair"] == real["pair"] == "deeperforensics/002"
    assert fake["component"] == real["component"]
    assert fake["generator"] == "deeperforensics_end_to_end"
    assert Counter(row["label"] for row in rows.values()) == {"fake": 4, "real": 4}


def test_variants_of_a_fake_are_told_apart(tmp_path: Path) -> None:
    words = world(tmp_path)
    folder = tmp_path / "deeper/manipulated_videos"
    (folder / "end_to_end").rename(folder / "keep")
    trees.deeperforensics(tmp_path / "deeper")
    (folder / "keep").rename(folder / "end_to_end_level_1")
    data = listed("deeperforensics", *words, "data.variants=[end_to_end,end_to_end_level_1]")
    rows = rows_of(data, tmp_path)
    assert Counter(row["generator"] for row in rows.values()) == {
        None: 4, "deeperforensics_end_to_end": 4, "deeperforensics_end_to_end_level_1": 4,
    }  # fmt: skip
    assert len({row["group"] for row in rows.values()}) == 12
    with pytest.raises(FaceproofError, match=r"no folder .*/none; .*data\.variants"):
        listed("deeperforensics", *words, "data.variants=[none]")


def test_without_targets_the_reason_and_the_cure_are_said(tmp_path: Path) -> None:
    root, _ = world(tmp_path)
    with pytest.raises(FaceproofError, match=r"no folder .*youtube/c23.*data\.targets"):
        listed("deeperforensics", root, f"data.targets={tmp_path}/nothing")
    with pytest.raises(FaceproofError, match="no image of class real"):
        listed("deeperforensics", root, "data.targets=null")


def test_lists_are_needed_and_what_they_do_not_name_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = world(tmp_path)
    trees.video(tmp_path / "deeper/manipulated_videos/end_to_end/900_W001")
    (tmp_path / "deeper/manipulated_videos/end_to_end/000_M100.mp4").unlink()
    assert listed("deeperforensics", *words).table.num_rows == 6
    assert "1 clips are left out: no list names them" in caplog.text
    assert "1 of 4 videos are not there, '000_m100' the first" in caplog.text
    (tmp_path / "deeper/lists/splits/val.txt").unlink()
    with pytest.raises(FaceproofError, match=r"no .*val\.txt.*data\.splits=ratios"):
        listed("deeperforensics", *words)


def test_a_video_in_two_lists_is_refused(tmp_path: Path) -> None:
    words = world(tmp_path)
    (tmp_path / "deeper/lists/splits/test.txt").write_text("000_M100.mp4\n")
    with pytest.raises(FaceproofError, match=r"names 000_m100, which train\.txt names too"):
        listed("deeperforensics", *words)
