"""The moving average of weights: by hand, in validation, and in what a run keeps."""

import copy
from types import SimpleNamespace

import pytest
import torch

from faceproof.errors import FaceproofError
from faceproof.training.averaging import WeightAverage
from faceproof.training.module import DetectorModule
from tests.jobs import train
from tests.small_networks import small


@pytest.fixture
def module():
    return DetectorModule(small(0), lambda net: None, lambda optimizer, steps: None)


def step(callback, module, number):
    trainer = SimpleNamespace(global_step=number)
    callback.on_train_batch_end(trainer, module, None, None, number - 1)


def test_it_is_the_weighted_mean_of_the_weights(module):
    callback = WeightAverage(0.25)
    callback.on_fit_start(None, module)
    (name, weight), *_ = module.net.named_parameters()
    expected = weight.detach().clone()
    for number, decay in ((1, 2 / 11), (2, 3 / 12), (3, 0.25)):
        with torch.no_grad():
            weight += number
        step(callback, module, number)
        expected = decay * expected + (1 - decay) * weight.detach()
    torch.testing.assert_close(callback.average[name], expected)


def test_a_batch_that_ends_no_step_moves_nothing(module):
    callback = WeightAverage(0.9)
    callback.on_fit_start(None, module)
    step(callback, module, 1)
    before = copy.deepcopy(callback.average)
    with torch.no_grad():
        for weight in module.net.parameters():
            weight += 1
    step(callback, module, 1)  # gradients are gathered
    assert all(torch.equal(value, before[name]) for name, value in callback.average.items())


def test_validation_has_the_average_and_training_its_weights_again(module):
    callback = WeightAverage(0.9)
    callback.on_fit_start(None, module)
    old = copy.deepcopy(module.net.state_dict())
    with torch.no_grad():
        for weight in module.net.parameters():
            weight += 1
    new = copy.deepcopy(module.net.state_dict())
    callback.on_validation_start(None, module)
    assert all(torch.equal(value, old[name]) for name, value in module.net.state_dict().items())
    callback.on_validation_end(None, module)
    assert all(torch.equal(value, new[name]) for name, value in module.net.state_dict().items())
    assert all(torch.equal(value, old[name]) for name, value in callback.average.items())


def test_the_average_of_another_network_is_refused(module):
    callback = WeightAverage(0.9)
    callback.load_state_dict({"num_steps": 3, "average": {"weight": torch.ones(2)}})
    with pytest.raises(FaceproofError, match="of another network"):
        callback.on_fit_start(None, module)
    for state in ({}, {"num_steps": 3, "average": {"weight": 1}}):
        with pytest.raises(FaceproofError, match="no average of weights"):
            callback.load_state_dict(state)


def test_a_run_keeps_the_average_and_last_has_both(small_faces, tmp_path):
    words = (
        "data=face_or_not", f"data.root={small_faces}", "model=face_cnn", "model.input.size=16",
        "trainer=cpu", "trainer.max_epochs=1", "loader.batch_size=4", "loader.num_workers=0",
        "logger=csv",
    )  # fmt: skip
    run = train(tmp_path / "run", *words, "ema=0.9")
    best, last = (torch.load(file, weights_only=True) for file in (run.best, run.last))
    average = last["callbacks"]["WeightAverage"]["average"]
    assert all(torch.equal(best["state_dict"][f"net.{key}"], one) for key, one in average.items())
    plain = train(tmp_path / "plain", *words)
    usual = torch.load(plain.last, weights_only=True)["state_dict"]
    moved = [key for key, value in usual.items() if not torch.equal(best["state_dict"][key], value)]
    assert moved  # the average is another network
    # The average is no part of the training: its weights are those of a run without it.
    assert all(torch.equal(last["state_dict"][key], value) for key, value in usual.items())
