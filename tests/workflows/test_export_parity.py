"""One image, one answer: by evaluate.py, in Python, on the command line, and by ONNX Runtime."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import faceproof
from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import is_positive, read_predictions
from faceproof.inference import predictor
from faceproof.workflows.export import export_run
from faceproof.workflows.export_parity import refuse_disagreement
from tests.conftest import write_faces
from tests.jobs import evaluate, train
from tests.workflows.test_predict import predict, read


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Return a trained run's artifact and what evaluate.py said of its test images."""
    root = tmp_path_factory.mktemp("parity")
    run = train(
        root / "run",
        "data=face_or_not", f"data.root={write_faces(root, train=12, val=8, test=8)}",
        "model=face_cnn", "model.input.size=16", "trainer=cpu", "trainer.max_epochs=2",
        "loader.batch_size=8", "loader.num_workers=0", "logger=csv",
    )  # fmt: skip
    folder = evaluate(run.path, "loader.num_workers=0")
    export_run(run.path, root / "artifact", onnx=True)
    return root / "artifact", read_predictions(folder / "predictions.parquet")


@pytest.mark.onnx_export
def test_every_way_gives_the_same_answer(scored, tmp_path):
    artifact, predictions = scored
    wanted = {row["path"]: row for row in predictions.to_pylist()}
    model = faceproof.load(artifact, "cpu")
    ways = {
        "one by one": [model(path) for path in wanted],
        "in a batch": model.predict_batch(list(wanted)),
        "by ONNX Runtime": faceproof.load(artifact, "cpu", "onnx").predict_batch(list(wanted)),
    }
    found = {way: [verdict.to_json() for verdict in ways[way]] for way in ways}
    (tmp_path / "list.txt").write_text("\n".join(wanted))
    for backend in ("torch", "onnx", "auto"):
        out = tmp_path / f"{backend}.parquet"
        assert predict(artifact, tmp_path / "list.txt", "--out", out, "--backend", backend) == 0
        found[f"predict with {backend}"] = read(out)
    for way, rows in found.items():
        tolerance = 1e-4 if "onnx" in way.lower() or "auto" in way else 1e-6
        for row, truth in zip(rows, wanted.values(), strict=True):
            assert row["probability"] == pytest.approx(truth["probability"], abs=tolerance), way
            positive = is_positive([truth["probability"]], model.threshold)[0]
            assert row["called"] == model.task.classes[int(positive)], way


@pytest.mark.onnx_export
def test_what_computes_is_chosen_by_what_is_there(scored, tmp_path, monkeypatch):
    artifact, _ = scored
    export_run(artifact.parent / "run", tmp_path / "plain")
    assert faceproof.load(artifact).backend == "torch"
    assert faceproof.load(artifact, "cpu", "auto").backend == "onnx"
    assert faceproof.load(tmp_path / "plain", "cpu", "auto").backend == "torch"
    monkeypatch.setattr(predictor, "find_spec", lambda name: None)
    assert faceproof.load(artifact, "cpu", "auto").backend == "torch"


@pytest.mark.onnx_export
def test_the_card_tells_of_the_run(scored):
    artifact, predictions = scored
    card = json.loads((artifact / "card.json").read_text())
    detector = card["detector"]
    (evaluation,) = detector["evaluations"]
    assert evaluation["num_images"] == predictions.num_rows
    assert evaluation["same_operating_point"]
    assert detector["trained_on"]["name"] == "face_or_not"
    assert detector["trained_on"]["images"]["train"] == {"face": 12, "non_face": 12}
    assert detector["networks"][0]["initial_weights"] == "random initial weights"
    assert pq.read_schema(artifact.parent / "run" / "seen.parquet").names == [
        "path", "content", "look", "label",
    ]  # fmt: skip
    assert "face_or_not, test: 16" in (artifact / "README.md").read_text()


def test_novelties_are_compared_as_shares_and_logits_as_they_are():
    ours = np.array([[0.0, 900.0], [3.0, 1.0]], np.float32)
    refuse_disagreement("model.onnx", ours + np.float32([5e-5, 0]), ours)
    refuse_disagreement("model.onnx", ours * np.float32([1, 1.0005]), ours)
    with pytest.raises(FaceproofError, match=r"on 2 images their logits differ by up to 0\.0002"):
        refuse_disagreement("model.onnx", ours + np.float32([2e-4, 0]), ours)
    with pytest.raises(
        FaceproofError, match=r"distances from the training images differ, .* 0\.01"
    ):
        refuse_disagreement("model.onnx", ours * np.float32([1, 1.01]), ours)
    with pytest.raises(FaceproofError, match="logits differ"):
        refuse_disagreement("model.onnx", ours[:, 0] + np.float32(1), ours[:, 0])
