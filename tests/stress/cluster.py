"""python -m tests.stress.cluster: judge many images on a cluster whose node and command are killed.

Three nodes on this machine judge hard links to a few small images. After a third of the parts a
node is killed and another one joins; after two thirds the command is killed and started again. Then
each image must have one row, and all links to an image the same logit.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from faceproof.workflows.export import export_run
from tests.conftest import write_images
from tests.small_clusters import STORE, small_cluster
from tests.small_runs import write_run

NUM_IMAGES = 8  # to which the links are; a file system allows some tens of thousands to each
PART = 1024
WAIT = 1800.0  # seconds for a third of the parts
POLL = 0.2


def make_links(folder: Path, number: int) -> None:
    """Make so many files of `NUM_IMAGES` small images."""
    images = write_images(folder.parent / "images", [f"{n}.jpg" for n in range(NUM_IMAGES)])
    folder.mkdir()
    for place in range(number):
        (folder / f"{place:07d}.jpg").hardlink_to(images[place % NUM_IMAGES])


def parts_of(out: Path) -> int:
    """Return how many parts are there."""
    return sum(1 for _ in out.glob("part-*.parquet"))


@contextmanager
def command(folder: Path, part_size: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start the command, and end it with the block."""
    words = ["predict", "links", "--detector", "artifact", "--on", "ray", "--out", "rows"]
    words += ["--part-size", str(part_size), "--workers", "3"]
    with (folder / "errors.txt").open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "faceproof", *words],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(process: subprocess.Popen[bytes], holds: Callable[[], bool]) -> None:
    """Wait until something holds or the process ends."""
    until = time.monotonic() + WAIT
    while process.poll() is None and not holds():
        if time.monotonic() > until:
            raise SystemExit(f"nothing happened for {WAIT:.0f} s")
        time.sleep(POLL)


def peak_of_workers() -> int:
    """Return the most bytes that one of the worker processes has had in memory."""
    found = [0]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except (OSError, ValueError):  # ended meanwhile
            continue
        if lines["Name"].strip().startswith("ray::MapWorker") and "VmHWM" in lines:
            found.append(int(lines["VmHWM"].split()[0]) * 1024)
    return max(found)


def count(folder: Path) -> dict[str, int]:
    """Return how many rows there are, of how many files, with how many logits of an image."""
    rows = pq.read_table(folder / "rows", columns=["path", "logit", "error"])
    number = pc.cast(pc.utf8_slice_codeunits(rows["path"], start=-11, stop=-4), "int64")
    image = pc.subtract(number, pc.multiply(pc.divide(number, NUM_IMAGES), NUM_IMAGES))
    logits = rows.append_column("image", image).group_by("image")
    most = logits.aggregate([("logit", "count_distinct")])["logit_count_distinct"]
    return {
        "rows": rows.num_rows,
        "files": len(pc.unique(rows["path"])),
        "errors": rows.num_rows - rows["error"].null_count,
        "most logits of an image": pc.max(most).as_py(),
    }


def judge(folder: Path, number: int, part_size: int = PART) -> dict[str, Any]:
    """Judge so many files while a node and the command die, and return the figures."""
    make_links(folder / "links", number)
    export_run(write_run(folder / "run", gain=40.0), folder / "artifact")
    out, num_parts, peak = folder / "rows", -(-number // part_size), 0
    with small_cluster(nodes=3) as (cluster, _):
        began = time.monotonic()
        with command(folder, part_size) as process:
            wait_for(process, lambda: parts_of(out) > num_parts / 3)
            cluster.remove_node(max(cluster.worker_nodes, key=id), allow_graceful=False)
            at_node = parts_of(out)
            cluster.add_node(num_cpus=1, object_store_memory=STORE)
            wait_for(process, lambda: parts_of(out) > num_parts * 2 / 3)
            peak = peak_of_workers()
            assert process.poll() is None, (folder / "errors.txt").read_text()[-2000:]
            os.kill(process.pid, signal.SIGKILL)
            at_driver = parts_of(out)
        with command(folder, part_size) as process:
            wait_for(process, lambda: False)
            code = process.returncode
        seconds = time.monotonic() - began
    return {
        "images": number, "parts": num_parts, "node killed at part": at_node,
        "command killed at part": at_driver, "exit code": code, **count(folder),
        "seconds": round(seconds), "MB of the largest worker": peak // 10**6,
    }  # fmt: skip


def main() -> None:
    """Run it, print the figures, and fail where they are wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.cluster", description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--part-size", type=int, default=PART)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = judge(Path(folder), given.images, given.part_size)
    print(", ".join(f"{name}: {value}" for name, value in found.items()))
    right = found["rows"] == found["files"] == given.images and found["exit code"] == 0
    raise SystemExit(0 if right and found["most logits of an image"] == 1 else 1)


if __name__ == "__main__":
    main()
