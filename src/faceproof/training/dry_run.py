"""A dry run: build all of a training without an image, so that what must fail fails at once."""

import copy
import logging
import math
import operator
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from faceproof.errors import FaceproofError
from faceproof.models.detector import Detector
from faceproof.settings import is_count
from faceproof.training.callbacks import set_trainable
from faceproof.training.config import TrainConfig
from faceproof.training.freeze_checks import check_adapters, parts_of
from faceproof.training.freezing import FreezeSchedule
from faceproof.training.optimizers import make_optimizer
from faceproof.training.schedulers import make_scheduler
from faceproof.training.trainer import divides_weights, make_trainer

log = logging.getLogger(__name__)

NUM_STEPS = 100  # of the imaginary training
# Optimizers whose step for one number depends on that number's gradients alone.
OF_ELEMENTS = ("sgd", "adam", "adamw", "nadam", "radam", "adagrad", "rmsprop")
TOO_FEW = "more than 1 value per channel"  # in torch's message of a batch norm
# Attributes of the trainer with which a run could not finish: what fits, and why.
TRAINER_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("max_epochs", lambda value: type(value) is int and value != 0, "1 or more, or -1 for no end"),
    ("accumulate_grad_batches", lambda value: is_count(value, 1), "1 or more, a whole number"),
    ("limit_train_batches", lambda value: value > 0, "above 0: a run trains"),
    ("limit_val_batches", lambda value: value > 0, "above 0: the best epoch is chosen by it"),
    ("check_val_every_n_epoch", lambda value: value == 1, "1: every epoch is judged by validation"),
    # As a whole number it counts batches, as another share it comes within an epoch.
    ("val_check_interval", lambda value: type(value) is float and value == 1,
     "1.0: every epoch is judged at its end"),
    ("gradient_clip_val", lambda value: 0 <= (value or 0) < math.inf, "null, or 0 or more"),
    ("log_every_n_steps", is_count, "0 or more, whole"),
    ("fast_dev_run", operator.not_, "false: it keeps no epoch; use trainer=smoke"),
    ("overfit_batches", operator.not_, "0: use trainer.limit_train_batches"),
)  # fmt: skip


def dry_run(config: TrainConfig, net: Detector) -> None:
    """Refuse settings with which this network could not be trained to the end.

    The network stays as it is, and no random number is drawn.
    """
    config.freeze.check(parts_of(net))
    make_scheduler(config.scheduler, make_optimizer(config.optimizer, net), NUM_STEPS)
    # With a callback that wants checkpoints, as those of a run do.
    trainer, precision = make_trainer(
        config.trainer, logger=False, callbacks=[ModelCheckpoint()], enable_progress_bar=False
    )
    for name, fits, meaning in TRAINER_RULES:
        value = getattr(trainer, name, None)  # Lightning leaves out an interval given as a time
        if not fits(value):
            raise FaceproofError(f"trainer.{name} = {value!r} must be {meaning}")
    check_adapters(net, config)
    if config.optimizer.sam_rho is not None:
        _check_sharpness(str(precision.name))
    if divides_weights(trainer):
        log.warning(
            "with trainer.strategy=fsdp a run that stops cannot be resumed, and has to be started "
            "again in a new folder"
        )
        _check_divided(trainer, config)
    _check_processes(trainer, config)
    _check_network(net)


def _check_sharpness(precision: str) -> None:
    """Refuse a precision in which the second gradient of a step cannot be had."""
    if precision.startswith("16"):
        raise FaceproofError(
            f"trainer.precision = {precision} has gradients in float16, which vanish unless they "
            "are scaled, and the one that optimizer.sam_rho looks for is not; use "
            "trainer.precision=bf16-mixed or 32-true"
        )


def _check_divided(trainer: pl.Trainer, config: TrainConfig) -> None:
    """Refuse what takes whole weights or the norm of a whole gradient, of which FSDP has parts."""
    by_norm = trainer.gradient_clip_algorithm != "value" and trainer.gradient_clip_val
    taken = {
        "optimizer.sam_rho": config.optimizer.sam_rho,
        "ema": config.ema,
        "swa": config.swa,
        "adapter": config.adapter,
        "trainer.gradient_clip_val": by_norm or None,
        # Its parts are one-dimensional, and one-dimensional weights are taken to have no decay.
        "optimizer.weight_decay": config.optimizer.weight_decay or None,
    }
    if config.optimizer.name not in OF_ELEMENTS:
        raise FaceproofError(
            f"trainer.strategy = fsdp divides each weight among processes, and optimizer.name = "
            f"{config.optimizer.name} may need it whole; use one of {', '.join(OF_ELEMENTS)}"
        )
    for name, value in taken.items():
        if value is not None:
            raise FaceproofError(
                f"trainer.strategy = fsdp divides the weights and their gradients among processes, "
                f"and {name} needs them whole; use trainer=ddp, or leave {name} out (null or 0)"
            )


def _check_processes(trainer: pl.Trainer, config: TrainConfig) -> None:
    """Refuse batch norms that are to be synchronised where torch cannot do it."""
    wanted = config.trainer.get("sync_batchnorm")
    if wanted and trainer.world_size > 1 and trainer.strategy.root_device.type == "cpu":
        raise FaceproofError(
            "trainer.sync_batchnorm = true takes a GPU for each process, and these train on the "
            "CPU; leave it out, or choose trainer.accelerator=gpu"
        )


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
            f"the network cannot take an image of {side} x {side} pixels: {error}; backbone, head "
            "and size do not fit each other: look at model.backbone, model.head and model.input"
        ) from error
    finally:
        for module in training:
            module.training = True
    if tuple(logits.shape) != (1,):
        raise FaceproofError(
            f"the network returns {tuple(logits.shape)} for one image, and a single logit is "
            "expected; look at model.head"
        )
    if not logits.isfinite().all():
        raise FaceproofError(
            f"the network returns {logits.item()} for a black image, which is not a finite number; "
            "look at model.input and model.weights"
        )


def check_single_images(net: Detector, freeze: FreezeSchedule) -> None:
    """Refuse a network that cannot be trained on batches of a single image; it stays as it is.

    Batch normalisation needs two values of each channel, and where the map is one pixel large, as
    after pooling, a single image has one.
    """
    tried = copy.deepcopy(net)
    parts = parts_of(tried)
    image = torch.zeros(1, 3, net.input.size, net.input.size, device=net.input_mean.device)
    for stage in freeze.stages:
        set_trainable(tried, freeze.trainable(parts, stage.from_epoch))
        try:
            with torch.random.fork_rng(devices=()), torch.no_grad():
                tried(image)
        except ValueError as error:
            if TOO_FEW not in str(error):
                raise
            raise FaceproofError(
                "this network's batch normalisation cannot be trained on batches of one image, as "
                "loader.batch_size and the number of training images make them "
                f"({error}); use loader.batch_size=2 or more, and two training images or more for "
                "each process"
            ) from error
