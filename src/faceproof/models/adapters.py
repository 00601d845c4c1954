"""Low-rank adapters: a few weights that are trained in the place of a pre-trained backbone's own.

Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv:2106.09685).
"""

import math
import re
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.utils import parametrize

from faceproof.errors import FaceproofError
from faceproof.models.detector import Detector, parameter_blocks

WEIGHT = "weight"  # of a linear layer, (O, I)
PARTS = ("0.down", "0.up")  # of an adapter, as a state dict has them beside the weight itself


class LowRank(nn.Module):
    """Adds alpha / rank * up @ down to a weight, (O, I); up begins at 0, and so changes nothing."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        num_outputs, num_inputs = weight.shape
        self.down = nn.Parameter(weight.new_empty(rank, num_inputs))
        self.up = nn.Parameter(weight.new_zeros(num_outputs, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as the authors' code, and nn.Linear
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        """Return the adapted weight, (O, I)."""
        return weight + self.scale * (self.up @ self.down)


def add_adapters(net: Detector, rank: int, alpha: float, layers: str) -> None:
    """Adapt the backbone's linear layers in whose names a regular expression is found.

    The weight itself is adapted and not the layer's output, because several of timm's networks
    read the weight (those of DINOv3 and of the Perception Encoder).

    Raises:
        FaceproofError: no linear layer has such a name.
    """
    backbone = {name for block in parameter_blocks(net) for name in block}
    linear = {
        name: module
        for name, module in net.named_modules()
        if isinstance(module, nn.Linear) and f"{name}.{WEIGHT}" in backbone
    }
    try:
        chosen = [module for name, module in linear.items() if re.search(layers, name)]
    except re.error as error:
        raise FaceproofError(f"adapter.layers = {layers!r} is no pattern: {error}") from error
    if not chosen:
        there = f"; it has {', '.join(list(linear)[-4:])} and others" if linear else ""
        raise FaceproofError(
            f"adapter.layers = {layers!r} matches none of this backbone's {len(linear)} linear "
            f"layers{there}. Low-rank adapters are for transformers; freeze=norms suits every "
            "backbone with normalisation"
        )
    for module in chosen:
        parametrize.register_parametrization(module, WEIGHT, LowRank(module.weight, rank, alpha))


def free_parameters(net: Detector) -> list[str]:
    """Return the names of the parameters that may train: beside adapters, no backbone's own."""
    names = [name for name, _ in net.named_parameters()]
    adapters = tuple(
        f"{name}." for name, module in net.named_modules() if isinstance(module, LowRank)
    )
    if not adapters:
        return names
    backbone = {name for block in parameter_blocks(net) for name in block}
    return [name for name in names if name not in backbone or name.startswith(adapters)]


def merge_adapters(net: Detector) -> Detector:
    """Add the adapters to the weights of the network itself, which then has none; return it."""
    for module in list(net.modules()):
        if parametrize.is_parametrized(module, WEIGHT):
            parametrize.remove_parametrizations(module, WEIGHT)
    return net


def merged_weights(net: Detector, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict of an adapted network as one of the network without adapters."""
    weights = dict(state)
    for name, module in net.named_modules():
        if isinstance(module, LowRank):
            place, _, _ = name.rpartition(".")
            own, down, up = (weights.pop(f"{place}.{part}") for part in ("original", *PARTS))
            layer = place.removesuffix(f".parametrizations.{WEIGHT}")
            weights[f"{layer}.{WEIGHT}"] = own + module.scale * (up @ down)
    return weights


def norm_parameters(net: nn.Module) -> frozenset[str]:
    """Return the names of the weights and biases of normalisation, of whatever kind it is.

    Libraries have normalisations of their own; each has Norm in the name of its class.
    """
    return frozenset(
        f"{place}.{name}"
        for place, module in net.named_modules()
        if "norm" in type(module).__name__.lower()
        for name, parameter in module.named_parameters(recurse=False)
        if name in ("weight", "bias") and parameter.ndim <= 1
    )
