"""Timing in turns, and tables of what was found."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from faceproof.app import compose_data
from faceproof.data.listing import DataSet
from faceproof.data.table import select
from faceproof.performance.threads import wait_briefly

WARM_UP = 3  # batches


def images_per_second(batches: Iterator[int], seconds: float) -> float:
    """Return the rate of a loop over some seconds, after its first batches."""
    for _ in range(WARM_UP):
        next(batches)
    began, images = time.perf_counter(), 0
    while time.perf_counter() - began < seconds or not images:
        images += next(batches)
    return images / (time.perf_counter() - began)


def peak_memory() -> float:
    """Return the most memory that this process had so far, in MB; Linux alone tells it."""
    status = Path("/proc/self/status").read_text()  # not getrusage, which counts the parent's too
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return int(fields["VmHWM"].split()[0]) / 1024


def apart(
    function: str,
    *given: Any,
    as_commands: bool = False,
    settings: Mapping[str, str] | None = None,
) -> Any:
    """Call a function `module:name` of plain values in a process of its own, and return its answer.

    What one contender does to the process, such as how it gets memory, is then no other's.
    `as_commands`: as faceproof's commands start; see `faceproof.performance.threads`.
    `settings`: environment variables.
    """
    module, _, name = function.partition(":")
    call = (
        "import json, sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        f"from {module} import {name}\n"
        f"print('ANSWER', json.dumps({name}(*json.loads(sys.argv[1]))))"
    )
    environment = {**os.environ, **(settings or {})}
    if as_commands:
        wait_briefly(environment)
    done = subprocess.run(
        [sys.executable, "-c", call, json.dumps(given)],
        capture_output=True,
        text=True,
        env=environment,
    )
    answers = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
    if done.returncode or not answers:
        raise RuntimeError(f"{function}{given} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(answers[-1].removeprefix("ANSWER "))


def in_turns(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure each contender once in every round, so that what else goes on hits all alike."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, measure in contenders.items():
            found[name].append(measure())
    return found


def medians(found: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the median over rounds of each contender's rate."""
    return {name: statistics.median(rates) for name, rates in found.items()}


def ratio(found: Mapping[str, Sequence[float]], first: str, second: str) -> float:
    """Return the median over rounds of one contender's rate by another's in the same round."""
    return statistics.median(a / b for a, b in zip(found[first], found[second], strict=True))


@dataclass(frozen=True)
class Images:
    """The images of a benchmark."""

    data: DataSet

    @property
    def rows(self) -> Any:
        """Return the training rows."""
        return select(self.data.table, "train")

    @property
    def paths(self) -> list[str]:
        """Return their files."""
        return [str(path) for path in self.rows["path"].to_pylist()]

    @property
    def labels(self) -> list[int]:
        """Return their classes as numbers."""
        return [int(label == self.data.task.positive) for label in self.rows["label"].to_pylist()]


def read_images(name: str) -> Images:
    """Return the images of a data set of conf/data."""
    return Images(compose_data([f"data={name}"]))


def machine() -> dict[str, Any]:
    """Return what a figure depends on."""
    return {
        "processor": torch.cpu.get_capabilities().get("cpu_name", platform.processor()),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def show(title: str, rows: Sequence[Mapping[str, Any]], out: Path | None) -> None:
    """Print rows as a table, and write them as JSON."""
    table = Table(title=title)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(_text(row.get(column)) for column in columns))
    Console(width=160).print(table)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        found = {"benchmark": title, "machine": machine(), "rows": list(rows)}
        out.write_text(json.dumps(found, indent=2) + "\n")


def _text(value: Any) -> str:
    return "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
