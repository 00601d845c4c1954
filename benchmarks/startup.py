"""Start-up: how long until the commands answer."""

import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from faceproof import app

HEAVY = ("torch", "pytorch_lightning", "timm", "matplotlib", "sklearn")


def measure_startup(rounds: int) -> list[dict[str, Any]]:
    """Return a row a command: seconds, against those of an interpreter that does nothing."""
    train = str(Path(app.repository()) / "train.py")
    commands = {
        "python -c pass": ["-c", "pass"],
        "faceproof --help": ["-m", "faceproof", "--help"],
        "python train.py --cfg job": [train, "--cfg", "job"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, words in commands.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
            taken[name].append(time.perf_counter() - began)
    return [
        {"command": name, "seconds": statistics.median(taken[name]),
         "imports": ", ".join(_heavy(words)) or "nothing heavy"}
        for name, words in commands.items()
    ]  # fmt: skip


def _heavy(words: list[str]) -> list[str]:
    """Return which heavy packages a command imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words], capture_output=True, text=True, check=True
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    return [name for name in HEAVY if name in loaded]
