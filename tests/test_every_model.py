"""Every model under every freeze schedule: trains, reloads, exports and scores the same."""

import numpy as np
import pytest
import torch

import faceproof
from faceproof.evaluation.predictions import read_predictions
from faceproof.workflows.export import export_run
from tests.jobs import CHOICES, evaluate, train

# Small enough for two cores, large enough for five halvings of the side.
SIZES = {"face_cnn": 16, "cnn3": 32}
DEFAULT_SIZE = 64

WITHOUT_NORMS = ("cnn3", "face_cnn", "own")

COMBINATIONS = [
    # Each model and each schedule once in turn; the smallest under all of them.
    pytest.param(
        model, freeze,
        marks=() if (i - j) % len(CHOICES["freeze"]) == 0 or model == "face_cnn" else
        pytest.mark.long,
    )
    for i, model in enumerate(CHOICES["model"])
    for j, freeze in enumerate(CHOICES["freeze"])
    if freeze != "norms" or model not in WITHOUT_NORMS
]  # fmt: skip


@pytest.mark.parametrize(("model", "freeze"), COMBINATIONS)
def test_smoke(model, freeze, small_faces, tmp_path):
    names = {"timm": "model.name=mobilenetv3_small_050", "own": "model.backbone.name=cnn3"}
    name = (names[model],) if model in names else ()
    run = train(
        tmp_path / "run",
        "data=face_or_not",
        f"data.root={small_faces}",
        f"model={model}",
        f"freeze={freeze}",
        *name,
        f"model.input.size={SIZES.get(model, DEFAULT_SIZE)}",
        "model.weights=none",
        "trainer=smoke",
        "loader.batch_size=4",
        "loader.num_workers=0",
        "logger=csv",
    )
    for checkpoint in (run.best, run.last):
        state = torch.load(checkpoint, weights_only=True)["state_dict"]
        assert all(torch.isfinite(value).all() for value in state.values())
    first, second = (
        read_predictions(evaluate(run.path, f"loader.batch_size={size}", "loader.num_workers=0")
                         / "predictions.parquet")
        for size in (3, 8)
    )  # fmt: skip
    assert first["path"].equals(second["path"])
    assert np.allclose(first["logit"].to_numpy(), second["logit"].to_numpy(), atol=1e-5)
    export_run(run.path, tmp_path / "artifact")
    verdicts = faceproof.load(tmp_path / "artifact", "cpu").predict_batch(first["path"].to_pylist())
    served = [verdict.logit for verdict in verdicts]
    assert np.allclose(first["logit"].to_numpy(), served, atol=1e-5)
