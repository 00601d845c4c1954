"""Indexing: so many real files are listed and looked at once, and then never again."""

import io
import os
import random
import time
from pathlib import Path
from typing import Any

from PIL import Image

from faceproof.audit.file_statistics import gather_file_statistics
from faceproof.data.listing import FolderData

SIDE = 96
CHANGED = 10
DRAWN = 200  # different images; each is written many times, with a comment of its own


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
