"""Scale: a table of so many images is built, divided, counted and opened by four workers."""

import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from benchmarks.measuring import apart
from faceproof.data.datasets import ImageDataset
from faceproof.data.listing import TableData
from faceproof.data.loaders import make_loader
from faceproof.data.samplers import EpochSampler
from faceproof.data.table import counts, write_table
from faceproof.task import TASKS

NUM_WORKERS = 4


class PathsOnly(ImageDataset):
    """The rows of a table whose files do not exist: everything but the decoding."""

    def image(self, row: int, epoch: int = 0) -> Tensor:
        """Return an empty image for a path that was looked up."""
        assert self.paths[row].as_py()
        return torch.zeros((3, self.size, self.size), dtype=torch.uint8)


def measure_scale(folder: Path, sizes: list[int]) -> list[dict[str, Any]]:
    """Return a row a size: seconds of each step, and the memory of each worker.

    A process writes the table and another opens it, as a script and a training would.
    """
    rows = []
    for size in sizes:
        file = str(folder / f"{size}.parquet")
        writing = apart("benchmarks.scale:write_made", size, file)
        rows.append({"rows": size, "write, s": writing, **apart("benchmarks.scale:opened", file)})
    return rows


def write_made(size: int, file: str) -> float:
    """Write a made-up table; return the seconds it took."""
    began = time.perf_counter()
    write_table(made_table(size), Path(file))
    return time.perf_counter() - began


def opened(file: str) -> dict[str, Any]:
    """Return what it takes to divide a table, count it, and read it by four workers."""
    began = time.perf_counter()
    data = TableData("scale", "deepfake", file).list()
    divided = time.perf_counter()
    balance = counts(data.table, "split", "label")
    counted = time.perf_counter()
    dataset = PathsOnly(data.table, TASKS["deepfake"], 8, "bilinear")
    loader = make_loader(dataset, 256, NUM_WORKERS, EpochSampler(len(dataset), 0))
    early = late = (0.0, 0.0)
    for number, _ in enumerate(loader):
        if number == len(loader) // 10:
            early = _largest_child()
    late = _largest_child()
    del loader
    return {
        "read and divide, s": divided - began,
        "count, s": counted - divided,
        "an epoch by 4 workers, s": time.perf_counter() - counted,
        "smallest class": min(balance.values()),
        "worker after a tenth, MB": early[0],
        "worker at the end, MB": late[0],
        "of its own then, MB": late[1],
    }


def made_table(size: int) -> pa.Table:
    """Make a table of images that need not exist, in groups of eight."""
    from faceproof.data.table import table_from_columns

    numbers = np.arange(size)
    fake = numbers % 2 == 1
    return table_from_columns(
        {
            "path": [f"/images/{n // 1000:05}/{n:09}.jpg" for n in numbers.tolist()],
            "label": np.where(fake, "fake", "real").tolist(),
            "group": [f"video-{n // 8}" for n in numbers.tolist()],
            "generator": [f"g{n % 7}" if n % 2 else None for n in numbers.tolist()],
        }
    )


def _largest_child() -> tuple[float, float]:
    """Return the resident memory of the largest worker, and what of it no process shares, in MB."""
    sizes = []
    for child in multiprocessing.active_children():
        rollup = Path(f"/proc/{child.pid}/smaps_rollup")
        if rollup.exists():
            fields = dict(line.split(":") for line in rollup.read_text().splitlines()[1:])
            parts = {name: int(value.split()[0]) / 1024 for name, value in fields.items()}
            sizes.append((parts["Rss"], parts["Private_Clean"] + parts["Private_Dirty"]))
    return max(sizes, default=(float("nan"), float("nan")))
