"""Celeb-DF: its test list, in which 1 is real, people, pairs, and what is refused."""

from collections import Counter
from pathlib import Path

import pytest

from faceproof.errors import FaceproofError
from tests import protocol_trees as trees
from tests.data.protocols.listing import listed, rows_of

LIST = "List_of_testing_videos.txt"


@pytest.mark.parametrize("inside", ["", "videos"])
def test_the_list_is_for_testing_and_the_rest_for_training(tmp_path: Path, inside: str) -> None:
    root = trees.celebdf(tmp_path, people=20, inside=inside)
    rows = rows_of(listed("celebdf", f"data.root={root}"), root)
    tested = {path for path, row in rows.items() if row["split"] == "test"}
    assert {path.replace("/videos/", "/") for path in tested} == {
        "Celeb-real/id18_0000.mp4", "Celeb-synthesis/id18_id19_0000.mp4", "YouTube-real/00018.mp4",
        "Celeb-real/id19_0000.mp4", "Celeb-synthesis/id19_id18_0000.mp4", "YouTube-real/00019.mp4",
    }  # fmt: skip
    splits = Counter(row["split"] for row in rows.values())
    assert splits["train"] > splits["val"] > 0
    assert Counter(row["label"] for row in rows.values()) == {"real": 40, "fake": 20}


def test_of_one_person_nothing_is_in_training_and_validation(tmp_path: Path) -> None:
    root = trees.celebdf(tmp_path, people=40)
    rows = rows_of(listed("celebdf", f"data.root={root}", "data.validation=0.5"), root)
    found: dict[str | None, set[str | None]] = {}
    for row in rows.values():
        if row["pair"]:
            found.setdefault(row["pair"], set()).add(row["split"])
    assert len(found) == 40
    assert all(len(splits) == 1 for splits in found.values())
    assert 8 < sum(splits == {"val"} for splits in found.values()) < 32


def test_a_fake_is_a_pair_with_the_first_person_s_video(tmp_path: Path) -> None:
    root = trees.celebdf(tmp_path)
    trees.video(root / "Celeb-real/id0_0007")
    rows = rows_of(listed("celebdf", f"data.root={root}"), root)
    fake, real = rows["Celeb-synthesis/id0_id1_0000.mp4"], rows["Celeb-real/id0_0000.mp4"]
    assert fake["pair"] == real["pair"] == "celebdf/id0_0000"
    assert rows["Celeb-real/id1_0000.mp4"]["pair"] == "celebdf/id1_0000"
    assert rows["Celeb-real/id0_0007.mp4"]["pair"] == "celebdf/id0_0007"
    assert rows["YouTube-real/00000.mp4"]["pair"] is None
    assert fake["component"] == rows["Celeb-real/id1_0000.mp4"]["component"]
    assert (fake["generator"], real["generator"]) == ("celeb_synthesis", None)


def test_frames_are_read_too(tmp_path: Path) -> None:
    for inside in ("", "frames"):
        root = trees.celebdf(tmp_path / f"x{inside}", trees.two_empty_frames, inside=inside)
        data = listed("celebdf", f"data.root={root}")
        assert data.table.num_rows == 48
        assert len(set(data.table["group"].to_pylist())) == 24


def test_videos_and_frames_side_by_side_need_a_choice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = trees.celebdf(tmp_path)
    trees.celebdf(tmp_path, trees.two_empty_frames, inside="frames")
    with pytest.raises(FaceproofError, match=r"24 videos .* frames of 24 videos .*data\.media"):
        listed("celebdf", f"data.root={root}")
    assert listed("celebdf", f"data.root={root}", "data.media=videos").table.num_rows == 24
    assert listed("celebdf", f"data.root={root}", "data.media=images").table.num_rows == 48
    assert "24 clips are left out by data.media=images" in caplog.text


def test_labels_are_not_guessed_and_swapped_ones_are_refused(tmp_path: Path) -> None:
    root = f"data.root={trees.celebdf(tmp_path)}"
    with pytest.raises(FaceproofError, match=r"1 means fake by .* and the folder says real"):
        listed("celebdf", root, "data.labels.1=fake", "data.labels.0=real")
    with pytest.raises(FaceproofError, match="must say which number is real and which is fake"):
        listed("celebdf", root, "data.labels.0=real")
    (tmp_path / LIST).write_text("2 Celeb-real/id0_0000.mp4\n")
    with pytest.raises(FaceproofError, match=r"line 1 is '2 Celeb-real/id0_0000\.mp4'; each"):
        listed("celebdf", root)
    (tmp_path / LIST).write_text("1 Else/id0_0000.mp4\n")
    with pytest.raises(FaceproofError, match="the folder says nothing"):
        listed("celebdf", root)


def test_missing_files_and_lists_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = trees.celebdf(tmp_path)
    (root / "Celeb-real/id7_0000.mp4").unlink()
    trees.video(root / "Celeb-real/interview")
    assert listed("celebdf", f"data.root={root}").table.num_rows == 23
    assert "1 of 6 testing videos are not there, 'Celeb-real/id7_0000' the first" in caplog.text
    assert "their names are no videos of Celeb-DF, 'Celeb-real/interview' the first" in caplog.text
    (root / LIST).unlink()
    with pytest.raises(FaceproofError, match=r"no .*List_of_testing_videos.*data\.splits=ratios"):
        listed("celebdf", f"data.root={root}")
    with pytest.raises(FaceproofError, match=r"(?s)no folder celeb-real below .*expected"):
        listed("celebdf", f"data.root={root / 'YouTube-real'}")


def test_none_of_the_listed_videos_is_an_error(tmp_path: Path) -> None:
    root = trees.celebdf(tmp_path)
    (root / LIST).write_text("1 Celeb-real/id99_0000.mp4\n0 Celeb-synthesis/id98_id99_0000.mp4\n")
    with pytest.raises(FaceproofError, match="none of the 2 testing videos"):
        listed("celebdf", f"data.root={root}")


def test_no_person_is_in_two_splits_by_ratios(tmp_path: Path) -> None:
    root = trees.celebdf(tmp_path, people=20)
    rows = rows_of(listed("celebdf", f"data.root={root}", "data.splits=ratios"), root)
    found: dict[str | None, set[str | None]] = {}
    for row in rows.values():
        found.setdefault(row["component"], set()).add(row["split"])
    assert len([c for c in found if "identity=" in str(c)]) == 10
    assert all(len(splits) == 1 for splits in found.values())
    assert {row["split"] for row in rows.values()} == {"train", "val", "test"}


def swapped(root: Path, distance: int) -> Path:
    """Write people of whom each swaps faces with the next ones, so that all are connected."""
    for person in range(20):
        trees.video(root / f"Celeb-real/id{person}_0000")
        for other in range(person + 1, person + 1 + distance):
            trees.video(root / f"Celeb-synthesis/id{person}_id{other % 20}_0000")
    return root


def test_people_who_are_all_connected_cannot_be_divided_and_it_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = listed("celebdf", f"data.root={swapped(tmp_path, 1)}", "data.splits=ratios")
    assert set(data.table["split"].to_pylist()) == {"train"}
    assert "40 of 40 images (100.0%) are connected with identity=id0" in caplog.text
    assert "data.bridges=leave_out" in caplog.text


def test_fakes_of_people_of_two_splits_can_be_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ("data.splits=ratios", "data.bridges=leave_out")
    data = listed("celebdf", f"data.root={swapped(tmp_path, 5)}", *words)
    rows = rows_of(data, tmp_path)
    assert sum(row["label"] == "real" for row in rows.values()) == 20
    found: dict[str | None, set[str | None]] = {}
    for row in rows.values():
        found.setdefault(row["pair"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in found.values())
    assert {row["split"] for row in rows.values()} == {"train", "val", "test"}
    assert f"{120 - len(rows)} of 120 images are left out" in caplog.text
