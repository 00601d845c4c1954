"""Optimizers over named parameter groups."""

import functools
from typing import Any

import timm.optim
import torch
from torch import nn
from torch.optim import Optimizer

from faceproof.errors import FaceproofError
from faceproof.lookup import find
from faceproof.training.config import OptimizerConfig

BACKBONES = ("backbone.", "branch.")


def make_optimizer(config: OptimizerConfig, net: nn.Module) -> Optimizer:
    """Make the optimizer of a network whose backbones' parameters are named as `BACKBONES`.

    Every parameter is in it from the start, frozen or not, in the groups backbone and head, each
    with and without weight decay: a group that is added later breaks schedulers and resuming.
    """
    create = find(config.name, torch_optimizers() | timm_optimizers(), "optimizer.name")
    groups = []
    backbone_lr = config.lr if config.backbone_lr is None else config.backbone_lr
    for part, lr in (("backbone", backbone_lr), ("head", config.lr)):
        chosen = [
            parameter
            for name, parameter in net.named_parameters()
            if name.startswith(BACKBONES) == (part == "backbone")
        ]
        for suffix, decay, members in (
            ("", config.weight_decay, [one for one in chosen if one.ndim > 1]),
            ("_no_decay", 0.0, [one for one in chosen if one.ndim <= 1]),
        ):
            if members:
                name = part + suffix
                groups.append({"params": members, "name": name, "lr": lr, "weight_decay": decay})
    try:
        return create(groups, **config.options)  # type: ignore[no-any-return]
    except (ArithmeticError, AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = f"the optimizer cannot be made: {error}; look at optimizer.options"
        raise FaceproofError(reason) from error


def torch_optimizers() -> dict[str, Any]:
    """Return torch's optimizers by their lower-case names."""
    return {
        name.lower(): one
        for name, one in vars(torch.optim).items()
        if isinstance(one, type) and issubclass(one, Optimizer) and one is not Optimizer
    }


def timm_optimizers() -> dict[str, Any]:
    """Return timm's optimizers by name, those that torch has too left out."""
    names = set(timm.optim.list_optimizers()) - set(torch_optimizers())  # type: ignore[attr-defined]
    return {str(name): functools.partial(_make_timms, str(name)) for name in sorted(names)}


def _make_timms(name: str, groups: list[dict[str, Any]], **options: Any) -> Optimizer:
    create: Any = timm.optim.get_optimizer_class(name)  # type: ignore[attr-defined]
    return create(groups, **options)  # type: ignore[no-any-return]
