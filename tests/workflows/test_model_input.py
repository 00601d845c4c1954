"""Crops, tiles and mirror images from training to an artifact: every way gives the same answer."""

import json

import numpy as np
import pytest
import torch

import faceproof
from faceproof.data.image_io import read_image
from faceproof.data.model_input import Crop, fit_image
from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import read_predictions
from faceproof.inference.faces import combine_faces, fit_all
from faceproof.inference.predictor import stack_fitted
from faceproof.inference.scoring import Scoring, score
from faceproof.inference.video import read_clip
from faceproof.inference.video_verdict import judge_clip
from faceproof.models.weights import load_network
from faceproof.prepare.boxes import Box
from faceproof.server.heat_map import HeatMaps
from faceproof.workflows.explain import ExplainConfig, explain
from faceproof.workflows.export import export_cascade, export_run
from tests.conftest import write_faces, write_images
from tests.jobs import evaluate, train
from tests.small_runs import write_run
from tests.small_videos import write_video
from tests.workflows.test_predict import predict, read
from tests.workflows.test_resuming import TINY, assert_same_run, train_until_killed

SIDE = 16
INPUTS = {
    "crop": ("model.input.mode=crop",),
    "tiles": ("model.input.mode=tiles", "model.input.resize_to=24", "model.input.tta=flip"),
}


@pytest.fixture(scope="module", params=INPUTS)
def made(request, tmp_path_factory):
    """Return the mode, a run, its artifact, and what evaluate.py said of its test images."""
    root = tmp_path_factory.mktemp(request.param)
    data = write_faces(root, train=12, val=8, test=4)
    # One smaller than a crop, and two elongated ones.
    for name, size in (("small", (9, 7)), ("wide", (300, 10)), ("high", (20, 200))):
        write_images(data / "test" / "faces", [f"{name}.jpg"], size, face=True)
    run = train(
        root / "run", "data=face_or_not", f"data.root={data}", "model=face_cnn",
        f"model.input.size={SIDE}", *INPUTS[request.param], "trainer=cpu", "trainer.max_epochs=1",
        "loader.batch_size=8", "loader.num_workers=0", "logger=csv",
    )  # fmt: skip
    folder = evaluate(run.path, "loader.num_workers=2", "loader.batch_size=5")
    export_run(run.path, root / "artifact", onnx=True)
    return request.param, run, root / "artifact", read_predictions(folder / "predictions.parquet")


def test_record_report_and_card_tell_what_the_network_saw(made):
    mode, run, artifact, _ = made
    said = {"crop": "crop", "tiles": "tiles, resize_to=24, tiles=5, tta=flip"}[mode]
    told = f"16 x 16 pixels, {said}"
    assert run.read_record()["recipe"]["input"] == told
    (report,) = run.evaluations.glob("*/report.json")
    assert json.loads(report.read_text())["record"]["input"] == told
    assert f"| input | {told} |" in (artifact / "README.md").read_text()
    card = json.loads((artifact / "card.json").read_text())
    (network,) = card["detector"]["networks"]
    assert network["recipe"] == run.read_record()["recipe"]


def by_hand(net, path, mode):
    """Return the logit of an image, of each crop and mirror image by itself."""
    crop = Crop() if mode == "crop" else Crop(24, 5)
    fitted = fit_image(read_image(path), SIDE, net.input.interpolation, crop)
    crops = [fitted] if mode == "crop" else [one for tile in fitted for one in (tile, tile.flip(2))]
    with torch.no_grad():
        return np.mean([net(one[None] / 255).item() for one in crops])


@pytest.mark.onnx_export
def test_every_way_gives_the_same_answer(made, tmp_path):
    mode, run, artifact, predictions = made
    net = load_network(run).eval()
    wanted = {row["path"]: row for row in predictions.to_pylist()}
    assert len(wanted) == 11
    logits = [row["logit"] for row in wanted.values()]
    assert logits == pytest.approx([by_hand(net, path, mode) for path in wanted], abs=1e-5)
    model = faceproof.load(artifact, "cpu")
    images = torch.stack([torch.from_numpy(read_image(path)) for path in list(wanted)[:1]])
    assert model.score_tensors(images) == pytest.approx(logits[:1], abs=1e-5)
    ways = {
        "one by one": [model(path) for path in wanted],
        "in a batch": model.predict_batch(list(wanted)),
        "onnx": faceproof.load(artifact, "cpu", "onnx").predict_batch(list(wanted)),
    }
    found = {way: [verdict.to_json() for verdict in ways[way]] for way in ways}
    (tmp_path / "list.txt").write_text("\n".join(wanted))
    for words in (("--backend", "torch", "--workers", "2"), ("--backend", "onnx")):
        out = tmp_path / f"{words[1]}.parquet"
        assert predict(artifact, tmp_path / "list.txt", "--out", out, *words) == 0
        found[f"predict with {words[1]}"] = read(out)
    for way, rows in found.items():
        tolerance = 1e-4 if "onnx" in way else 1e-6
        for row, truth in zip(rows, wanted.values(), strict=True):
            assert row["probability"] == pytest.approx(truth["probability"], abs=tolerance), way


@pytest.mark.onnx_export
def test_the_card_and_its_readme_say_it(made):
    mode, _, artifact, _ = made
    stored = json.loads((artifact / "card.json").read_text())["detector"]["networks"][0]["input"]
    said = (artifact / "README.md").read_text()
    if mode == "crop":
        assert stored["mode"] == "crop"
        assert not {"resize_to", "tiles", "tta"} & set(stored)
        assert "the middle of the image, 16 x 16 pixels, not resized, mean" in said
        assert "Its logit is the mean" not in said
    else:
        assert (stored["mode"], stored["resize_to"], stored["tiles"]) == ("tiles", 24, 5)
        assert "5 crops of the image, 16 x 16 pixels, after it is resized to 24 pixels on" in said
        assert "Its logit is the mean over these crops and their mirror images." in said
        assert "It takes one crop or mirror image" in said


@pytest.mark.onnx_export
def test_frames_and_faces_are_judged_as_images_are(made, tmp_path):
    _, _, artifact, predictions = made
    model = faceproof.load(artifact, "cpu")
    images = [torch.from_numpy(read_image(path)) for path in predictions["path"].to_pylist()]
    verdicts = [model(image) for image in images]
    batch = stack_fitted([fit_all(image, model.fits) for image in images])
    boxes = [Box(0, 0, image.shape[2], image.shape[1]) for image in images]
    found = combine_faces(model, boxes, model.judge(batch))
    assert [one.probability for one in found.faces] == pytest.approx(
        [one.probability for one in verdicts], abs=1e-6
    )
    write_video(tmp_path / "a.mp4", [0.0, 0.1, 0.2, 0.3])
    clip = read_clip(tmp_path / "a.mp4", model.fits, 3)
    frames = clip.fitted[model.fits[0]]
    wanted = [model.judge({model.fits[0]: frame[None]})[0].probability for frame in frames]
    said = judge_clip(model, clip, batch_size=2)
    assert [one.probability for one in said.frames] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.onnx_export
def test_a_cascade_joins_detectors_of_different_inputs(made, tmp_path):
    _, _, artifact, predictions = made
    detector = write_run(tmp_path / "detector", gain=20.0)
    export_cascade(artifact, detector, tmp_path / "cascade")
    cascade, gate = faceproof.load(tmp_path / "cascade", "cpu"), faceproof.load(artifact, "cpu")
    assert len(cascade.fits) == 2
    paths = predictions["path"].to_pylist()
    shares = [one.gate_probability for one in cascade.predict_batch(paths)]
    wanted = [one.probability for one in gate.predict_batch(paths)]
    assert shares == pytest.approx(wanted, abs=1e-6)


@pytest.mark.onnx_export
def test_a_map_is_of_the_crop_and_never_of_a_mean(made, tmp_path):
    mode, run, artifact, predictions = made
    path = predictions["path"][0].as_py()
    config = ExplainConfig(run.path, (path,), methods=("cam",), out=tmp_path / "out", device="cpu")
    maps = HeatMaps(faceproof.load(artifact, "cpu"))
    if mode == "tiles":
        with pytest.raises(FaceproofError, match="the mean over 10 views of an image"):
            explain(config)
        assert "the mean over 10 views" in maps.problem
        return
    explain(config)
    (one,) = json.loads((tmp_path / "out" / "explanation.json").read_text())["images"]
    assert one["logit"] == pytest.approx(predictions["logit"][0].as_py(), abs=1e-5)
    assert maps.draw(torch.from_numpy(read_image(path))).size == (SIDE, SIDE)


def test_no_logit_depends_on_the_batch(made):
    _, run, _, predictions = made
    net = load_network(run)
    task = faceproof.load(made[2], "cpu").task
    for size in (1, 4):
        logits = score(net, predictions, task, Scoring(size, 0, "cpu"))
        assert logits == pytest.approx(predictions["logit"].to_numpy(), abs=1e-5)


def test_a_run_of_random_crops_goes_on_exactly(tmp_path, monkeypatch):
    data = write_faces(tmp_path, train=8, val=4, test=4)
    words = (*TINY, f"data.root={data}", *INPUTS["tiles"])
    whole = train(tmp_path / "whole", *words)
    for step in (3, 6):
        folder = tmp_path / str(step)
        train_until_killed(monkeypatch, step, folder, *words, "loader.num_workers=2")
        resumed = train(folder, f"resume={folder}", "loader.num_workers=0")
        assert_same_run(whole, resumed)


def test_what_does_not_fit_together_is_refused(tmp_path):
    data = f"data.root={write_faces(tmp_path, train=8, val=4, test=4)}"
    for word, said in (
        ("cache.images=memory", r"cache\.images = memory .* model\.input\.mode=crop"),
        ("model.input.tiles=5", r"model\.input\.tiles = 5 changes nothing with mode=crop"),
        ("model.input.resize_to=8", r"model\.input\.resize_to = 8 must be at least size = 16"),
    ):
        with pytest.raises(FaceproofError, match=said):
            train(tmp_path / "run", *TINY, data, "model.input.mode=crop", word)


def test_runs_and_artifacts_of_before_are_read_as_they_were(tmp_path):
    run = write_run(tmp_path / "run")  # its config.yaml says nothing of crops
    export_run(run, tmp_path / "artifact")
    stored = json.loads((tmp_path / "artifact" / "card.json").read_text())
    input = stored["detector"]["networks"][0]["input"]
    assert set(input) == {"size", "mean", "std", "interpolation"}
    model = faceproof.load(tmp_path / "artifact", "cpu")
    assert model.fits == ((16, "bilinear", None),)
    assert model.card.to_json() == stored
