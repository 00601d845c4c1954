"""Learning-rate schedules: torch's schedulers, made of their settings."""

import math
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from faceproof.evaluation.metrics import better
from faceproof.training.config import ConstantConfig, CosineConfig, PlateauConfig


def make_scheduler(
    config: Any, optimizer: Optimizer, num_steps: int
) -> LRScheduler | ReduceLROnPlateau:
    """Return the scheduler of an optimizer, for a training of so many optimizer steps.

    `config` is one of `training.config.SCHEDULERS`, or of the user's own: called with the two other
    arguments, it returns a scheduler that is stepped with every optimizer step.
    """
    match config:
        case PlateauConfig():  # `DetectorModule` steps it at the end of every epoch
            return ReduceLROnPlateau(
                optimizer, mode=better(config.monitor), factor=config.factor,
                patience=config.patience, min_lr=config.min_lr,
            )  # fmt: skip
        case CosineConfig():
            return LambdaLR(optimizer, cosine(config, num_steps))
        case ConstantConfig():
            return LambdaLR(optimizer, lambda step: 1.0)
    return config(optimizer, num_steps)  # type: ignore[no-any-return]


def cosine(config: CosineConfig, num_steps: int) -> Any:
    """Return the factor on the learning rate as a function of the step."""
    num_warmup = max(round(config.warmup * num_steps), 1)

    def factor(step: int) -> float:
        if step < num_warmup:
            return (step + 1) / num_warmup
        share = (step - num_warmup) / max(num_steps - num_warmup, 1)
        return config.floor + (1 - config.floor) * (1 + math.cos(math.pi * min(share, 1.0))) / 2

    return factor
