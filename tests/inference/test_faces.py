"""Judging the faces in an image: which are judged, and what they make of the image."""

import json
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import faceproof
from faceproof.cli.main import run
from faceproof.errors import FaceproofError
from faceproof.inference.faces import RULE, WHOLE, FaceOptions, combine_faces, judge_faces
from faceproof.inference.verdicts import Verdict
from faceproof.prepare.boxes import Box
from faceproof.prepare.cropping import CropConfig, cut_as_stored
from faceproof.prepare.detectors import load_detector
from faceproof.prepare.finding import find_faces
from faceproof.workflows.export import export_cascade, export_run
from tests.small_photographs import data, one_face, tensor, two_faces
from tests.small_runs import write_artifact, write_run


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    return write_artifact(folder)


@pytest.fixture(scope="module")
def detector(artifact):
    return faceproof.load(artifact, "cpu")


def verdict(probability, name=None, gate=None):
    called = name or ("fake" if probability >= 0.5 else "real")
    return Verdict(called, called, probability, 0.0, 0.5, "deepfake", gate)


BOXES = [Box(0, 0, 9 - n, 9 - n) for n in range(3)]


def test_an_image_is_called_by_its_most_fake_face(detector):
    said = [verdict(0.2), verdict(0.9), verdict(0.6)]
    found = combine_faces(detector, BOXES, said)
    assert found.image is said[1]
    assert found.note is None
    assert not found.whole
    plain = json.loads(json.dumps(found.to_json()))
    assert plain["verdict"] == "fake"
    assert plain["rule"] == RULE
    assert [face["probability"] for face in plain["faces"]] == [0.2, 0.9, 0.6]
    assert plain["faces"][1]["box"] == {"left": 0, "top": 0, "right": 8, "bottom": 8}


def test_of_equally_fake_faces_the_largest_speaks(detector):
    said = [verdict(0.9), verdict(0.9)]
    assert combine_faces(detector, BOXES[:2], said).image is said[0]


def test_a_strange_face_does_not_hide_a_plain_fake(detector):
    """It decides only where no other is called fake, and the answer is unsure then."""
    strange = replace(verdict(0.99), verdict="unsure", novelty=9.0, is_strange=True)
    usual = [replace(verdict(p), novelty=1.0, is_strange=False) for p in (0.6, 0.8, 0.2)]
    assert combine_faces(detector, BOXES, [strange, *usual[:2]]).image is usual[1]
    assert combine_faces(detector, BOXES[:2], [usual[2], strange]).image is strange
    harmless = replace(strange, called="real", probability=0.3)
    assert combine_faces(detector, BOXES[:2], [usual[2], harmless]).image is harmless


def test_faces_that_a_gate_does_not_see_do_not_count(detector):
    none = [verdict(None, "no face", 0.1), verdict(None, "no face", 0.3)]
    found = combine_faces(detector, BOXES, [none[0], verdict(0.3, gate=0.8), none[1]])
    assert (found.image.verdict, found.image.probability) == ("real", 0.3)
    assert found.note == "1 of 3 detections pass the gate"
    found = combine_faces(detector, BOXES[:2], none)
    assert (found.image.verdict, found.image.probability) == ("no face", None)
    assert found.image.gate_probability == 0.3


def test_each_face_is_judged_as_its_crop_would_be(detector):
    found = judge_faces(detector, two_faces())
    pixels, config = two_faces().numpy(), CropConfig()
    faces = find_faces(pixels, load_detector("retinaface"), config).faces
    assert list(found.boxes) == [face.box for face in faces]
    alone = [detector(torch.from_numpy(cut_as_stored(pixels, face, config))) for face in faces]
    wanted = [pytest.approx(one.probability, abs=1e-6) for one in alone]
    assert [face.probability for face in found.faces] == wanted
    assert found.image.probability == max(face.probability for face in found.faces)


def test_without_a_face_the_verdict_says_so_or_is_on_the_whole(detector):
    plain = tensor(data.brick())
    found = judge_faces(detector, plain)
    assert (found.image.verdict, found.image.called) == ("no face", "no face")
    assert found.image.probability is None
    assert found.to_json()["faces"] == []
    whole = judge_faces(detector, plain, FaceOptions(whole_if_none=True))
    assert whole.image == detector(plain)
    assert whole.whole
    assert whole.to_json()["note"] == WHOLE


def predict(artifact, *words):
    every = ["predict", *words, "--detector", artifact, "--device", "cpu", "--workers", 0]
    return run([str(word) for word in every])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(data.brick()).save(folder / "a_brick.png")
    Image.fromarray(data.astronaut()).save(folder / "b_one.png")
    Image.fromarray(np.hstack([data.astronaut()] * 2)).save(folder / "c_two.png")
    (folder / "d_cut.png").write_bytes(b"no image")
    (folder / "e_clip.mp4").write_bytes(b"no video")
    return folder


@pytest.mark.parametrize("size", [1, 8])
def test_the_command_says_it_of_each_image(artifact, detector, photos, tmp_path, size):
    out = tmp_path / "out.parquet"
    words = (photos, "--find-faces", "--out", out, "--batch-size", size)
    assert predict(artifact, *words) == 1
    brick, one, two, cut, clip = pq.read_table(out).to_pylist()
    assert (brick["verdict"], brick["probability"], brick["faces"]) == ("no face", None, 0)
    for row, number in ((one, 1), (two, 2)):
        said = judge_faces(detector, row["path"]).image
        assert (row["verdict"], row["called"], row["faces"]) == (said.verdict, said.called, number)
        assert row["probability"] == pytest.approx(said.probability, abs=1e-6)
        assert row["logit"] == pytest.approx(said.logit, abs=1e-4)
    assert cut["error"] == "no image format that can be read"
    assert clip["error"].startswith("no video format that can be read")
    assert cut["faces"] is clip["faces"] is clip["verdict"] is None


def test_the_whole_image_is_judged_if_that_is_wished(artifact, detector, photos, tmp_path):
    out = tmp_path / "out.parquet"
    wish = ("--find-faces", "--whole-if-none")
    assert predict(artifact, photos / "a_brick.png", *wish, "--out", out) == 0
    (row,) = pq.read_table(out).to_pylist()
    said = detector(photos / "a_brick.png")
    assert (row["verdict"], row["faces"], row["note"]) == (said.verdict, 0, WHOLE)
    assert row["probability"] == pytest.approx(said.probability, abs=1e-6)


def test_without_the_option_faces_are_not_counted(artifact, photos, tmp_path):
    assert predict(artifact, photos / "a_brick.png", "--out", tmp_path / "out.parquet") == 0
    assert pq.read_table(tmp_path / "out.parquet")["faces"].to_pylist() == [None]


def test_the_screen_shows_how_many(artifact, photos, capsys):
    assert predict(artifact, photos / "a_brick.png", photos / "b_one.png", "--find-faces") == 0
    shown = capsys.readouterr().out
    assert "no face (faces: 0)" in shown
    assert "(faces: 1)" in shown


def test_an_output_is_not_gone_on_with_otherwise(artifact, photos, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    out = tmp_path / "out.csv"
    with monkeypatch.context() as patched:
        patched.setattr("faceproof.inference.files.predict_files", interrupted)
        with pytest.raises(KeyboardInterrupt):
            predict(artifact, photos / "a_brick.png", "--out", out)
    with pytest.raises(FaceproofError, match="or with other options"):
        predict(artifact, photos / "a_brick.png", "--find-faces", "--out", out)


def test_what_makes_no_sense_is_refused(artifact, photos):
    with pytest.raises(FaceproofError, match="--whole-if-none changes what --find-faces does"):
        predict(artifact, photos, "--whole-if-none")


def test_a_detector_of_faces_is_refused(tmp_path, photos):
    export_run(write_run(tmp_path / "run", "face"), tmp_path / "artifact")
    out = tmp_path / "out.csv"
    with pytest.raises(FaceproofError, match=r"answers the task face.* leave out --find-faces"):
        predict(tmp_path / "artifact", photos, "--find-faces", "--out", out)
    assert not list(tmp_path.glob("out*"))
    with pytest.raises(FaceproofError, match="answers the task face"):
        judge_faces(faceproof.load(tmp_path / "artifact", "cpu"), one_face())


def test_a_cascade_asks_its_gate_of_each_face(tmp_path, artifact):
    gate = write_run(tmp_path / "gate", "face", seed=3, size=20, gain=40.0)
    export_cascade(gate, artifact, tmp_path / "cascade")
    found = judge_faces(faceproof.load(tmp_path / "cascade", "cpu"), one_face())
    assert found.faces[0].gate_probability is not None
    assert found.image.gate_probability == found.faces[0].gate_probability


def test_without_the_package_it_says_what_to_install(artifact, photos, monkeypatch, tmp_path):
    load_detector.cache_clear()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(FaceproofError, match=r"pip install 'faceproof\[faces\]'"):
        predict(artifact, photos, "--find-faces", "--out", tmp_path / "out.csv")
    assert not list(tmp_path.glob("out*"))


def test_loading_processes_find_the_same(detector, photos):
    from faceproof.inference.files import Loading, predict_files

    paths = sorted(str(path) for path in photos.glob("*.png"))
    here, there = (
        [row for rows in predict_files(detector, paths, how) for row in rows]
        for how in (Loading(2, 0, faces=FaceOptions()), Loading(2, 1, faces=FaceOptions()))
    )
    assert here == there
