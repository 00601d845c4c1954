"""Indexing: so many files are listed and looked at once, and then never again."""

import io
import os
import random
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.measuring import in_turns, medians, ratio, read_images
from faceproof.audit.file_statistics import PART, gather_file_statistics, statistics_of_files
from faceproof.data.image_io import decode_image, read_file, read_image
from faceproof.data.listing import FolderData
from faceproof.io.processes import in_processes

SIDE = 96
CHANGED = 10
NUM_STARTED = 8  # parts, that every process has begun before the time is taken
DRAWN = 200  # different images; each is written many times, with a comment of its own


def measure_looking(data: str, number: int) -> dict[str, Any]:
    """Return how many images of a data set are looked at in a second, and only decoded.

    Each in turn by as many processes as there are cores. The images are read again and again.
    """
    images = read_images(data).paths
    names = list(islice(cycle(images), number))
    parts = [names[start : start + PART] for start in range(0, number, PART)]

    def rate(work: Callable[[list[str]], object]) -> float:
        list(in_processes(work, parts[:NUM_STARTED], "looks at files"))  # starts the processes
        began = time.perf_counter()
        list(in_processes(work, parts, "looks at files"))
        return number / (time.perf_counter() - began)

    looked, decoded = "looked at, files/s", "decoded alone"
    ways = {
        looked: lambda: rate(statistics_of_files),
        decoded: lambda: rate(decode_files),
    }
    found = in_turns(ways, rounds=3)
    _, height, width = read_image(images[0]).shape
    return {
        "pixels": f"{width}x{height}", "files": number, **medians(found),
        "ratio": ratio(found, looked, decoded),
    }  # fmt: skip


def decode_files(names: list[str]) -> int:
    """Read and decode some files, and no more."""
    return sum(decode_image(read_file(name)).size for name in names)


def measure_indexing(folder: Path, number: int) -> dict[str, Any]:
    """Return the seconds of listing files, of looking at them, again, and when a few changed."""
    write_images(folder / "images", number)
    began = time.perf_counter()
    words = {"real": "real", "fake": "fake"}
    data = FolderData("indexed", "deepfake", str(folder / "images"), "{label}/*/*", words).list()
    listed = time.perf_counter()
    memory, paths = folder / "file_statistics.parquet", data.table["path"]
    gather_file_statistics(paths, memory)
    once = time.perf_counter()
    gather_file_statistics(paths, memory)
    again = time.perf_counter()
    for path in paths.to_pylist()[:CHANGED]:
        os.utime(path)
    touched = time.perf_counter()
    gather_file_statistics(paths, memory)
    return {
        "files": len(paths),
        "list, s": listed - began,
        "look at all, s": once - listed,
        "files/s": len(paths) / (once - listed),
        "again, s": again - once,
        f"{CHANGED} changed, s": time.perf_counter() - touched,
    }


def write_images(folder: Path, number: int) -> None:
    """Write JPEG files of noise, half of each class, a thousand to a folder."""
    draw = random.Random(0)
    drawn = []
    for _ in range(DRAWN):
        buffer = io.BytesIO()
        Image.frombytes("RGB", (12, 12), draw.randbytes(432)).resize((SIDE, SIDE)).save(
            buffer, "jpeg"
        )
        drawn.append(buffer.getvalue())
    for place in range(number):
        file = folder / ("fake" if place % 2 else "real") / f"{place // 2000}" / f"{place}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        comment = str(place).encode()
        segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
        image = drawn[place % DRAWN]
        file.write_bytes(image[:2] + segment + image[2:])
