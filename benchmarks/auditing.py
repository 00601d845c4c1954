"""The audit of many images whose files are known: duplicates, shortcuts and the page."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.measuring import apart, peak_memory
from faceproof.audit.audit import cached_audit
from faceproof.audit.duplicates import NUM_BANDS
from faceproof.audit.file_statistics import SCHEMA
from faceproof.data.image_statistics import NUM_RINGS
from faceproof.data.listing import TableData
from faceproof.reports.audit_page import write_audit

COPIES = 1000  # of images at most, each with 5 of its 256 bits changed; they are to be found


def measure_auditing(folder: Path, sizes: list[int]) -> list[dict[str, Any]]:
    """Return a row a size: seconds of each step, and the peak of the memory."""
    rows = []
    for size in sizes:
        file = str(folder / f"{size}.parquet")
        apart("benchmarks.scale:write_made", size, file)
        cache = {"FACEPROOF_CACHE": str(folder / "cache")}
        told = apart("benchmarks.auditing:audited", file, settings=cache)
        rows.append({"images": size, **told})
    return rows


def audited(file: str) -> dict[str, Any]:
    """Return what the audit of a table takes whose files need not exist."""
    data = TableData("scale", "deepfake", file).list()
    stats = made_statistics(data.table["path"])
    before, began = peak_memory(), time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        found = cached_audit(data, stats)
        page = time.perf_counter()
        write_audit(found, Path(place))
        ended = time.perf_counter()
    pairs = {finding.kind: finding.count for finding in found.findings}
    return {
        "audit, s": page - began,
        "page, s": ended - page,
        "near-duplicates found": sum(n for kind, n in pairs.items() if "near-duplicates" in kind),
        "peak before, MB": before,
        "peak, MB": peak_memory(),
    }


def made_statistics(paths: pa.ChunkedArray) -> pa.Table:
    """Make statistics of files that need not exist; the last ones look like the first."""
    size, draw = len(paths), np.random.default_rng(0)
    hashes = draw.integers(0, 2**16, (size, NUM_BANDS), dtype=np.uint16)
    copies = min(COPIES, size // 2)
    hashes[-copies:] = hashes[:copies]
    hashes[-copies:, :5] ^= 1
    numbers = np.arange(size)
    columns = {
        "path": paths,
        "stamp": pa.array(numbers.astype(str)),
        "size": draw.integers(5_000, 50_000, size),
        "reason": pa.nulls(size, pa.string()),
        "content": _fixed(draw.bytes(16 * size), 16),
        "look": _fixed(hashes.tobytes(), 32),
        "format": pa.array(np.full(size, "JPEG")),
        "suffix": pa.array(np.full(size, ".jpg")),
        "mode": pa.array(np.full(size, "RGB")),
        "width": np.full(size, 256),
        "height": np.full(size, 256),
        "jpeg_tables": pa.array(draw.choice(["75", "90", "95"], size)),
        "metadata": pa.array(np.full(size, "")),
        "colour": _lists(draw.random((size, 6))),
        "sharpness": draw.random(size),
        "spectrum": _lists(draw.random((size, NUM_RINGS))),
        "border": _lists(draw.random((size, 12))),
    }  # fmt: skip
    return pa.table(columns).cast(SCHEMA)


def _fixed(data: bytes, width: int) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), len(data) // width, [None, pa.py_buffer(data)]
    )


def _lists(values: np.ndarray) -> pa.Array:
    flat = pa.array(values.astype(np.float32).ravel())
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
