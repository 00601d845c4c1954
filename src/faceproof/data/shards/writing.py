"""Writing images into shards: tar files with the same bytes whenever the images are the same."""

import hashlib
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from faceproof.data.kinds import FORMATS
from faceproof.data.shards import reading
from faceproof.data.shards.paths import MEMBER, PLACE
from faceproof.data.shards.reading import INDEX, SetIndex, StoredFile
from faceproof.data.shards.store import ObjectStore, is_url
from faceproof.data.table import SPLITS
from faceproof.errors import FaceproofError
from faceproof.io.atomic import atomic_folder, explain_disk_errors, write_json
from faceproof.io.left_behind import holds_nothing

BLOCK = tarfile.BLOCKSIZE
SUFFIXES = frozenset(suffix[1:] for suffixes in FORMATS.values() for suffix in suffixes)
NUM_PARTS = 3  # parts of a path that its name always holds; corruptions are drawn by them
PER_IMAGE = 4  # bytes that count beside each image; another number would change epochs' orders


@dataclass(frozen=True)
class About:
    """The data set's name, its task's name, and the version of its file statistics."""

    name: str
    task: str
    statistics_format: int


@dataclass
class ShardWriter:
    """Writes a set of shards, image by image."""

    folder: Path  # where files are written
    store: ObjectStore | None  # where finished shards go and are removed here; None to leave them
    max_bytes: int  # of a shard without tar's own bytes; a larger image has its own shard
    _shards: list[StoredFile] = field(default_factory=list)
    _places: dict[str, list[str | int]] = field(default_factory=lambda: {n: [] for n in PLACE})
    _members: list[bytes] = field(default_factory=list)  # of the shard that is not full yet
    _size: int = 0  # of these
    _counted: int = 0  # of `max_bytes`

    def add(self, name: str, image: bytes) -> None:
        """Append an image, the bytes of a file; `name` is its path in the image table."""
        if self._members and self._counted + len(image) + PER_IMAGE > self.max_bytes:
            self._finish_shard()
        header = _header(name, len(self._places["shard"]), len(image))
        offset = self._size + len(header)
        place: list[str | int] = [self._shard_name(), offset, len(image), zlib.crc32(image)]
        for column, value in zip(self._places.values(), place, strict=True):
            column.append(value)
        member = header + image + bytes(-len(image) % BLOCK)
        self._members.append(member)
        self._size += len(member)
        self._counted += len(image) + PER_IMAGE

    def finish(
        self, rows: pa.Table, names: list[str], statistics: pa.Table, unreadable: pa.Table,
        about: About,
    ) -> SetIndex:  # fmt: skip
        """Write the last shard, the tables and the index, which makes the set complete.

        `rows`, the image table, and their `statistics` are in the order in which the images were
        added; `names` are what its paths become, and `unreadable` (path, reason) is left out.
        """
        if self._members:
            self._finish_shard()
        places = pa.table(self._places)
        samples = rows.set_column(0, "path", pa.array(names, pa.string()))
        for column in PLACE:
            samples = samples.append_column(column, places[column])
        pa.parquet.write_table(samples, self.folder / reading.SAMPLES)
        stored = statistics.drop_columns(["path", "size", "stamp"])
        stored = stored.append_column("size", places["length"])
        # Which earlier versions look for.
        stored = stored.append_column("mtime_ns", pa.array(np.zeros(rows.num_rows, np.int64)))
        pa.parquet.write_table(stored, self.folder / reading.STATISTICS)
        if unreadable.num_rows:
            pa.csv.write_csv(unreadable, self.folder / reading.UNREADABLE)
        shards = {shard.name for shard in self._shards}
        others = [file for file in sorted(self.folder.iterdir()) if file.name not in shards]
        tables = tuple(_stored(file) for file in others)
        index = SetIndex(
            about.name, about.task, rows.num_rows, unreadable.num_rows, about.statistics_format,
            tables, tuple(self._shards),
        )  # fmt: skip
        write_json(self.folder / INDEX, asdict(index))
        if self.store is not None:
            for name in (*(table.name for table in tables), INDEX):
                self.store.put(self.folder / name)
        return index

    def _shard_name(self) -> str:
        return f"shard-{len(self._shards):06d}.tar"

    def _finish_shard(self) -> None:
        """Write the shard, and send it off: the whole set need not fit this disk."""
        file, digest, end = self.folder / self._shard_name(), hashlib.sha256(), bytes(2 * BLOCK)
        with file.open("wb") as out:
            for part in (*self._members, end):
                out.write(part)
                digest.update(part)
        num_bytes, num_images = self._size + len(end), len(self._members)
        self._shards.append(StoredFile(file.name, num_bytes, digest.hexdigest(), num_images))
        self._members, self._size, self._counted = [], 0, 0
        if self.store is not None:
            self.store.put(file)
            file.unlink()


def _stored(file: Path) -> StoredFile:
    content = file.read_bytes()
    return StoredFile(file.name, len(content), hashlib.sha256(content).hexdigest())


def _header(name: str, number: int, length: int) -> bytes:
    """Return the tar header of an image; every field that could differ between machines is 0.

    A WebDataset reader takes what stands before the first dot for the key of a sample, so the
    image's number replaces its file name.
    """
    suffix = PurePosixPath(name).suffix.lower().lstrip(".")
    ending = suffix if suffix in SUFFIXES else "img"
    member = PurePosixPath(name).with_name(f"{number:08d}.{ending}")
    info = tarfile.TarInfo(member.as_posix().lstrip("/"))
    info.size = length
    return info.tobuf(tarfile.PAX_FORMAT)


@contextmanager
def open_writer(target: str, max_bytes: int) -> Iterator[ShardWriter]:
    """Yield a writer of shards to a new or empty folder, which appears whole, or to such a URL."""
    if is_url(target):
        store = ObjectStore(target.rstrip("/"))
        if not store.is_empty():
            raise FaceproofError(
                f"{target} holds something already; name another place, or remove it first (an "
                f"interrupted writing leaves shards there without {INDEX})"
            )
        beside = Path(tempfile.gettempdir()) / "faceproof-shards"
        prefix = f"{beside.name}-"
        with explain_disk_errors(beside), tempfile.TemporaryDirectory(prefix=prefix) as name:
            yield ShardWriter(Path(name), store, max_bytes)
        return
    place = Path(os.path.abspath(Path(target).expanduser()))
    if place.is_file() or (place.is_dir() and not holds_nothing(place)):
        raise FaceproofError(f"{place} holds something already; name another place for the shards")
    try:
        with atomic_folder(place) as folder:
            yield ShardWriter(folder, None, max_bytes)
    except OSError as error:
        raise FaceproofError(f"shards cannot be written to {place}: {error}") from error


def writing_order(splits: pa.ChunkedArray) -> pa.Array:
    """Return the order in which rows are written: split by split, mixed by a fixed draw.

    So a few shards hold a mixture of a split, and the same images give the same shards.
    """
    codes = np.asarray(pc.index_in(splits.cast(pa.string()), pa.array(SPLITS)).to_numpy())
    mixed = np.random.default_rng(0).permutation(len(splits))
    return pa.array(mixed[np.argsort(codes[mixed], kind="stable")])


def relative_names(paths: list[str]) -> list[str]:
    """Return paths without the folders that all have in common, which belong to this machine."""
    parts = [PurePosixPath(MEMBER.sub("", path)).parts for path in paths]
    first, last = min(parts), max(parts)
    common = next((n for n, pair in enumerate(zip(first, last, strict=False)) if len({*pair}) > 1),
                  min(len(first), len(last)))  # fmt: skip
    return ["/".join(one[min(common, max(len(one) - NUM_PARTS, 1)) :]) for one in parts]
