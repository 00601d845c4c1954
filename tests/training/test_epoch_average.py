"""The mean of weights at the ends of epochs: by hand, its batch normalisation, and what is kept."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.optim.swa_utils import update_bn

from faceproof.data.loader_config import LoaderConfig
from faceproof.data.model_input import to_unit
from faceproof.data.run_tables import recorded_data
from faceproof.errors import FaceproofError
from faceproof.models.weights import load_network
from faceproof.training.datamodule import ImageDataModule
from faceproof.training.epoch_average import EpochAverage
from faceproof.training.module import DetectorModule
from tests.jobs import train
from tests.small_networks import resnet, small
from tests.training.test_freeze_checks import config_of

BY_BATCHES = ("running_mean", "running_var", "num_batches_tracked")


def module_of(net: Any) -> DetectorModule:
    return DetectorModule(net, lambda net: None, lambda optimizer, steps: None)


def end(callback: EpochAverage, module: DetectorModule, epoch: int, batch: int = 9) -> None:
    trainer = SimpleNamespace(current_epoch=epoch, max_epochs=10, num_training_batches=10)
    callback.on_train_batch_end(trainer, module, None, None, batch)


def test_it_is_the_plain_mean_of_the_weights_at_the_ends_of_the_last_epochs() -> None:
    module, callback = module_of(small(0)), EpochAverage(0.7)
    (name, weight), *_ = module.net.named_parameters()
    seen = []
    for epoch in range(10):
        with torch.no_grad():
            weight += epoch
        end(callback, module, epoch, batch=4)  # inside the epoch, where nothing is averaged
        end(callback, module, epoch)
        seen.append(weight.detach().clone())
        assert callback.num_averaged == max(epoch - 6, 0)
    torch.testing.assert_close(callback.average[name], torch.stack(seen[7:]).mean(0))
    assert torch.equal(weight, seen[-1])  # the training goes on with its own
    assert module.kept_weights is callback.average


def test_before_it_begins_validation_has_the_weights_and_then_the_average() -> None:
    module, callback = module_of(small(0)), EpochAverage(0.5)
    weight = next(module.net.parameters())
    before = weight.detach().clone()
    callback.on_validation_start(None, module)
    assert torch.equal(weight, before)
    callback.on_validation_end(None, module)
    assert module.kept_weights is None
    end(callback, module, 5)
    with torch.no_grad():
        weight += 2
    end(callback, module, 6)
    callback.on_validation_start(None, module)
    torch.testing.assert_close(weight.detach(), before + 1)
    callback.on_validation_end(None, module)
    torch.testing.assert_close(weight.detach(), before + 2)


def test_what_has_begun_goes_on_where_a_resumed_run_has_more_epochs() -> None:
    module, first, second = module_of(small(0)), EpochAverage(0.5), EpochAverage(0.5)
    end(first, module, 5)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.on_fit_start(None, module)
    trainer = SimpleNamespace(current_epoch=10, max_epochs=40, num_training_batches=10)
    second.on_train_batch_end(trainer, module, None, None, 9)
    assert second.num_averaged == 2


def test_frozen_batch_normalisation_keeps_its_statistics() -> None:
    net = resnet(0)  # in eval mode, as what is frozen is: no training images are asked for
    held = copy.deepcopy(net.state_dict())
    callback = EpochAverage(0.5)
    end(callback, module_of(net), 9)
    assert all(torch.equal(callback.average[name], one) for name, one in held.items())


def test_an_average_of_another_network_or_of_none_is_refused() -> None:
    callback = EpochAverage(0.5)
    callback.load_state_dict({"num_averaged": 1, "average": {"weight": torch.ones(2)}})
    with pytest.raises(FaceproofError, match="of another network"):
        callback.on_fit_start(None, module_of(small(0)))
    with pytest.raises(FaceproofError, match="no average of weights"):
        callback.load_state_dict({"num_averaged": 1})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("swa=0.75", "ema=0.9"), "swa and ema both average the weights"),
        (("swa=0.75", "trainer.max_epochs=-1"), r"trainer\.max_epochs = -1 says not how many"),
        (("swa=1.0",), r"swa = 1\.0 must be a rate"),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(FaceproofError, match=said):
        config_of(*words)


def test_a_run_keeps_the_average_with_batch_statistics_of_its_own(small_faces, tmp_path) -> None:
    words = (
        "data=face_or_not", f"data.root={small_faces}", "model=timm", "model.name=test_resnet",
        "model.weights=none", "model.input.size=32", "trainer=cpu", "trainer.max_epochs=1",
        "loader.batch_size=5", "loader.num_workers=0", "logger=csv", "augment=none",
        "trainer.precision=32-true",
    )  # fmt: skip
    run = train(tmp_path / "run", *words, "swa=0.5")
    best, last = (torch.load(file, weights_only=True) for file in (run.best, run.last))
    usual = torch.load(train(tmp_path / "plain", *words).last, weights_only=True)["state_dict"]
    # The average is no part of the training: its weights are those of a run without it.
    assert all(torch.equal(last["state_dict"][key], value) for key, value in usual.items())
    net, data = load_network(run), recorded_data(run)
    kept = copy.deepcopy(net.state_dict())
    loader = LoaderConfig(5, 0)
    images = ImageDataModule(data.table, data.task, net.input, loader=loader)
    update_bn((to_unit(batch.image) for batch in images.train_dataloader()), net)
    moved = []
    for name, value in net.state_dict().items():
        torch.testing.assert_close(kept[name], value, msg=lambda text, name=name: f"{name}: {text}")
        if name.endswith(BY_BATCHES[:2]):
            moved.append(not torch.allclose(value, usual[f"net.{name}"]))
        else:
            own = name.endswith(BY_BATCHES[2]) or torch.equal(value, usual[f"net.{name}"])
            assert own, name
    assert all(moved)  # running averages of the training are others
    assert best["state_dict"].keys() == usual.keys()
