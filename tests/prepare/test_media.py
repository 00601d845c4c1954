"""Preparing one photograph or video: what is written, and what is wrong with files that are not."""

import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageFilter

from faceproof.data.digests import content_digest
from faceproof.data.image_io import read_image
from faceproof.prepare.cropping import CropConfig, cut_as_stored
from faceproof.prepare.detectors import load_detector
from faceproof.prepare.finding import find_faces
from faceproof.prepare.media import (
    BLURRED,
    NO_FACE,
    OK,
    REJECTED,
    UNREADABLE,
    Media,
    PrepareSettings,
    prepare_media,
)
from faceproof.settings import SettingError
from tests.small_faces import moving, scene, write_clip, write_photograph
from tests.small_videos import write_sound, write_video

ONE, OTHER = (1, 70, 128, 120), (2, 190, 128, 140)
LARGE, SMALL = (2, 150, 128, 200), (1, 40, 40, 70)


@pytest.fixture
def prepared(tmp_path):
    """Return a function that prepares a file, and the folder that it writes to."""
    folder = tmp_path / "out"

    def prepare(path, video=None, **settings):
        is_video = path.suffix == ".mp4" if video is None else video
        source = Media(str(path), "faces/a", is_video)
        return prepare_media(
            source, folder, PrepareSettings(**settings), load_detector("retinaface")
        )

    prepare.folder = folder
    return prepare


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_of_a_photograph_the_largest_face_is_written(tmp_path, prepared):
    photograph = write_photograph(tmp_path / "a.png", [SMALL, LARGE])
    result = prepared(photograph)
    (crop,) = result.crops
    assert (result.status, result.reason, result.most_faces) == (OK, None, 2)
    assert files(prepared.folder) == ["faces/a.png"] == [crop.file]
    image, config = read_image(photograph), CropConfig()
    (face, _) = find_faces(image, load_detector("retinaface"), config).faces
    pixels = read_image(prepared.folder / crop.file)
    assert np.array_equal(pixels, cut_as_stored(image, face, config))
    assert crop.face == face
    assert crop.side == pixels.shape[1]
    assert crop.content == content_digest((prepared.folder / crop.file).read_bytes()).hex()
    assert (crop.time, crop.track) == (None, 0)


def test_all_faces_of_a_photograph_have_numbers(tmp_path, prepared):
    result = prepared(write_photograph(tmp_path / "a.png", [SMALL, LARGE]), faces="all")
    assert files(prepared.folder) == ["faces/a_0.png", "faces/a_1.png"]
    assert [crop.track for crop in result.crops] == [0, 1]
    assert result.crops[0].side > result.crops[1].side


def test_ten_faces_are_ten(tmp_path, prepared):
    people = [(1 + n % 5, 52 + 102 * (n % 5), 150 + 200 * (n // 5), 100) for n in range(10)]
    result = prepared(write_photograph(tmp_path / "a.png", people, 512), faces="all")
    assert result.most_faces == len(result.crops) == 10


def test_a_face_that_the_border_cuts_is_said_to_be(tmp_path, prepared):
    photograph = write_photograph(tmp_path / "a.png", [(2, 20, 128, 200)])
    (crop,) = prepared(photograph, crop=CropConfig(min_score=0.3)).crops
    assert 0.5 < crop.inside < 0.98


def test_a_video_gives_frames_evenly_by_time(tmp_path, prepared):
    clip = write_clip(tmp_path / "a.mp4", lambda n: [moving(1, n)])
    result = prepared(clip, frames=4)
    assert [crop.time for crop in result.crops] == pytest.approx([0.15, 0.45, 0.7, 0.95], abs=0.06)
    assert (result.status, result.num_frames, result.num_tracks) == (OK, 4, 1)
    assert files(prepared.folder) == [f"faces/a/a_{n:06d}_0.png" for n in range(4)]
    assert result.seconds == pytest.approx(1.2, abs=0.1)


@pytest.mark.parametrize(("settings", "number"), [({"frames": "all"}, 12), ({"every": 5}, 3)])
def test_all_frames_or_every_nth(tmp_path, prepared, settings, number):
    result = prepared(write_clip(tmp_path / "a.mp4", lambda n: [moving(1, n)]), **settings)
    assert len(result.crops) == result.num_frames == number


def test_two_people_are_two_tracks_of_which_one_or_all_are_written(tmp_path, prepared):
    def people(frame):
        x, y, size = 70 + 3 * frame, 128, 120
        return [(1, x, y, size), OTHER]

    clip = write_clip(tmp_path / "a.mp4", people)
    largest = prepared(clip, frames=6)
    assert (largest.num_tracks, {crop.track for crop in largest.crops}) == (2, {0})
    assert len(files(prepared.folder)) == len(largest.crops) == 6
    every = prepared(clip, frames=6, faces="all")
    assert sorted(crop.track for crop in every.crops) == [0] * 6 + [1] * 6
    steadiest = prepared(clip, frames=6, faces="steadiest")
    assert {crop.face.box.left > 128 for crop in steadiest.crops} == {True}
    assert len(files(prepared.folder)) == 6


def test_a_cut_to_another_person_is_another_track(tmp_path, prepared):
    clip = write_clip(tmp_path / "a.mp4", lambda n: [(1 if n < 6 else 3, 128, 128, 180)])
    result = prepared(clip, frames=6, faces="all")
    assert [crop.track for crop in result.crops] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_frames_are_turned_as_players_show_them(tmp_path, prepared, turn):
    upright = scene([(1, 128, 128, 180)])
    pixels = np.ascontiguousarray(np.rot90(upright, -turn // 90))
    turned = {"image": lambda number: pixels, "rotation": turn}
    clip = write_video(tmp_path / "a.mp4", [0, 0.1], side=256, **turned)
    (crop, _) = prepared(clip, frames="all").crops
    left, right, nose, *mouth = crop.face.landmarks
    assert left[1] < nose[1] < mouth[0][1]
    assert left[0] < right[0]


def test_time_counts_where_the_frame_rate_varies(tmp_path, prepared):
    times = [*(n / 25 for n in range(25)), 3.0]
    pixels = scene([(1, 128, 128, 180)])
    clip = write_video(tmp_path / "a.mp4", times, side=256, image=lambda n: pixels)
    found = [crop.time for crop in prepared(clip, frames=3).crops]
    assert found == pytest.approx([0.48, 0.96], abs=0.05)  # the second and third show one frame


def write_cover(file):
    """Write a sound file with a picture, as music has it."""
    picture = scene([(1, 128, 128, 180)])
    with av.open(str(file), "w", format="mp4") as container:
        cover = container.add_stream("png", rate=1)
        cover.width = cover.height = 256
        cover.pix_fmt = "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        sound = container.add_stream("aac", rate=8000)
        quiet = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        quiet.sample_rate = 8000
        container.mux(cover.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(cover.encode())
        container.mux(sound.encode(quiet))
        container.mux(sound.encode())
    return file


def bad(kind, folder):
    clip = folder / "bad.mp4"
    if kind == "empty":
        clip.write_bytes(b"")
    elif kind == "text":
        clip.write_text("no video")
    elif kind == "sound":
        shutil.move(write_sound(folder / "bad.m4a"), clip)
    elif kind == "cover":
        write_cover(clip)
    elif kind == "truncated":
        whole = write_clip(folder / "whole.mp4", lambda n: [moving(1, n)]).read_bytes()
        clip.write_bytes(whole[: len(whole) // 2])
    return clip


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", "no video format that can be read, or a file without its end"),
        ("text", "no video format that can be read"),
        ("sound", "it has no video stream"),
        ("cover", "it has only a cover picture"),
        ("truncated", "a file without its end"),
        ("missing", "the file is not there"),
    ],
)
def test_a_video_that_is_none_is_a_reason(tmp_path, prepared, kind, reason):
    result = prepared(bad(kind, tmp_path))
    assert (result.status, result.crops) == (UNREADABLE, ())
    assert reason in result.reason


def test_of_a_video_that_is_cut_off_the_rest_is_taken(tmp_path, prepared):
    whole = write_clip(
        tmp_path / "whole.mp4", lambda n: [moving(1, n)], 40, gop=4,
        options={"movflags": "faststart"},
    ).read_bytes()  # fmt: skip
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    result = prepared(tmp_path / "cut.mp4", frames=8)
    assert result.status == OK
    assert 0 < result.num_frames < 8
    assert result.lost == 8 - result.num_frames
    assert f"{result.lost} of 8 frames cannot be read" in result.reason


@pytest.mark.parametrize("settings", [{"frames": "all"}, {"every": 2}])
def test_of_all_frames_those_behind_the_end_are_counted(tmp_path, prepared, settings):
    whole = write_clip(
        tmp_path / "whole.mp4", lambda n: [moving(1, n)], 40, gop=4,
        options={"movflags": "faststart"},
    ).read_bytes()  # fmt: skip
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    result = prepared(tmp_path / "cut.mp4", **settings)
    wanted = 40 // settings.get("every", 1)
    assert result.lost > 0
    assert result.num_frames + result.lost == pytest.approx(wanted, abs=2)


@pytest.mark.parametrize(
    ("settings", "wanted"), [({"frames": 20}, 20), ({"frames": "all"}, 60), ({"every": 2}, 30)]
)
def test_of_a_video_that_is_damaged_inside_the_lost_frames_are_counted(
    tmp_path, prepared, settings, wanted
):
    whole = write_clip(
        tmp_path / "whole.mp4", lambda n: [moving(1, n)], 60, gop=10,
        options={"movflags": "faststart"},
    ).read_bytes()  # fmt: skip
    third = len(whole) // 3
    (tmp_path / "damaged.mp4").write_bytes(whole[:third] + bytes(third) + whole[2 * third :])
    result = prepared(tmp_path / "damaged.mp4", **settings)
    assert result.status == OK
    assert 0.2 * wanted < result.lost < 0.6 * wanted
    assert result.num_frames + result.lost == pytest.approx(wanted, abs=2)
    assert "cannot be read: the file is cut off or damaged" in result.reason


def test_a_blurred_face_gives_way_to_a_sharp_one(tmp_path, prepared):
    pixels = scene([LARGE, SMALL])
    soft = np.array(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(4)))
    soft[:90, :90] = pixels[:90, :90]  # the small face stays as it is
    Image.fromarray(soft).save(tmp_path / "a.png")
    both = prepared(tmp_path / "a.png", faces="all").crops
    assert both[0].sharpness < both[1].sharpness
    between = (both[0].sharpness + both[1].sharpness) / 2
    (crop,) = prepared(tmp_path / "a.png", min_sharpness=between).crops
    assert crop.face == both[1].face
    clip = write_video(tmp_path / "a.mp4", [0, 0.1, 0.2], side=256, image=lambda n: soft)
    found = prepared(clip, frames="all", faces="all").crops
    sharp = {track: max(one.sharpness for one in found if one.track == track) for track in (0, 1)}
    limit = sum(sharp.values()) / 2
    chosen = prepared(clip, frames="all", min_sharpness=limit)
    assert chosen.status == OK
    assert {crop.face.box.left < 90 for crop in chosen.crops} == {True}


def test_a_path_that_no_system_takes_is_a_reason(prepared):
    result = prepared(Path("a\0b.mp4"))
    assert (result.status, result.reason) == (UNREADABLE, "its path holds a null byte")


def test_a_photograph_that_cannot_be_read_is_a_reason(tmp_path, prepared):
    (tmp_path / "a.png").write_bytes(b"no image")
    result = prepared(tmp_path / "a.png")
    assert (result.status, result.reason) == (UNREADABLE, "no image format that can be read")


def test_without_a_good_face_it_is_said_which_are_there(tmp_path, prepared):
    Image.new("RGB", (64, 64)).save(tmp_path / "none.png")
    none = prepared(tmp_path / "none.png")
    assert (none.status, none.reason) == (NO_FACE, "no face is found in the image")
    small = write_photograph(tmp_path / "small.png", [(1, 128, 128, 140)])
    found = prepared(small, crop=CropConfig(min_size=200))
    assert (found.status, found.rejected) == (REJECTED, 1)
    assert found.reason == "1 detection, all too small or too unsure"
    soft = prepared(small, min_sharpness=20.0)
    assert (soft.status, soft.blurred, soft.reason) == (BLURRED, 1, "1 face, none sharp enough")
    assert not prepared.folder.exists()


def test_what_a_stopped_command_has_left_is_replaced(tmp_path, prepared):
    stale = prepared.folder / "faces/a/000099_7.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"from before")
    prepared(write_clip(tmp_path / "a.mp4", lambda n: [moving(1, n)]), frames=2)
    assert files(prepared.folder) == ["faces/a/a_000000_0.png", "faces/a/a_000001_0.png"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"faces": "best"}, "faces = 'best' must be one of largest, all, steadiest"),
        ({"frames": 0}, "frames = 0 must be a count from 1 on, or 'all'"),
        ({"every": 2, "frames": 8}, "every = 2 and frames = 8: give one"),
        ({"min_sharpness": "high"}, "min_sharpness = 'high' must be a number"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        PrepareSettings(**settings)
