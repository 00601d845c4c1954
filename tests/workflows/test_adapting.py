"""Backbones adapted by few weights: trained, stopped and resumed, reloaded, exported."""

import pytest
import torch

import faceproof
from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import read_predictions
from faceproof.explain.loaded_detector import load_subject, read_images
from faceproof.models import build_network
from faceproof.models.build import read_model
from faceproof.workflows.export import export_run
from tests.jobs import evaluate, train
from tests.tiny_transformers import words_of
from tests.workflows.test_resuming import assert_same_run, train_until_killed, weights

TRAINED = (
    "data=face_or_not", "trainer=cpu", "trainer.max_epochs=2", "loader.batch_size=4",
    "loader.num_workers=0", "logger=csv", "model.weights=none", "checkpoint.steps=1",
    "optimizer.lr=0.05", "patience=5",
)  # fmt: skip
# Adaptations, each as the words of a command line.
ADAPTED = {
    "lora": ("adapter=lora", "adapter.rank=2"),
    "lora with an average": ("adapter=lora", "ema=0.5"),
    "norms": ("freeze=norms",),
    "layer decay": ("optimizer.layer_decay=0.5",),
}


@pytest.fixture
def words(small_faces):
    return (*TRAINED, f"data.root={small_faces}", *words_of("dinov3"))


@pytest.mark.parametrize("name", ADAPTED)
def test_an_adapted_run_is_resumed_exactly_and_is_a_plain_network_to_all_that_uses_it(
    name, words, tmp_path, monkeypatch
):
    words = (*words, *ADAPTED[name])
    run = train(tmp_path / "run", *words)
    train_until_killed(monkeypatch, 5, tmp_path / "killed", *words)
    assert_same_run(run, train(tmp_path / "killed", f"resume={tmp_path / 'killed'}"))
    plain = build_network(read_model(run.read_config()["model"]))
    names = {f"net.{key}" for key in plain.state_dict()}
    assert weights(run, "best")["state_dict"].keys() == names
    assert ("lora" in name) == (weights(run)["state_dict"].keys() != names)
    folder = evaluate(run.path, "loader.num_workers=0")
    scored = read_predictions(folder / "predictions.parquet")
    paths, logits = scored["path"].to_pylist(), torch.tensor(scored["logit"].to_pylist())
    export_run(run.path, tmp_path / "artifact")
    verdicts = faceproof.load(tmp_path / "artifact", "cpu").predict_batch(paths)
    torch.testing.assert_close(torch.tensor([verdict.logit for verdict in verdicts]), logits)
    subject = load_subject(run.path, "cpu")
    seen = torch.from_numpy(subject.logits(read_images(paths, subject.net.input)))
    torch.testing.assert_close(seen.to(logits.dtype), logits, atol=1e-5, rtol=1e-5)


def test_only_what_is_to_be_adapted_moves(words, tmp_path):
    after = {}
    for name in ("lora", "norms"):
        run = train(tmp_path / name, *words, *ADAPTED[name], "trainer.max_epochs=1")
        after[name] = weights(run)["state_dict"]
    run = train(tmp_path / "still", *words, "optimizer.lr=0", "trainer.max_epochs=1")
    before = weights(run)["state_dict"]
    of = {key.replace(".parametrizations.weight.original", ".weight"): value
          for key, value in after["lora"].items()}  # fmt: skip
    moved = {key for key, value in before.items() if not torch.equal(of[key], value)}
    assert moved <= {key for key in before if key.startswith("net.head.")}
    assert any(value.any() for key, value in of.items() if key.endswith(".up"))
    moved = {key for key, value in before.items() if not torch.equal(after["norms"][key], value)}
    assert moved
    assert all(".norm" in key or key.startswith("net.head.") for key in moved)
    assert any("blocks.0.norm1" in key for key in moved)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("freeze=head_only", "adapter=lora"), "freeze never trains the adapters"),
        (("freeze=norms", "adapter=lora"), "no layer of normalisation can be trained"),
        (("adapter=lora", "adapter.layers=conv"), "adapter.layers = 'conv' matches none"),
        (("adapter=lora", "adapter.rank=0"), "adapter.rank = 0 must be a count from 1 on"),
        (("optimizer.layer_decay=1.5",), "optimizer.layer_decay = 1.5 must be a rate"),
        (("adapter=lora", "model.weights=auto"), "would have random weights and never train"),
    ],
)
def test_what_makes_no_sense_is_refused_before_an_image_is_read(
    more, message, words, tmp_path, not_looked_at
):
    with pytest.raises(FaceproofError, match=message):
        train(tmp_path / "run", *words, *more)
    assert not not_looked_at
