"""Frozen backbones: epochs of `freeze=head_only` against one pass over the images."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import baselines
from benchmarks.measuring import apart, in_turns, medians, ratio, read_images
from benchmarks.training import BATCH_SIZE, compose_model, make_net
from faceproof.data.table import select
from faceproof.training.precision import choose_precision


def measure_frozen(data: str, models: list[str], epochs: int, rounds: int) -> list[dict[str, Any]]:
    """Return a row a model: seconds of one pass, of one epoch and of all, and their ratios.

    The pass is the expert's over the images of training and validation, the process's start left
    out. The epochs are `python train.py` from its start to its end, the operating point included.
    """
    with tempfile.TemporaryDirectory() as folder:
        _start(folder, "-m", "faceproof", "audit", f"data={data}", "--out", f"{folder}/audit")
        return [_measure(folder, data, model, epochs, rounds) for model in models]


def _measure(folder: str, data: str, model: str, epochs: int, rounds: int) -> dict[str, Any]:
    ways: dict[str, Callable[[], float]] = {
        "one pass, s": partial(apart, "benchmarks.frozen:one_pass", data, model),
        "1 epoch, s": partial(_train, folder, data, model, 1),
        f"{epochs} epochs, s": partial(_train, folder, data, model, epochs),
    }
    found = in_turns(ways, rounds)
    first, once, again = ways
    return {
        "model": model,
        **medians(found),
        f"{epochs} epochs / one pass": ratio(found, again, first),
        f"{epochs} epochs / 1 epoch": ratio(found, again, once),
    }


def one_pass(data: str, model: str) -> float:
    """Return the seconds of the expert's pass over the images of training and validation."""
    net, images = make_net(compose_model(model)), read_images(data)
    paths = [*images.paths, *select(images.data.table, "val")["path"].to_pylist()]
    bf16 = choose_precision(on_gpu=False).name == "bf16-mixed"
    workers = baselines.num_workers(len(paths), BATCH_SIZE)
    began = time.perf_counter()
    baselines.expert_scoring(net, paths, net.input.size, 64, workers, bf16)
    return time.perf_counter() - began


def _train(folder: str, data: str, model: str, epochs: int) -> float:
    """Return the seconds of `python train.py` from start to end, without cached features."""
    shutil.rmtree(Path(folder) / "cache" / "features", ignore_errors=True)
    words = [f"data={data}", f"model={model}", "model.weights=none", "freeze=head_only"]
    words += [
        "augment=none",
        f"trainer.max_epochs={epochs}",
        f"hydra.run.dir={tempfile.mkdtemp(dir=folder)}",
    ]
    began = time.perf_counter()
    _start(folder, "-m", "faceproof", "train", *words)
    return time.perf_counter() - began


def _start(folder: str, *words: str) -> None:
    """Run Python with a cache of its own; what it prints is of no interest unless it fails."""
    done = subprocess.run(
        [sys.executable, *words], env=os.environ | {"FACEPROOF_CACHE": f"{folder}/cache"},
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode not in (0, 1) or (done.returncode and "audit" not in words):
        raise RuntimeError(f"{words} ended with {done.returncode}: {done.stderr[-2000:]}")
