"""What of the machine's arithmetic training gets, and where the time of a step goes."""

import time
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import baselines
from benchmarks.measuring import images_per_second
from benchmarks.training import BATCH_SIZE, compose_model, make_net
from faceproof.models.detector import Detector
from faceproof.performance.depthwise import quicken_depthwise
from faceproof.performance.memory import reuse_memory
from faceproof.training.precision import choose_precision

STEPS = 4
KINDS = {  # parts of the names that torch gives its operations; the first that fits counts
    "gradients of convolutions": ("convolution_backward",),
    "convolutions": ("convolution",),
    "batch normalisation": ("batch_norm",),
    "matrix products": ("addmm", "::mm", "::bmm", "linear", "attention"),
    "pooling": ("pool",),
    "optimizer": ("adam", "Adam"),
}
REST = "activations, sums, copies"


def measure_profile(models: list[str]) -> list[dict[str, Any]]:
    """Return a row a model: what of the machine's arithmetic it gets, and where its time goes."""
    reuse_memory()
    bf16 = choose_precision(on_gpu=False).name == "bf16-mixed"
    limit = max(product_rate(torch.bfloat16 if bf16 else torch.float32) for _ in range(3))
    return [_measure(model, bf16, limit) for model in models]


def product_rate(numbers: torch.dtype, seconds: float = 1.0) -> float:
    """Return how many operations a second the product of two large matrices gets."""
    side = 2048
    first, second = torch.rand(2, side, side).to(numbers)
    torch.mm(first, second)
    began, number = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        torch.mm(first, second)
        number += 1
    return number * 2 * side**3 / (time.perf_counter() - began)


def operations(net: Detector) -> float:
    """Return the operations of an image's training step: thrice those of its multiplications.

    The gradients of images and of weights take as many as the layer itself; the first layer's,
    whose images have none, are counted all the same.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net.eval()(torch.rand(1, 3, net.input.size, net.input.size))
    return 3.0 * counter.get_total_flops()


def _measure(model: str, bf16: bool, limit: float) -> dict[str, Any]:
    net = make_net(compose_model(model))
    of_image = operations(net)
    quicken_depthwise(net)
    loop = baselines.arithmetic(net, net.input.size, BATCH_SIZE, bf16)
    rate = images_per_second(loop, 2.0)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        for _ in range(STEPS):
            next(loop)
    spent = dict.fromkeys([*KINDS, REST], 0.0)
    for operation in seen.key_averages():
        spent[_kind(operation.key)] += operation.self_cpu_time_total
    whole = sum(spent.values())
    return {
        "model": model,
        "side": net.input.size,
        "threads": torch.get_num_threads(),
        "GFLOP an image": of_image / 1e9,
        "images/s": rate,
        "GFLOP/s": of_image * rate / 1e9,
        "GFLOP/s of large products": limit / 1e9,
        **{f"{kind}, %": 100 * value / whole for kind, value in spent.items()},
    }


def _kind(name: str) -> str:
    """Return the kind of an operation."""
    for kind, parts in KINDS.items():
        if any(part in name for part in parts):
            return kind
    return REST
