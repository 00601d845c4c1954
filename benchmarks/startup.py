"""Start-up: how long until the commands answer."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

HEAVY = ("torch", "pytorch_lightning", "timm", "matplotlib", "sklearn")


def measure_startup(rounds: int) -> list[dict[str, Any]]:
    """Return a row a command: seconds, against those of an interpreter that does nothing."""
    train = ["-m", "faceproof", "train"]
    commands = {
        "python -c pass": ["-c", "pass"],
        "faceproof --help": ["-m", "faceproof", "--help"],
        "faceproof train --cfg job": [*train, "--cfg", "job"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, words in commands.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
            taken[name].append(time.perf_counter() - began)
    rows = [
        {"command": name, "seconds": statistics.median(taken[name]),
         "imports": ", ".join(_heavy(words)) or "nothing heavy"}
        for name, words in commands.items()
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        first, *later = (_first_steps(folder, number) for number in range(rounds + 1))
    name = "faceproof train trainer=smoke, until its two steps are validated"
    return [
        *rows,
        {"command": name, "seconds": statistics.median(later), "imports": "all"},
        {"command": f"{name}, its images drawn first", "seconds": first, "imports": "all"},
    ]


def _first_steps(folder: str, number: int) -> float:
    """Return the seconds until a smoke test has trained and validated its two batches each."""
    own = {"FACEPROOF_DATA": f"{folder}/data", "FACEPROOF_CACHE": f"{folder}/cache"}
    words = [
        sys.executable,
        "-um",
        "faceproof",
        "train",
        "trainer=smoke",
        f"hydra.run.dir={folder}/run{number}",
    ]
    began = time.perf_counter()
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, text=True, env=os.environ | own, cwd=folder
    ) as running:
        assert running.stdout is not None
        for line in running.stdout:
            if line.startswith("epoch 0:"):
                found = time.perf_counter() - began
    if running.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {running.returncode}")
    return found


def _heavy(words: list[str]) -> list[str]:
    """Return which heavy packages a command imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words], capture_output=True, text=True, check=True
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    return [name for name in HEAVY if name in loaded]
