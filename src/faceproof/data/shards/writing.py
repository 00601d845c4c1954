"""Writing a data set's images as shards, their bytes unchanged."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from rich.progress import track

from faceproof.audit import file_statistics
from faceproof.audit.readable import readable_rows
from faceproof.data.image_io import UnreadableImageError, read_file
from faceproof.data.listing import DataSet
from faceproof.data.shards.reading import FACTS, FORMAT, INDEX, MEMBER, SAMPLES, UNREADABLE
from faceproof.data.shards.store import ObjectStore, ShardError, is_url, require_litdata
from faceproof.data.table import SPLITS
from faceproof.errors import FaceproofError
from faceproof.io.atomic import explain_disk_errors

MAX_MEGABYTES = 4000  # litdata counts the bytes of a shard in 32 bits
AT_ONCE = 256  # files that are read at a time
NAMED = 3  # parts of a path that its name keeps at least; conditions are drawn by them


@dataclass
class Written:
    """What was written.

    Attributes:
        root: where.
        images: how many.
        unreadable: a table (path, reason) of those left out.
        shards: name, bytes, sha256 and images of each.
    """

    root: str
    images: int = 0
    unreadable: pa.Table = field(default_factory=lambda: pa.table({"path": [], "reason": []}))
    shards: list[dict[str, Any]] = field(default_factory=list)


def write_shards(data: DataSet, target: str, megabytes: float = 64) -> Written:
    """Write the images of a data set as shards.

    They lie split by split, and within a split in an order of their own, so that a few shards hold
    a mixture of all. The same images give the same shards.

    Args:
        data: the data set.
        target: a folder that is not there or empty, or s3://BUCKET/FOLDER without objects.
        megabytes: the size of a shard.

    Raises:
        FaceproofError: the target is in use or out of reach, too many files are unreadable, or one
            changed meanwhile.
    """
    if not (isinstance(megabytes, int | float) and 0 < megabytes <= MAX_MEGABYTES):
        raise FaceproofError(
            f"--megabytes {megabytes!r}: a shard has more than 0 and at most {MAX_MEGABYTES}"
        )
    require_litdata()
    with _destination(target) as (folder, store):
        stats = file_statistics.file_statistics_of(data.table)
        rows, unreadable = readable_rows(data, None, stats)
        order = pa.array(_order(rows))
        rows, known = rows.take(order), stats.filter(pc.is_null(stats["reason"])).take(order)
        written = Written(str(target), rows.num_rows, unreadable)
        places = _write_images(rows, known, folder, store, int(megabytes * 1e6), written.shards)
        names = pa.array(_names(rows["path"].to_pylist()), pa.string())
        samples = rows.set_column(0, "path", names)
        for column in places.column_names:
            samples = samples.append_column(column, places[column])
        pa.parquet.write_table(samples, folder / SAMPLES)
        kept = known.drop_columns(["path", "size", "mtime_ns"])
        kept = kept.append_column("size", places["length"])
        kept = kept.append_column("mtime_ns", pa.array(np.zeros(rows.num_rows, np.int64)))
        pa.parquet.write_table(kept, folder / FACTS)
        if unreadable.num_rows:
            pa.csv.write_csv(unreadable, folder / UNREADABLE)
        _write_index(folder, data, written)
    return written


def _order(rows: pa.Table) -> np.ndarray:
    """Return the rows split by split, each in an order that depends on nothing else."""
    splits = np.asarray(pc.index_in(rows["split"].cast(pa.string()), pa.array(SPLITS)).to_numpy())
    mixed = np.random.default_rng(0).permutation(rows.num_rows)
    return mixed[np.argsort(splits[mixed], kind="stable")]


def _names(paths: list[str]) -> list[str]:
    """Return paths without the folders that all have in common, which are this machine's."""
    parts = [PurePosixPath(MEMBER.sub("", path)).parts for path in paths]
    first, last = min(parts), max(parts)
    common = next((n for n, pair in enumerate(zip(first, last, strict=False)) if len({*pair}) > 1),
                  min(len(first), len(last)))  # fmt: skip
    return ["/".join(one[min(common, max(len(one) - NAMED, 1)) :]) for one in parts]


@contextmanager
def _destination(target: str) -> Iterator[tuple[Path, ObjectStore | None]]:
    """Yield a folder to write to, and the store that its files then go to, the index last.

    A folder is written beside and renamed, so it is whole or not there.
    """
    if is_url(target):
        store = ObjectStore(target.rstrip("/"))
        if not store.is_empty():
            raise FaceproofError(
                f"{target} holds something already; name another place, or remove it first (an "
                f"interrupted writing leaves shards there without {INDEX})"
            )
        beside = Path(tempfile.gettempdir()) / "faceproof-shards"
        with (
            explain_disk_errors(beside),
            tempfile.TemporaryDirectory(prefix=f"{beside.name}-") as name,
        ):
            folder = Path(name)
            yield folder, store
            for file in sorted(folder.iterdir(), key=lambda file: (file.name == INDEX, file.name)):
                store.put(file)
        return
    place = Path(os.path.abspath(Path(target).expanduser()))
    if place.is_file() or (place.is_dir() and any(place.iterdir())):
        raise FaceproofError(f"{place} holds something already; name another place for the shards")
    beside = place.with_name(f"{place.name}.partial-{os.getpid()}")
    try:
        beside.mkdir(parents=True)
        yield beside, None
        beside.replace(place)
    except OSError as error:
        raise FaceproofError(f"shards cannot be written to {place}: {error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _write_images(
    rows: pa.Table,
    known: pa.Table,
    folder: Path,
    store: ObjectStore | None,
    num_bytes: int,
    shards: list[dict[str, Any]],
) -> pa.Table:
    """Write the shards, and return where each image lies: shard, offset, length and CRC-32.

    A shard that has gone to its store is removed here: the whole need not fit this disk.
    """
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_bytes=num_bytes)
    places: list[dict[str, Any]] = []
    waiting: list[tuple[int, int]] = []  # length and checksum of what is in no shard yet

    def finish(file: Path) -> None:
        placed, entry = _placed(file, waiting)
        del waiting[: len(placed)]
        places.extend(placed)
        shards.append(entry)
        if store is not None:
            store.put(file)
            file.unlink()

    with warnings.catch_warnings():
        # An image larger than a shard is a shard of its own.
        warnings.filterwarnings("ignore", "An item was larger than the target chunk size")
        for row, data in enumerate(_contents(rows, known)):
            waiting.append((len(data), zlib.crc32(data)))
            if (file := writer.add_item(row, data)) is not None:
                finish(Path(file))
        for file in writer.done():
            finish(Path(file))
    writer.merge()
    return pa.Table.from_pylist(places)


def _contents(rows: pa.Table, known: pa.Table) -> Iterator[bytes]:
    """Yield the bytes of every image, which are those that its facts were taken from."""
    paths, digests = rows["path"].to_pylist(), known["content"].to_pylist()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        starts = range(0, len(paths), AT_ONCE)
        for start in track(starts, "writing shards", disable=not sys.stdout.isatty()):
            some = slice(start, start + AT_ONCE)
            found = pool.map(_read, paths[some])
            for path, digest, data in zip(paths[some], digests[some], found, strict=True):
                if hashlib.blake2b(data, digest_size=16).digest() != digest:
                    raise FaceproofError(f"{path} changed while it was written; begin again")
                yield data


def _read(path: str) -> bytes:
    try:
        return read_file(path)
    except UnreadableImageError as error:
        raise FaceproofError(f"{path} could be read a moment ago: {error}; begin again") from error


def _placed(
    file: Path, waiting: list[tuple[int, int]]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return where the images of a shard lie, and what its entry in the index says.

    litdata's shard begins with the number of its items and where each begins and ends, in 32 bits;
    an item ends with the bytes that were given. That they are there is seen, not believed.
    """
    data = file.read_bytes()
    number = int(np.frombuffer(data, "<u4", 1)[0])
    ends = np.frombuffer(data, "<u4", number + 1, 4).tolist()[1:]
    placed = []
    for end, (length, crc) in zip(ends, waiting, strict=False):
        if zlib.crc32(memoryview(data)[end - length : end]) != crc:
            raise ShardError(f"litdata {version('litdata')} writes shards in a way not known here")
        placed.append({"shard": file.name, "offset": end - length, "length": length, "crc32": crc})
    sha256 = hashlib.sha256(data).hexdigest()
    entry = {"name": file.name, "bytes": len(data), "sha256": sha256, "images": number}
    return placed, entry


def _write_index(folder: Path, data: DataSet, written: Written) -> None:
    """Write the index, which makes the set whole."""
    known = {entry["name"] for entry in written.shards}
    tables = []
    for file in sorted(file for file in folder.iterdir() if file.name not in known):
        content = file.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        tables.append({"name": file.name, "bytes": len(content), "sha256": digest})
    index = {
        "format": FORMAT,
        "name": data.name,
        "task": data.task.name,
        "images": written.images,
        "unreadable": written.unreadable.num_rows,
        "facts_format": file_statistics.FORMAT,
        "tables": tables,
        "shards": written.shards,
    }
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")
