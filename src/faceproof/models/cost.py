"""Measure what a network costs: parameters, multiply-adds, and time per image on this machine."""

import copy
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from faceproof.models.detector import Detector

BATCH_SIZE = 32
MIN_ROUNDS = 3
MAX_ROUNDS = 30
SECONDS_PER_NETWORK = 4.0


@dataclass(frozen=True)
class Timing:
    """Milliseconds per image: the median over batches, and the quartiles."""

    median: float
    low: float
    high: float


def count_parameters(net: nn.Module) -> int:
    """Return the number of parameters, frozen ones included."""
    return sum(parameter.numel() for parameter in net.parameters())


def count_multiply_adds(net: Detector) -> int:
    """Return the multiply-adds of one image, of all its crops, in convolutions and matrix products.

    The field calls this number the "FLOPs" of an architecture: normalisation, activations and
    pooling are not counted. Only shapes are followed, nothing is computed.
    """
    shadow = copy.deepcopy(net).to("meta").eval()
    side = net.input.size
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        shadow(torch.empty(1, 3, side, side, device="meta"))
    return int(counter.get_total_flops()) // 2 * net.input.num_passes


def time_networks(
    nets: Sequence[Detector],
    device: str | torch.device,
    batch_size: int = BATCH_SIZE,
    seconds: float = SECONDS_PER_NETWORK,
) -> list[Timing]:
    """Time the networks in turns, so that other load on the machine slows all of them alike.

    In float32, without gradients, in the memory layout of scoring. The images are on the device
    already: reading and decoding them is not timed. Each is timed for so many seconds, for at least
    `MIN_ROUNDS` batches and at most `MAX_ROUNDS`. The networks are moved and put into eval mode.
    """
    place = torch.device(device)
    for net in nets:
        net.eval().to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    sides = {net.input.size for net in nets}
    images = {side: torch.rand(batch_size, 3, side, side, device=place) for side in sides}
    taken: list[list[float]] = [[] for _ in nets]
    with torch.inference_mode():
        for net in nets:  # the first batch sets up kernels and memory
            _seconds(net, images[net.input.size], place)
        for _ in range(MAX_ROUNDS):
            for net, spent in zip(nets, taken, strict=True):
                if len(spent) < MIN_ROUNDS or sum(spent) < seconds:
                    spent.append(_seconds(net, images[net.input.size], place))
    passes = [net.input.num_passes for net in nets]
    return [_timing(spent, batch_size / each) for spent, each in zip(taken, passes, strict=True)]


def _seconds(net: Detector, images: torch.Tensor, device: torch.device) -> float:
    _wait(device)
    start = time.perf_counter()
    net(images)
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _timing(spent: Sequence[float], batch_size: float) -> Timing:
    low, median, high = np.quantile(spent, [0.25, 0.5, 0.75]).tolist()
    return Timing(*(one * 1000 / batch_size for one in (median, low, high)))


def device_name(device: torch.device) -> str:
    """Return the name of a device for people."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"CPU ({_processor()}), {torch.get_num_threads()} threads"
    return device.type


def _processor() -> str:
    """Return the processor's name, or its architecture where the system has no name for it."""
    try:
        with Path("/proc/cpuinfo").open() as file:
            names = [line.partition(":")[2].strip() for line in file if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
