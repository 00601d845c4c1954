"""Where the processor time of a training step goes, by kind of operation."""

from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import baselines
from benchmarks.training import BATCH_SIZE, compose_model, make_net
from faceproof.memory import reuse_memory
from faceproof.models.depthwise import quicken_depthwise
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
    """Return a row a model: the share of each kind in the processor time of its arithmetic."""
    reuse_memory()
    return [_measure(model) for model in models]


def _measure(model: str) -> dict[str, Any]:
    net = make_net(compose_model(model))
    quicken_depthwise(net)
    bf16 = choose_precision(on_gpu=False).name == "bf16-mixed"
    loop = baselines.arithmetic(net, net.input.size, BATCH_SIZE, bf16)
    next(loop)
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
        **{f"{kind}, %": 100 * value / whole for kind, value in spent.items()},
    }


def _kind(name: str) -> str:
    """Return the kind of an operation."""
    for kind, parts in KINDS.items():
        if any(part in name for part in parts):
            return kind
    return REST
