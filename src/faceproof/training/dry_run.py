"""A recipe tried without an image: what would fail once the files were read fails at once."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import ModelCheckpoint

from faceproof.errors import FaceproofError
from faceproof.evaluation.monitor import better
from faceproof.models.detector import Detector, parameter_blocks
from faceproof.workflows.train import TrainConfig

Made = TypeVar("Made")

NUM_STEPS = 100  # of a training that is only imagined
# What a run could not come to its end with: the attribute of the trainer, what fits, and why.
TRAINER_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("max_epochs", lambda value: type(value) is int and value != 0, "1 or more, or -1 for no end"),
    (
        "accumulate_grad_batches",
        lambda value: type(value) is int and value >= 1,
        "1 or more, a whole number",
    ),
    ("limit_train_batches", lambda value: value > 0, "above 0: a run trains"),
    ("limit_val_batches", lambda value: value > 0, "above 0: the best epoch is chosen by it"),
    ("check_val_every_n_epoch", lambda value: value == 1, "1: every epoch is judged by validation"),
    # As a whole number it counts batches, as another share it comes within an epoch.
    (
        "val_check_interval",
        lambda value: type(value) is float and value == 1,
        "1.0: every epoch is judged at its end",
    ),
    (
        "gradient_clip_val",
        lambda value: value is None or 0 <= value < math.inf,
        "null, or 0 or more",
    ),
    ("log_every_n_steps", lambda value: type(value) is int and value >= 0, "0 or more, whole"),
    ("fast_dev_run", lambda value: not value, "false: it keeps no epoch; use trainer=smoke"),
    ("overfit_batches", lambda value: not value, "0: use trainer.limit_train_batches"),
)


def dry_run(train_config: TrainConfig, net: Detector) -> None:
    """Refuse a recipe that cannot be followed to its end with this network.

    The network is as it was afterwards, and no random number has been drawn.

    Args:
        train_config: how to train. Its trainer is made once, so it must not be the one that trains
            where a strategy is given as an object.
        net: the network.

    Raises:
        FaceproofError: a part of the recipe cannot be made, or does not fit the network.
    """
    better(train_config.monitor)
    train_config.freeze.check(parameter_blocks(net), [name for name, _ in net.named_parameters()])
    optimizer = _made("optimizer", lambda: train_config.optimizer(net))
    _made("scheduler", lambda: train_config.scheduler(optimizer, NUM_STEPS))
    _check_trainer(_made("trainer", lambda: _trainer(train_config)))
    _check_network(net)


def _made(what: str, make: Callable[[], Made]) -> Made:
    """Make a part of a recipe, and say which one it is that cannot be made."""
    try:
        return make()
    except (MisconfigurationException, ArithmeticError, AssertionError, TypeError, ValueError,
            RuntimeError) as error:  # fmt: skip
        reason = str(error) or type(error).__name__
        raise FaceproofError(f"the {what} cannot be made: {reason}; look at {what}.*") from error


def _trainer(train_config: TrainConfig) -> Trainer:
    # A callback that asks for checkpoints, as a run's do.
    trainer, _ = train_config.trainer(logger=False, callbacks=[ModelCheckpoint()],
                                enable_progress_bar=False)  # fmt: skip
    return trainer


def _check_trainer(trainer: Trainer) -> None:
    """Refuse a trainer that would train nothing, choose no best epoch, or stop half-way."""
    for name, fits, meaning in TRAINER_RULES:
        value = getattr(trainer, name, None)  # Lightning leaves out an interval given as a time
        if not fits(value):
            raise FaceproofError(f"trainer.{name} = {value!r} must be {meaning}")


def _check_network(net: Detector) -> None:
    """Refuse a network that does not turn an image into a logit."""
    training = [module for module in net.modules() if module.training]
    side, device = net.input.size, net.input_mean.device
    net.eval()
    try:
        with torch.inference_mode():
            logits = net(torch.zeros(1, 3, side, side, device=device))
    except (AssertionError, RuntimeError, TypeError, ValueError, IndexError) as error:
        raise FaceproofError(
            f"the network cannot look at an image of {side} x {side} pixels: {error}; backbone, "
            "head and size do not fit each other: look at model.backbone and model.input"
        ) from error
    finally:
        for module in training:
            module.training = True
    if tuple(logits.shape) != (1,):
        raise FaceproofError(
            f"the network answers an image by {tuple(logits.shape)} numbers, and one logit is "
            "wanted; look at model.head"
        )
    if not logits.isfinite().all():
        raise FaceproofError(
            f"the network answers a black image by {logits.item()}, which is no number; look at "
            "model.input and model.weights"
        )
