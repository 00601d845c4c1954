"""Verdicts: of images in any form, at the operating point, by one network or several."""

import io
import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from scipy.special import expit, logit

import faceproof
from faceproof.data.image_io import read_image
from faceproof.data.model_input import fit_image
from faceproof.errors import FaceproofError
from faceproof.evaluation.calibration import Calibration
from faceproof.evaluation.predictions import ScoreError, is_positive
from faceproof.inference.files import Loading, predict_files
from faceproof.inference.predictor import stack_fitted, to_rgb
from faceproof.inference.video import Clip
from faceproof.inference.video_verdict import judge_clip
from faceproof.io.run_folder import RunFolder
from faceproof.models.build import build_network
from faceproof.workflows.export import export_cascade, export_run
from tests.small_runs import POINT, description, images_of, write_ensemble, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run", gain=40.0)


@pytest.fixture(scope="module")
def images(run):
    return images_of(run)


@pytest.fixture(scope="module")
def detector(run):
    export_run(run, run.parent / "artifact")
    return faceproof.load(run.parent / "artifact", device="cpu")


def raw_logits(folder, images, size=16):
    """Score as a reader of the documentation would, with nothing of the serving room."""
    net = build_network(description(size)).eval()
    state = torch.load(folder / "best.ckpt", weights_only=True)["state_dict"]
    net.load_state_dict({key.removeprefix("net."): value for key, value in state.items()})
    fitted = [fit_image(read_image(path), size, "bilinear") for path in images]
    with torch.inference_mode():
        return net(torch.stack(fitted).float() / 255).double().numpy()


def test_a_verdict_is_the_calibrated_score_at_the_threshold(run, detector, images):
    verdicts = detector.predict_batch(images)
    logits = raw_logits(run, images)
    probabilities = expit(logits / POINT.calibration.temperature)
    assert [v.logit for v in verdicts] == pytest.approx(logits, abs=1e-5)
    assert [v.probability for v in verdicts] == pytest.approx(probabilities, abs=1e-6)
    assert [v.called for v in verdicts] == np.where(probabilities >= 0.5, "fake", "real").tolist()
    assert {v.verdict for v in verdicts} == {"real", "fake"}
    assert (verdicts[0].threshold, verdicts[0].task) == (0.5, "deepfake")
    assert detector.predict_batch([]) == []


def test_one_by_one_is_as_in_a_batch(detector, images):
    for path, verdict in zip(images, detector.predict_batch(images), strict=True):
        single = detector(path)
        assert single.probability == pytest.approx(verdict.probability, abs=1e-6)
        assert replace(single, probability=0, logit=0) == replace(verdict, probability=0, logit=0)


def test_an_image_may_come_in_any_form(detector, tmp_path):
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (30, 20, 3), np.uint8))
    rgb.save(tmp_path / "x.png")
    pixels = np.asarray(rgb).transpose(2, 0, 1)
    wanted = detector(tmp_path / "x.png")
    for form in (
        str(tmp_path / "x.png"),
        (tmp_path / "x.png").read_bytes(),
        bytearray((tmp_path / "x.png").read_bytes()),
        rgb,
        pixels,
        torch.from_numpy(pixels.copy()),
    ):
        assert detector(form) == wanted
    assert json.loads(json.dumps(wanted.to_json()))["called"] == wanted.called


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "I;16", "1", "CMYK"])
def test_a_pillow_image_is_converted_as_its_file_would_be(detector, tmp_path, mode):
    rng = np.random.default_rng(1)
    rgba = Image.fromarray(rng.integers(0, 256, (20, 24, 4), np.uint8))
    image = rgba.convert("I").convert("I;16") if mode == "I;16" else None
    image = image or (rgba if mode == "RGBA" else rgba.convert("RGB").convert(mode))
    file = io.BytesIO()
    image.save(file, "TIFF" if mode == "CMYK" else "PNG")
    assert detector(image) == detector(file.getvalue())


def test_a_pillow_image_is_turned_upright(detector, tmp_path):
    rng = np.random.default_rng(1)
    sideways = Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways.save(tmp_path / "x.png", exif=exif)
    with Image.open(tmp_path / "x.png") as opened:
        assert detector(opened) == detector(tmp_path / "x.png")


def test_a_jpeg_has_one_verdict_in_every_form(detector, tmp_path):
    """Its EXIF stands behind an XMP segment, as photo editors write it."""
    rng = np.random.default_rng(1)
    sideways = Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways.save(tmp_path / "x.jpg", exif=exif, quality=95)
    data = (tmp_path / "x.jpg").read_bytes()
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x/>"
    data = data[:2] + b"\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp + data[2:]
    (tmp_path / "x.jpg").write_bytes(data)
    with Image.open(tmp_path / "x.jpg") as opened:
        upright = ImageOps.exif_transpose(opened)
        forms = (tmp_path / "x.jpg", data, opened, upright, np.asarray(upright).transpose(2, 0, 1))
        assert len({detector(form) for form in forms}) == 1


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.uint8), r"\(3, H, W\) uint8 in RGB; found \(4, 4, 3\)"),
        (torch.zeros(3, 4, 4), r"found \(3, 4, 4\) torch.float32"),
        ("gone.jpg", "gone.jpg cannot be read: the file is not there"),
        (b"no image", "no image format that can be read"),
        (Image.new("F", (4, 4)), "floating-point numbers"),
    ],
)
def test_what_is_no_image_is_refused(detector, image, message):
    with pytest.raises(FaceproofError, match=message):
        detector(image)


def test_tensors_are_scored_without_a_verdict(run, detector, images):
    batch = torch.stack([fit_image(read_image(p), 16, "bilinear") for p in images])
    assert detector.score_tensors(batch) == pytest.approx(raw_logits(run, images), abs=1e-5)
    assert detector.score_tensors(batch[:, :, :12, :10]).shape == (len(images),)


def test_unsure_lies_in_the_band_and_called_does_not_care(run, detector, images, tmp_path):
    scores = sorted(v.probability for v in detector.predict_batch(images))
    low, high = scores[4], scores[-4]
    threshold = (low + high) / 2
    point = replace(POINT, threshold=threshold, unsure=(low, high))
    (tmp_path / "run").symlink_to(run)
    RunFolder(run).write_operating_point(point.to_json())
    try:
        export_run(run, tmp_path / "banded")
    finally:
        RunFolder(run).write_operating_point(POINT.to_json())
    for verdict in faceproof.load(tmp_path / "banded").predict_batch(images):
        called = "fake" if verdict.probability >= threshold else "real"
        assert verdict.called == called
        inside = low <= verdict.probability < high
        assert verdict.verdict == ("unsure" if inside else called)


def test_a_cascade_shows_only_faces_to_the_detector(run, detector, images, tmp_path):
    gate = write_run(tmp_path / "gate", "face", seed=3, size=20, gain=40.0)
    export_run(gate, tmp_path / "gate-artifact")
    export_cascade(tmp_path / "gate-artifact", run, tmp_path / "cascade")
    cascade = faceproof.load(tmp_path / "cascade", device="cpu")
    names = sorted(file.name for file in (tmp_path / "cascade").glob("*.safetensors"))
    assert names == ["detector-model.safetensors", "gate-model.safetensors"]
    gates = faceproof.load(tmp_path / "gate-artifact", device="cpu").predict_batch(images)
    alone = detector.predict_batch(images)
    found = cascade.predict_batch(images)
    assert {v.verdict for v in found} > {"no face"}
    assert {g.called for g in gates} == {"face", "non_face"}
    for verdict, face, single in zip(found, gates, alone, strict=True):
        assert verdict.gate_probability == pytest.approx(face.probability, abs=1e-6)
        if face.called == "face":
            assert verdict.probability == pytest.approx(single.probability, abs=1e-6)
            assert (verdict.verdict, verdict.called) == (single.verdict, single.called)
        else:
            assert (verdict.verdict, verdict.called) == ("no face", "no face")
            assert (verdict.probability, verdict.logit) == (None, None)
    assert cascade(images[0]).verdict == found[0].verdict
    assert cascade.task.name == "deepfake"


@pytest.mark.parametrize("average", ["probability", "logit"])
def test_an_ensemble_is_the_weighted_mean(tmp_path, average):
    run = write_ensemble(tmp_path / "run", average)
    export_run(run, tmp_path / "artifact")
    ensemble = faceproof.load(tmp_path / "artifact", device="cpu")
    images = images_of(run)
    scaled = [
        raw_logits(run / "members" / f"m{n}", images, size) / (0.5 + n)
        for n, size in enumerate((16, 20))
    ]
    shares = [expit(one) for one in scaled] if average == "probability" else scaled
    mean = (1 * shares[0] + 2 * shares[1]) / 3
    combined = logit(mean) if average == "probability" else mean
    verdicts = ensemble.predict_batch(images)
    assert [v.logit for v in verdicts] == pytest.approx(combined, abs=1e-5)
    probabilities = expit(combined / POINT.calibration.temperature)
    assert [v.probability for v in verdicts] == pytest.approx(probabilities, abs=1e-6)
    called = is_positive(probabilities, POINT.threshold)
    assert [v.called == "fake" for v in verdicts] == called.tolist()
    assert (
        "weights in brackets: m0 (0.333), m1 (0.667)"
        in (tmp_path / "artifact/README.md").read_text()
    )


def test_loading_takes_neither_lightning_nor_hydra_nor_training(detector, run):
    code = (
        "import faceproof, sys; assert 'torch' not in sys.modules; "
        "faceproof.load(sys.argv[1])(sys.argv[2]); "
        "bad = [m for m in sys.modules if m.split('.')[0] in ('pytorch_lightning', 'hydra', "
        "'omegaconf', 'onnxruntime') or m.startswith(('faceproof.training', 'faceproof.app'))]; "
        "sys.exit(str(bad) if bad else 0)"
    )
    words = [str(run.parent / "artifact"), images_of(run)[0]]
    subprocess.run([sys.executable, "-c", code, *words], check=True)


class Broken:
    """A network that gives the same score to every image."""

    def __init__(self, fit, score):
        self.fit, self.score = fit, score

    def __call__(self, images):
        return np.full(len(images), self.score, np.float32)


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["detector", "ensemble", "gate"])
def test_no_verdict_comes_of_a_score_that_is_not_finite(tmp_path, run, images, score, kind):
    folder = tmp_path / "artifact"
    if kind == "gate":
        gate = write_run(tmp_path / "gate", "face", seed=3, size=20, gain=40.0)
        export_cascade(gate, run, folder)
    else:
        export_run(run if kind == "detector" else write_ensemble(tmp_path / "both"), folder)
    loaded = faceproof.load(folder, "cpu")
    scorer = loaded.gate or loaded.scorer
    last = scorer.members[-1]
    broken = replace(last, network=Broken(last.network.fit, score))
    scorer = replace(scorer, members=[*scorer.members[:-1], broken])
    loaded = replace(loaded, **{"gate" if kind == "gate" else "scorer": scorer})
    with pytest.raises(ScoreError, match="score that is not finite"):
        loaded(images[0])
    with pytest.raises(ScoreError, match="of 2 images"):
        loaded.predict_batch(images[:2])
    if kind != "gate":
        with pytest.raises(ScoreError):
            loaded.score_tensors(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ScoreError, match=f"^{re.escape(images[0])} to {re.escape(images[-1])}: "):
        list(predict_files(loaded, images, Loading(workers=0)))
    frames = stack_fitted([loaded.fit(to_rgb(image)) for image in images[:2]])
    with pytest.raises(ScoreError):
        judge_clip(loaded, Clip(1.0, 2, [0.0, 0.5], frames, []))


def test_a_calibration_that_makes_no_number_of_a_logit_gives_no_verdict(detector, images):
    point = replace(POINT, calibration=Calibration("temperature", float("nan")))
    broken = replace(detector, scorer=replace(detector.scorer, point=point))
    with pytest.raises(ScoreError, match="the calibration gave 1 of 1 images"):
        broken(images[0])


def test_as_many_scores_as_images_or_none(detector, images):
    def too_many(pictures):
        return np.zeros(len(pictures) + 1, np.float32)

    member = detector.scorer.members[0]
    too_many.fit = member.network.fit
    scorer = replace(detector.scorer, members=[replace(member, network=too_many)])
    with pytest.raises(ScoreError, match=r"shape \(2,\) for 1 images"):
        replace(detector, scorer=scorer)(images[0])
