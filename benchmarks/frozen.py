"""Frozen trunks: epochs of `freeze=head_only` against one pass over the pictures."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import baselines
from benchmarks.measuring import Pictures
from benchmarks.training import BATCH_SIZE, compose_model, make_net
from faceproof import app
from faceproof.data.table import select
from faceproof.training.precision import choose_precision


def measure_frozen(
    pictures: Pictures, data: str, models: list[str], epochs: int
) -> list[dict[str, Any]]:
    """Return a row a model: seconds of one pass, of all epochs, and their ratio."""
    return [_measure(pictures, data, model, epochs) for model in models]


def _measure(pictures: Pictures, data: str, model: str, epochs: int) -> dict[str, Any]:
    config = compose_model(model)
    net = make_net(config)
    bf16 = choose_precision(on_gpu=False).name == "bf16-mixed"
    table = pictures.data.table
    paths = [*pictures.paths, *select(table, "val")["path"].to_pylist()]
    workers = baselines.num_workers(len(paths), BATCH_SIZE)
    began = time.perf_counter()
    baselines.expert_scoring(net, paths, net.input.size, 64, workers, bf16)
    one_pass = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        _start(folder, "-m", "faceproof", "audit", f"data={data}", "--out", f"{folder}/audit")
        once = _train(folder, data, model, 1)
        again = _train(folder, data, model, epochs)
    return {
        "model": model,
        "pictures": len(paths),
        "one pass, s": one_pass,
        "1 epoch, all in, s": once,
        f"{epochs} epochs, all in, s": again,
        f"{epochs} epochs / 1 epoch": again / once,
        f"{epochs} epochs beyond the first / one pass": (again - once) / one_pass,
    }


def _train(folder: str, data: str, model: str, epochs: int) -> float:
    """Return the seconds of `python train.py`, from its start to its end, no features kept yet."""
    shutil.rmtree(Path(folder) / "cache" / "features", ignore_errors=True)
    words = [f"data={data}", f"model={model}", "model.weights=none", "freeze=head_only"]
    words += ["augment=none", f"trainer.max_epochs={epochs}", f"hydra.run.dir={folder}/{epochs}"]
    began = time.perf_counter()
    _start(folder, str(Path(app.repository()) / "train.py"), *words)
    return time.perf_counter() - began


def _start(folder: str, *words: str) -> None:
    """Run Python with a cache of its own; what it prints is of no interest unless it fails."""
    done = subprocess.run(
        [sys.executable, *words], env=os.environ | {"FACEPROOF_CACHE": f"{folder}/cache"},
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode not in (0, 1) or (done.returncode and "audit" not in words):
        raise RuntimeError(f"{words} ended with {done.returncode}: {done.stderr[-2000:]}")
