"""Freeze schedules against networks and epochs: what would make a training pointless is told."""

from pathlib import Path

import pytest

from faceproof import app
from faceproof.errors import FaceproofError
from faceproof.models.build import build_network
from faceproof.training.config import make_train_config
from faceproof.training.freeze_checks import (
    check_random_backbone,
    never_trains_backbone,
    warn_of_late_stages,
    warn_of_unused_rates,
)
from faceproof.training.freezing import FreezeSchedule
from tests.jobs import compose_job

RANDOM = "random initial weights (the ImageNet weights cannot be fetched)"
TRAINED = "ImageNet weights of resnet18 from timm's hub"


def schedule(*stages):
    return FreezeSchedule([{"from_epoch": epoch, "train": train} for epoch, train in stages])


def config_of(*words):
    small = ("model=face_cnn", "model.input.size=16")
    return make_train_config(app.training_values(compose_job("train", Path("run"), small + words)))


@pytest.fixture(scope="module")
def net():
    return build_network(config_of().model)


@pytest.mark.parametrize(
    ("stages", "max_epochs", "never"),
    [
        ([(0, "head")], 3, True),
        ([(0, "head"), (3, "all")], 3, True),
        ([(0, "head"), (3, "all")], 4, False),
        ([(0, "head"), (3, "all")], -1, False),
        ([(0, "head"), (3, "all")], None, False),
        ([(0, "all")], 1, False),
    ],
)
def test_a_backbone_that_never_trains_is_known(net, stages, max_epochs, never):
    assert never_trains_backbone(net, schedule(*stages), max_epochs) == never


def test_a_random_backbone_that_never_trains_is_refused(net):
    config = config_of("freeze=head_only", "model.weights=auto")
    with pytest.raises(FaceproofError) as refusal:
        check_random_backbone(net, config, RANDOM)
    said = str(refusal.value)
    assert "model.weights=auto found no trained ones (the ImageNet weights cannot be" in said
    for cure in ("model.weights=FILE", "FACEPROOF_WEIGHTS", "freeze=none", "model.weights=none"):
        assert cure in said
    late = config_of("freeze=gradual", "model.weights=auto", "trainer.max_epochs=1")
    with pytest.raises(FaceproofError, match="random weights and never train"):
        check_random_backbone(net, late, RANDOM)


def test_random_weights_that_are_only_the_model_s_default_are_refused(net):
    config = config_of("freeze=head_only")
    with pytest.raises(FaceproofError, match=r"none is its default.*say model\.weights=none"):
        check_random_backbone(net, config, "random initial weights", wants_random=False)


def test_random_weights_that_were_asked_for_are_told_and_allowed(net, caplog):
    check_random_backbone(net, config_of("freeze=head_only"), "random initial weights")
    assert "RANDOM BACKBONE: with model.weights=none" in caplog.text


@pytest.mark.parametrize(
    ("words", "weights"),
    [(("freeze=head_only",), TRAINED), (("freeze=none",), RANDOM), (("freeze=last_2",), RANDOM)],
)
def test_what_is_trained_or_was_is_left_alone(net, caplog, words, weights):
    check_random_backbone(net, config_of(*words, "model.weights=auto"), weights)
    assert not caplog.records


def test_stages_after_the_last_epoch_are_told(caplog):
    gradual = schedule((0, "head"), (1, ["head", "last_1"]), (2, ["head", "last_2"]), (3, "all"))
    warn_of_late_stages(gradual, 3)
    assert "1 of its 4 stages never begin, because training ends after 3 epochs" in caplog.text
    assert "after 3 epochs: all. Set trainer.max_epochs=4 or more" in caplog.text
    caplog.clear()
    warn_of_late_stages(gradual, 2)
    assert "2 of its 4 stages never begin" in caplog.text
    assert "after 2 epochs: head, last_2, after 3 epochs: all" in caplog.text
    caplog.clear()
    for enough in (4, -1, None):
        warn_of_late_stages(gradual, enough)
    assert not caplog.records


@pytest.mark.parametrize("name", ["backbone_lr", "layer_decay"])
def test_a_rate_of_a_backbone_that_never_trains_is_told(net, caplog, name):
    word = f"optimizer.{name}=0.5"
    warn_of_unused_rates(net, config_of("freeze=none", word))
    warn_of_unused_rates(net, config_of("freeze=head_only"))
    assert not caplog.text
    warn_of_unused_rates(net, config_of("freeze=head_only", word))
    assert f"{word.replace('=', ' = ')} changes nothing: freeze trains no part" in caplog.text
