"""data=videos: videos are prepared into the cache, once, and trained on."""

import logging

import pytest

from faceproof import app, lookup
from faceproof.errors import FaceproofError
from faceproof.prepare import processes
from faceproof.prepare.cropping import MARGIN
from tests.jobs import train
from tests.small_faces import moving, write_clip

pytest.importorskip("onnxruntime", reason="finding faces takes faceproof[faces]")


@pytest.fixture
def videos(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    person = 0
    for split in ("train", "val"):
        for label in ("real", "fake"):
            write_clip(
                tmp_path / f"videos/{split}/{label}/{person}.mp4",
                lambda n, person=person: [moving(person, n)], 4,
            )  # fmt: skip
            person += 1
    return [
        "data=videos", f"data.root={tmp_path / 'videos'}", "data.layout={split}/{label}/*",
        "data.prepare.frames=2",
    ]  # fmt: skip


def test_videos_are_cut_into_faces_once_and_it_is_said(videos, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    data = app.compose_data(videos)
    assert data.table.num_rows == 8
    assert {name.split("/")[0] for name in data.table["group"].to_pylist()} == {"videos"}
    assert data.crop["config"]["margin"] == MARGIN
    assert "the faces of 4 files are cut out into" in caplog.text
    assert lookup.allowed() == []  # what lists videos is faceproof's own

    def refuse(*arguments):
        raise AssertionError("it is prepared already")

    monkeypatch.setattr(processes, "prepare_media", refuse)
    assert app.compose_data(videos).table.equals(data.table)


def test_a_training_says_how_its_faces_were_cut_out(videos, tmp_path):
    run = train(tmp_path / "run", *videos, "model=face_cnn", "trainer=smoke")
    crop = run.read_record()["crop"]
    assert crop["config"]["detector"] == "retinaface"
    assert crop["detector"].startswith("retinaface b7a7acab55e1")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("data.prepare.margin=-1", r"data.prepare.margin = -1 must be"),
        ("+data.prepare.margn=1", r"no setting data.prepare.margn; did you mean .*margin"),
        ("data.prepare.min_size=4000", "no face is found in any of 4 files"),
        ("data.media=sound", "data.media = 'sound' must be one of images, videos, all"),
    ],
)
def test_settings_that_make_no_sense_are_refused(videos, word, message):
    with pytest.raises(FaceproofError, match=message):
        app.compose_data([*videos, word])


def test_videos_that_nobody_has_prepared_are_not_trained_on(videos, tmp_path):
    words = [*videos[1:3], "data=real_fake_folders", "data.media=videos"]
    with pytest.raises(FaceproofError, match=r"4 of 4 files are videos.*faceproof prepare"):
        train(tmp_path / "run", *words, "model=face_cnn", "trainer=smoke")
