"""Optimizers over named groups, and learning-rate schedules."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from faceproof.errors import FaceproofError
from faceproof.evaluation.monitor import better


@dataclass(frozen=True)
class OptimizerSettings:
    """How to make an optimizer.

    Every parameter is in it from the start, frozen or not, in the groups backbone and head, each with
    and without weight decay: groups added later are what breaks schedulers and resuming.

    Args:
        create: a torch optimizer that takes parameter groups.
        lr: learning rate of the head, and of the backbone unless that has its own.
        backbone_lr: learning rate of the backbone; None for `lr`.
        weight_decay: for weights; biases and normalisation (one-dimensional) have none.
    """

    create: Callable[[list[dict[str, Any]]], Optimizer]
    lr: float
    backbone_lr: float | None = None
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        for name in ("lr", "backbone_lr", "weight_decay"):
            value = getattr(self, name)
            if value is None and name == "backbone_lr":
                continue
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise FaceproofError(f"optimizer.{name} = {value!r} must be a number from 0 on")

    def __call__(self, net: nn.Module) -> Optimizer:
        """Make the optimizer for a network whose backbone's parameters are named `backbone.`."""
        groups = []
        backbone_lr = self.lr if self.backbone_lr is None else self.backbone_lr
        for part, lr in (("backbone", backbone_lr), ("head", self.lr)):
            named = [
                p
                for n, p in net.named_parameters()
                if n.startswith("backbone.") == (part == "backbone")
            ]
            for suffix, decay, chosen in (
                ("", self.weight_decay, [p for p in named if p.ndim > 1]),
                ("_no_decay", 0.0, [p for p in named if p.ndim <= 1]),
            ):
                if chosen:
                    name = part + suffix
                    groups.append({"params": chosen, "name": name, "lr": lr, "weight_decay": decay})
        return self.create(groups)


@dataclass(frozen=True)
class Plateau:
    """Multiply the learning rate by `factor` when the monitored figure stops improving.

    Args:
        factor: the multiplier.
        patience: epochs without improvement that are borne.
        min_lr: the least learning rate.
        monitor: the figure; smaller is better for losses and error rates.
    """

    factor: float = 0.1
    patience: int = 3
    min_lr: float = 0.0
    monitor: str = "val/loss"

    def __post_init__(self) -> None:
        better(self.monitor)
        if type(self.patience) is not int or self.patience < 0:
            raise FaceproofError(
                f"scheduler.patience = {self.patience!r} must be a count of epochs"
            )
        for name, limit in (("factor", 1), ("min_lr", math.inf)):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < limit:
                raise FaceproofError(
                    f"scheduler.{name} = {value!r} must be a number from 0 on; a factor below 1"
                )

    def __call__(self, optimizer: Optimizer, num_steps: int) -> ReduceLROnPlateau:
        """Make the scheduler; the module steps it at the end of every epoch."""
        return ReduceLROnPlateau(
            optimizer,
            mode=better(self.monitor),
            factor=self.factor,
            patience=self.patience,
            min_lr=self.min_lr,
        )


@dataclass(frozen=True)
class Cosine:
    """Rise linearly over the first share of the steps, then fall along half a cosine.

    Args:
        warmup: share of all steps.
        floor: the last learning rate as a share of the highest.
    """

    warmup: float = 0.1
    floor: float = 0.0

    def __post_init__(self) -> None:
        for name in ("warmup", "floor"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                raise FaceproofError(f"scheduler.{name} = {value!r} must be a share, from 0 to 1")

    def __call__(self, optimizer: Optimizer, num_steps: int) -> LambdaLR:
        """Make the scheduler; it is stepped with every optimizer step."""
        num_warmup = max(round(self.warmup * num_steps), 1)

        def factor(step: int) -> float:
            if step < num_warmup:
                return (step + 1) / num_warmup
            share = (step - num_warmup) / max(num_steps - num_warmup, 1)
            return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * min(share, 1.0))) / 2

        return LambdaLR(optimizer, factor)


@dataclass(frozen=True)
class Constant:
    """Leave the learning rate as it is."""

    def __call__(self, optimizer: Optimizer, num_steps: int) -> LambdaLR:
        """Make the scheduler."""
        return LambdaLR(optimizer, lambda step: 1.0)
