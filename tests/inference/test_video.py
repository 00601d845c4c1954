"""Frames of videos, evenly spaced by the time at which they are shown, and the verdict on them."""

import csv
import io
import os
import time

import numpy as np
import pytest
from PIL import Image

import faceproof
from faceproof.data.model_input import Fit
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.evaluation.calibration import Calibration
from faceproof.evaluation.operating_point import OperatingPoint
from faceproof.evaluation.predictions import is_positive, predictions_table, probabilities_of
from faceproof.evaluation.video_point import VideoPoint
from faceproof.inference.timeline import clock, most_positive, name_of
from faceproof.inference.video import read_clip
from faceproof.inference.video_verdict import VideoVerdict, judge_clip
from faceproof.io.run_folder import RunFolder
from faceproof.prepare import video
from faceproof.prepare.video import (
    Bounds,
    TooManyPixelsError,
    UnknownVideoError,
    UnreadableVideoError,
)
from faceproof.workflows.export import export_cascade, export_run
from tests.conftest import write_images
from tests.small_runs import POINT, write_artifact, write_run

pytest.importorskip("av", reason="videos take PyAV")

from tests.small_videos import numbers_of, write_sound, write_video

FIT = Fit(16, "bilinear")


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    return write_artifact(folder)


def shown_at(times, targets):
    """Return which frame is on the screen at each time, by looking through all of them."""
    return [max(n for n, start in enumerate(times) if start <= t) for t in targets]


def middles(end, number):
    return [(part + 0.5) * end / number for part in range(number)]


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "webm"])
@pytest.mark.parametrize("gop", [5, 1000])
def test_frames_are_spread_over_the_whole_video(tmp_path, suffix, gop):
    times = [n / 25 for n in range(150)]
    codec = "libvpx" if suffix == "webm" else "mpeg4"
    file = write_video(tmp_path / f"a.{suffix}", times, codec, gop)
    clip = read_clip(file, [FIT], 8)
    wanted = shown_at(times, middles(6.0, 8))
    assert numbers_of(clip, FIT) == [n % 12 for n in wanted]
    assert clip.times == pytest.approx([times[n] for n in wanted], abs=0.002)
    assert clip.wanted == 8
    assert clip.seconds == pytest.approx(6.0, abs=0.1)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_with_a_varying_rate_time_counts_and_not_the_number_of_frames(tmp_path, suffix):
    times = [*(n / 25 for n in range(50)), 2, 4, 6, 8, 8.04]
    clip = read_clip(write_video(tmp_path / f"a.{suffix}", times), [FIT], 8)
    wanted = shown_at(times, middles(clip.seconds, 8))
    assert numbers_of(clip, FIT) == [n % 12 for n in dict.fromkeys(wanted)]
    assert clip.wanted == len(clip.times) == len(set(wanted))


def test_an_hour_is_sought_through_and_not_decoded(tmp_path, monkeypatch):
    times = [60 * n for n in range(60)]
    file = write_video(tmp_path / "hour.mp4", times, gop=1)
    seen = []
    monkeypatch.setattr(video._Reader, "_decode", counted(video._Reader._decode, seen))
    clip = read_clip(file, [FIT], 6)
    assert numbers_of(clip, FIT) == [n % 12 for n in shown_at(times, middles(clip.seconds, 6))]
    assert clip.seconds > 3500
    assert len(seen) <= 3 * 6


def counted(method, seen):
    def decode(self):
        for frame in method(self):
            seen.append(frame)
            yield frame

    return decode


def test_few_frames_are_taken_once_each(tmp_path):
    clip = read_clip(write_video(tmp_path / "a.mp4", [0, 0.04, 0.08]), [FIT], 32)
    assert numbers_of(clip, FIT) == [0, 1, 2]
    assert clip.wanted == 3


def test_a_recording_without_a_duration_is_measured(tmp_path):
    """A browser's recorder writes as it goes and never returns to fill in the duration."""
    times = [n / 25 for n in range(100)]
    file = write_video(tmp_path / "a.webm", times, "libvpx", 10, options={"live": "1"})
    clip = read_clip(file, [FIT], 4)
    assert numbers_of(clip, FIT) == [n % 12 for n in shown_at(times, middles(4.0, 4))]


def test_a_turned_video_is_put_upright(tmp_path):
    def image(number):
        pixels = np.zeros((48, 48, 3), np.uint8)
        pixels[:16] = 255  # a white band on top
        return pixels

    for rotation, side in ((90, (slice(None), slice(0, 4))), (-90, (slice(None), slice(12, 16)))):
        file = write_video(tmp_path / f"{rotation}.mp4", [0, 0.5], rotation=rotation, image=image)
        (frame, *_) = read_clip(file, [FIT], 1).fitted[FIT].float().mean(1)
        # Counter-clockwise by 90 degrees the top goes to the left.
        assert frame[side].mean() > 240
        assert frame.mean() < 120


def test_a_truncated_file_gives_what_can_be_read(tmp_path, detector):
    times = [n / 25 for n in range(250)]
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (250, 48, 48, 3), np.uint8)
    for suffix, options in (("mp4", {"movflags": "faststart"}), ("mkv", {})):
        whole = write_video(
            tmp_path / f"whole.{suffix}", times, options=options, image=lambda n: noise[n]
        )
        cut = tmp_path / f"cut.{suffix}"
        cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        clip = read_clip(cut, [FIT], 20)
        assert clip.wanted == 20
        assert 8 <= len(clip.times) <= 11
        found = judge_clip(faceproof.load(detector, "cpu"), clip)
        assert f"only {len(clip.times)} of the 20 wanted frames could be read" in found.note


@pytest.mark.parametrize(
    ("make", "kind", "reason"),
    [
        (lambda file: file.write_bytes(b"no video" * 100), UnknownVideoError, "no video format"),
        (lambda file: file.write_bytes(b""), UnknownVideoError, "no video format"),
        (lambda file: None, UnreadableVideoError, "the file is not there"),
        (os.mkfifo, UnreadableVideoError, "it is a pipe"),
        (write_sound, UnreadableVideoError, "no video stream"),
    ],
)
def test_what_is_no_video_has_a_reason(tmp_path, make, kind, reason):
    make(tmp_path / "a.mp4")
    with pytest.raises(kind, match=reason):
        read_clip(tmp_path / "a.mp4", [FIT])


def test_an_mp4_without_its_end_cannot_be_read(tmp_path):
    file = write_video(tmp_path / "a.mp4", [n / 25 for n in range(50)])
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(UnreadableVideoError):
        read_clip(file, [FIT])


def test_a_playlist_is_not_followed(tmp_path):
    target = write_video(tmp_path / "secret.mp4", [0, 0.5])
    playlists = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile://{target}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{target}'\n",
    )
    for text in playlists:
        with pytest.raises(UnknownVideoError):
            read_clip(io.BytesIO(text.encode()), [FIT])


def test_bounds_are_kept(tmp_path):
    file = write_video(tmp_path / "a.mp4", [0, 0.5])
    with pytest.raises(TooManyPixelsError, match="48 x 48 pixels; at most 2,000"):
        read_clip(file, [FIT], bounds=Bounds(max_pixels=2000))
    with pytest.raises(TimeoutError):
        read_clip(file, [FIT], bounds=Bounds(deadline=time.monotonic() - 1))


def test_the_verdict_is_that_of_the_mean(tmp_path, detector):
    images = [
        np.asarray(Image.open(path).resize((48, 48)))
        for face in (False, True)
        for path in write_images(tmp_path, [f"{n}{face}.jpg" for n in range(6)], face=face)
    ]
    file = write_video(
        tmp_path / "a.avi", [n / 25 for n in range(12)], gop=1, image=lambda n: images[n]
    )
    model = faceproof.load(detector, "cpu")
    clip = read_clip(file, model.fits, 12)
    found = judge_clip(model, clip, batch_size=5)
    fit = model.fits[0]
    alone = [model.judge({fit: frame[None]})[0].probability for frame in clip.fitted[fit]]
    assert len(set(alone)) > 6
    assert [one.probability for one in found.frames] == pytest.approx(alone, abs=1e-6)
    assert found.probability == pytest.approx(np.mean(alone))
    assert found.low == pytest.approx(np.quantile(alone, 0.1), abs=1e-6)
    assert found.high == pytest.approx(np.quantile(alone, 0.9), abs=1e-6)
    assert found.share == pytest.approx(is_positive(np.array(alone), model.threshold).mean())
    assert found.called == ("fake" if np.mean(alone) >= model.threshold else "real")
    ranked = [alone[n] for n in most_positive(found, 12)]
    assert ranked == sorted(alone, reverse=True)
    assert found.to_json()["frames_read"] == 12


@pytest.fixture(scope="module")
def judging(tmp_path_factory):
    """Return a function from a rule to a detector that judges videos by it."""
    folder = tmp_path_factory.mktemp("judging")

    def make(rule):
        run = RunFolder(write_run(folder / rule, gain=40.0))
        own = OperatingPoint(
            Calibration("temperature", 2.0), 0.4, "youden", None, 6, 5, unsure=(0.3, 0.45)
        )
        point = VideoPoint(rule, "set", own)
        run.write_operating_point(POINT.to_json(), point.to_json())
        export_run(run.path, folder / f"{rule}-artifact")
        return faceproof.load(folder / f"{rule}-artifact", "cpu"), point

    return make


@pytest.mark.parametrize("rule", ["mean", "median", "share"])
def test_a_video_is_judged_as_the_evaluation_judges_its_group(tmp_path, judging, rule):
    model, point = judging(rule)
    images = [
        np.asarray(Image.open(path).resize((48, 48)))
        for face in (False, True)
        for path in write_images(tmp_path, [f"{n}{face}.jpg" for n in range(6)], face=face)
    ]
    times = [n / 25 for n in range(12)]
    file = write_video(tmp_path / "a.avi", times, gop=1, image=lambda n: images[n])
    found = judge_clip(model, read_clip(file, model.fits, 12))
    frames = np.array([one.probability for one in found.frames])
    rows = table_from_columns({"path": list("abcdefghijkl"), "group": ["video"] * 12})
    whole = predictions_table(rows, np.zeros(12), frames)
    (expected,) = probabilities_of(point.judge(whole, model.threshold))
    assert found.probability == expected
    assert found.called == ("fake" if expected >= 0.4 else "real")
    assert found.verdict == ("unsure" if 0.3 <= expected < 0.45 else found.called)
    score = {"mean": frames.mean(), "median": np.median(frames), "share": found.share}[rule]
    assert found.score == pytest.approx(score)
    assert (found.threshold, found.frame_threshold, found.how) == (0.4, POINT.threshold, rule)
    answer = found.to_json()
    assert answer["unsure"] == [0.3, 0.45]
    assert "calibrated on 11 videos of validation" in answer["rule"]
    assert rule in answer["rule"]


def test_predict_takes_videos_among_images(tmp_path, detector, capsys):
    from tests.workflows.test_predict import predict, read

    folder = tmp_path / "mixed"
    write_images(folder, ["a.jpg"])
    write_video(folder / "b.mp4", [n / 5 for n in range(20)])
    write_video(folder / "deep" / "b.MOV", [n / 5 for n in range(20)])
    (folder / "c.mkv").write_bytes(b"no video")
    out, frames = tmp_path / "out.csv", tmp_path / "frames"
    words = (folder, "--out", out, "--frames", 4, "--frames-out", frames, "--contact-sheet")
    assert predict(detector, *words, tmp_path / "sheet.png") == 1
    rows = {row["path"].removeprefix(f"{folder}/"): row for row in read(out)}
    assert rows["a.jpg"]["frames"] is rows["a.jpg"]["note"] is None
    assert rows["c.mkv"]["error"].startswith("no video format that can be read")
    video_row = rows["b.mp4"]
    assert (video_row["frames"], video_row["logit"]) == (4, None)
    assert "of frames called fake; 10% to 90% of frames at" in video_row["note"]
    with (frames / "b.frames.csv").open() as lines:
        probabilities = [float(row["probability"]) for row in csv.DictReader(lines)]
    assert video_row["probability"] == pytest.approx(np.mean(probabilities), abs=1e-6)
    names = {"b.frames.csv", "b.strip.png", "b.timeline.png"}
    of_both = names | {f"deep-{n}" for n in names}
    assert {file.name for file in frames.iterdir()} == of_both | {"videos.csv"}
    with (frames / "videos.csv").open() as lines:
        named = {row["name"]: row["video"] for row in csv.DictReader(lines)}
    assert named == {"b": str(folder / "b.mp4"), "deep-b": str(folder / "deep" / "b.MOV")}
    assert predict(detector, *words, tmp_path / "sheet.png", "--overwrite") == 1
    assert {file.name for file in frames.iterdir()} == of_both | {"videos.csv"}
    assert np.asarray(Image.open(frames / "b.timeline.png")).std() > 5
    capsys.readouterr()
    predict(detector, folder / "b.mp4", "--frames", 4)
    assert "video, 4 frames" in " ".join(capsys.readouterr().out.split())


def test_each_video_has_a_name_of_its_own_and_keeps_it(tmp_path):
    root = tmp_path / "manipulated_sequences"
    methods = ("Deepfakes", "Face2Face", "FaceSwap")
    clips = [root / method / "c23/videos/000_003.mp4" for method in methods]
    clips += [clips[0].with_suffix(".avi"), tmp_path / "000_003.mp4", root / "FaceSwap/A/a.mp4"]
    expected = ["000_003", "Face2Face-000_003", "FaceSwap-000_003", "000_003-2", "000_003-3", "a"]
    folder = tmp_path / "frames"
    folder.mkdir()
    for _ in range(2):
        assert [name_of(folder, str(clip)) for clip in clips] == expected
    assert name_of(folder, str(root / "FaceSwap/../FaceSwap/A/a.mp4")) == "a"
    (folder / "mine.frames.csv").touch()
    assert name_of(folder, "elsewhere/mine.mp4") == "mine-2"
    (folder / "videos.csv").write_text("something,else\n1,2\n")
    with pytest.raises(FaceproofError, match=r"videos\.csv is no list of videos"):
        name_of(folder, "x.mp4")


def test_without_pyav_a_video_is_a_row_with_a_reason(tmp_path, detector, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(UnknownVideoError, match=r"pip install 'faceproof\[video\]'"):
        read_clip(io.BytesIO(b"x"), [FIT])


def test_frames_without_a_face_do_not_count(tmp_path, detector):
    gate = write_run(tmp_path / "gate", "face", seed=3, size=20, gain=40.0)
    export_cascade(gate, detector, tmp_path / "cascade")
    model = faceproof.load(tmp_path / "cascade", "cpu")
    faces = write_images(tmp_path, [f"{n}.jpg" for n in range(6)], face=True)
    others = write_images(tmp_path, [f"n{n}.jpg" for n in range(6)])
    pixels = [np.asarray(Image.open(path).resize((48, 48))) for path in (*faces, *others)]
    file = write_video(
        tmp_path / "a.avi", [n / 25 for n in range(12)], gop=1, image=lambda n: pixels[n]
    )
    found = judge_clip(model, read_clip(file, model.fits, 12))
    counted_ones = [one.probability for one in found.frames if one.probability is not None]
    assert 0 < len(counted_ones) < 12
    assert found.probability == pytest.approx(np.mean(counted_ones))
    assert f"{len(counted_ones)} of 12 frames show a face" in found.note
    none = VideoVerdict(**{**found.__dict__, "frames": [], "times": []})
    assert none.note is not None


def test_a_time_is_written_as_a_clock():
    assert [clock(t) for t in (0, 61.5, 3600)] == ["00:00.00", "01:01.50", "1:00:00.00"]


@pytest.mark.parametrize("name", ["con.mp4", "NUL.mov", "com1.webm"])
def test_a_video_named_as_a_device_of_windows_gets_files_that_windows_takes(tmp_path, name):
    assert name_of(tmp_path, f"/videos/{name}") == f"video-{name.partition('.')[0]}"
