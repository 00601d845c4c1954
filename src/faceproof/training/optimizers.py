"""Optimizers over named parameter groups."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import timm.optim
import torch
from torch import nn
from torch.optim import Optimizer

from faceproof.errors import FaceproofError
from faceproof.lookup import find
from faceproof.models.detector import Detector, parameter_blocks
from faceproof.training.optimizer_config import OptimizerConfig

BACKBONES = ("backbone.", "branch.")


@dataclass(frozen=True)
class Part:
    """Parameters that share a learning rate."""

    name: str
    lr: float
    members: Sequence[nn.Parameter]


def make_optimizer(config: OptimizerConfig, net: nn.Module) -> Optimizer:
    """Make the optimizer of a network whose backbones' parameters are named as `BACKBONES`.

    Every parameter is in it from the start, frozen or not, in the groups backbone and head, each
    with and without weight decay: a group that is added later breaks schedulers and resuming. With
    `layer_decay` each block of the backbone has groups of its own, and what a branch has beside a
    backbone is in those of the first.
    """
    create = find(config.name, torch_optimizers() | timm_optimizers(), "optimizer.name")
    groups = []
    for part in _parts(config, net):
        for suffix, decay, members in (
            ("", config.weight_decay, [one for one in part.members if one.ndim > 1]),
            ("_no_decay", 0.0, [one for one in part.members if one.ndim <= 1]),
        ):
            if members:
                name = part.name + suffix
                group = {"params": members, "name": name, "lr": part.lr, "weight_decay": decay}
                groups.append(group)
    try:
        return create(groups, **config.options)  # type: ignore[no-any-return]
    except (ArithmeticError, AssertionError, RuntimeError, TypeError, ValueError) as error:
        reason = f"the optimizer cannot be made: {error}; look at optimizer.options"
        raise FaceproofError(reason) from error


def _parts(config: OptimizerConfig, net: nn.Module) -> list[Part]:
    """Divide the parameters by learning rate: the backbone, or each block of it, and the head."""
    own = dict(net.named_parameters())
    blocks = [[name for name in own if name.startswith(BACKBONES)]]
    factors, names = [1.0], ["backbone"]
    if config.layer_decay is not None:
        assert isinstance(net, Detector)
        blocks = [list(block) for block in parameter_blocks(net)]
        inside = {name for block in blocks for name in block}
        # A branch of one's own, which stands before the backbone, learns as its first block.
        blocks[0] += [name for name in own if name.startswith(BACKBONES) and name not in inside]
        factors = [config.layer_decay ** (len(blocks) - place) for place in range(len(blocks))]
        names = [f"backbone_{place}" for place in range(len(blocks))]
    rate = config.lr if config.backbone_lr is None else config.backbone_lr
    inside = {name for block in blocks for name in block}
    head = [parameter for name, parameter in own.items() if name not in inside]
    return [
        *(
            Part(name, rate * factor, [own[one] for one in block])
            for name, factor, block in zip(names, factors, blocks, strict=True)
        ),
        Part("head", config.lr, head),
    ]


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
