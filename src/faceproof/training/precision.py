"""Which numbers to compute in: bfloat16 where that is faster, else float32."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

# Depthwise convolutions of small maps lose by bfloat16 on a CPU, those of larger ones gain. Where
# that turns depends on the machine; `python -m benchmarks precision` tells of a model on this one.
MIN_DEPTHWISE_SIDE = 224


@dataclass(frozen=True)
class Precision:
    """A precision of Lightning's, and why it was chosen."""

    name: Any
    reason: str


def choose_precision(net: nn.Module, side: int, on_gpu: bool) -> Precision:
    """Return bf16-mixed where the hardware computes bfloat16 natively and the network gains by it.

    The choice depends on network and hardware alone, not on a measurement, so that a run done twice
    is the same run.

    Args:
        net: the network.
        side: of its pictures, in pixels.
        on_gpu: whether it computes on a GPU.
    """
    if on_gpu:
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bf16-mixed", "this GPU computes bfloat16 natively")
        return Precision("32-true", "this GPU does not compute bfloat16 natively")
    if not cpu_has_bf16():
        return Precision("32-true", "this processor does not compute bfloat16 natively")
    if has_depthwise(net) and side < MIN_DEPTHWISE_SIDE:
        small = f"depthwise convolutions below {MIN_DEPTHWISE_SIDE} px are slower in bfloat16"
        return Precision("32-true", small)
    return Precision("bf16-mixed", "this processor computes bfloat16 natively")


def cpu_has_bf16() -> bool:
    """Say whether the processor has instructions for products of bfloat16."""
    able = torch.cpu.get_capabilities()
    return any(
        able.get(name) for name in ("avx512_bf16", "amx_bf16", "avx10_2", "bf16", "sve_bf16")
    )


def has_depthwise(net: nn.Module) -> bool:
    """Say whether a network has convolutions that look at each channel by itself."""
    return any(
        isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1
        for module in net.modules()
    )
