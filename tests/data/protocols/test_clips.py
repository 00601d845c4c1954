"""Videos, and the folders of frames that they were cut into."""

from pathlib import Path

import pytest

from faceproof.data.protocols.clips import find_clips, key_of, tell_missing
from faceproof.errors import FaceproofError
from tests import protocol_trees as trees


def test_folders_that_say_nothing_are_no_part_of_a_key() -> None:
    names = ("a/videos/b.mp4", "a/frames/b", "a/b", "a\\videos\\b.MP4", "a/images/b")
    assert {key_of(name) for name in names} == {"a/b"}
    assert key_of("a/b.c") == "a/b.c"


def test_videos_of_one_name_in_two_folders_are_two_clips(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        trees.video(tmp_path / folder / "000")
    clips = find_clips(tmp_path, [""], None, "")
    assert [clip.key for clip in clips] == ["one/000", "two/000"]


def test_two_files_of_one_video_are_refused(tmp_path: Path) -> None:
    trees.video(tmp_path / "one/videos/000")
    trees.video(tmp_path / "one/000")
    with pytest.raises(FaceproofError, match=r"one/000\.mp4 and one/videos/000\.mp4, which"):
        find_clips(tmp_path, ["one"], None, "")


def test_frames_outside_of_a_folder_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trees.two_empty_frames(tmp_path / "frames/000")
    (tmp_path / "frames/loose.png").touch()
    (tmp_path / "frames/notes.txt").touch()
    clips = find_clips(tmp_path, [""], "images", "")
    assert [len(clip.files) for clip in clips] == [2]
    assert "1 files are left out, for no folder of a video holds them" in caplog.text
    assert "1 files of other kinds" in caplog.text or "1 file of other kinds" in caplog.text


def test_a_folder_without_videos_shows_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FaceproofError, match=r"(?s)no video and no frame .*THE TREE.*notes\.txt"):
        find_clips(tmp_path, [""], None, "THE TREE")
    trees.video(tmp_path / "000")
    with pytest.raises(FaceproofError, match=r"there are 1 clips of the other kind.*"):
        find_clips(tmp_path, [""], "images", "")


def test_what_all_is_missing_is_refused_and_some_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tell_missing("a list", "videos", [], 3, "look")
    assert not caplog.text
    tell_missing("a list", "videos", ["x"], 3, "look")
    assert "a list: 1 of 3 videos are not there, 'x' the first" in caplog.text
    with pytest.raises(FaceproofError, match=r"none of the 2 videos of a list .*; look"):
        tell_missing("a list", "videos", ["x", "y"], 2, "look")
