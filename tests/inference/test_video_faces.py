"""Judging a video by the faces in it: who decides, and what is said of the others."""

import json
from dataclasses import replace

import pytest

import faceproof
from faceproof.inference import video_faces
from faceproof.inference.faces import FaceOptions
from faceproof.inference.video_faces import judge_video_faces, read_faces
from faceproof.workflows.export import export_run
from tests.small_faces import moving, write_clip
from tests.small_runs import write_run

pytest.importorskip("onnxruntime", reason="finding faces takes faceproof[faces]")


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    export_run(write_run(folder / "run", gain=40.0), folder / "artifact")
    return faceproof.load(folder / "artifact", "cpu")


def judged(detector, file, frames=6, **options):
    clip = read_faces(file, detector.fits, frames, FaceOptions(**options))
    return judge_video_faces(detector, clip)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """A video of two people, of whom the second is there at its end alone."""

    def people(frame):
        return [(1, 70, 128, 120), *([(2, 190, 128, 140)] if frame > 7 else [])]

    return write_clip(tmp_path_factory.mktemp("two") / "two.mp4", people)


def test_the_face_of_the_highest_probability_decides(detector, two):
    found = judged(detector, two, 12)
    assert len(found.tracks) == 2
    assert found.video is max(found.tracks, key=lambda track: track.probability)
    plain = json.loads(json.dumps(found.to_json()))
    assert [len(track["frames"]) for track in plain["tracks"]] == [11, 2]
    assert (plain["frames_wanted"], plain["frames_read"]) == (11, 11)
    each = ", ".join(f"{track.probability:.3f}" for track in found.tracks)
    assert plain["note"].startswith(f"2 faces ({each}), the deciding one in ")
    assert plain["rule"].startswith("one on the face with the highest probability")


def test_a_strange_face_does_not_hide_a_plain_fake(detector, two, monkeypatch):
    clip = read_faces(two, detector.fits, 12, FaceOptions())
    tracks = judge_video_faces(detector, clip).tracks
    strange = replace(tracks[0], called="fake", probability=0.99, is_strange=True)
    fake = replace(tracks[1], called="fake", probability=0.7, is_strange=False)
    real = replace(fake, called="real", probability=0.1)
    for other, decides in ((fake, fake), (real, strange)):
        said = iter((strange, other))
        monkeypatch.setattr(video_faces, "judge_clip", lambda *_, said=said: next(said))
        monkeypatch.setattr(video_faces, "MIN_SEEN", 1)
        assert judge_video_faces(detector, clip).video is decides


def test_a_face_that_is_hardly_seen_does_not_decide(detector, two, monkeypatch):
    monkeypatch.setattr(video_faces, "MIN_SEEN", 4)
    monkeypatch.setattr(video_faces, "MIN_SHARE", 0.5)
    found = judged(detector, two, 12)
    assert found.video is found.tracks[0]
    monkeypatch.setattr(video_faces, "MIN_SEEN", 99)
    monkeypatch.setattr(video_faces, "MIN_SHARE", 2.0)
    found = judged(detector, two, 12)  # if none is seen enough, all may
    assert found.video is max(found.tracks, key=lambda track: track.probability)


def test_without_a_face_the_verdict_says_so_or_is_on_whole_frames(detector, tmp_path):
    clip = write_clip(tmp_path / "none.mp4", lambda n: [], 4)
    none = judged(detector, clip)
    assert (none.video.verdict, none.video.probability, none.tracks) == ("no face", None, ())
    whole = judged(detector, clip, whole_if_none=True)
    assert whole.video.probability is not None
    assert whole.tracks == ()
    assert len(whole.video.frames) == 4


def test_a_video_that_is_cut_off_is_said_to_be(detector, tmp_path):
    whole = write_clip(
        tmp_path / "whole.mp4", lambda n: [moving(1, n)], 40, gop=4,
        options={"movflags": "faststart"},
    ).read_bytes()  # fmt: skip
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    found = judged(detector, tmp_path / "cut.mp4", 8)
    assert found.num_frames < found.wanted == 8
    assert "wanted frames could be read: the file is cut off or damaged" in found.summary
