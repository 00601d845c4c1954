"""Images that lie in shards: many files' bytes in one, in a folder or an object store.

A set of shards, as `faceproof shard` writes it:

    chunk-0-0.bin, ...   the shards, in litdata's format
    index.json           litdata's own index of them
    samples.parquet      the image table, and where in the shards each image lies
    facts.parquet        what is known of every file, taken from its bytes when they were written
    unreadable.csv       the files that were left out, if any
    shards.json          sizes and checksums of all the others; written last

An image in a shard has a path like any other, which says all that is needed to read it:
`ROOT/chunk-0-3.bin@OFFSET-LENGTH-CRC32/NAME`. So a table may hold files and members of shards, and
a run finds its images again by its own record.
"""

import functools
import hashlib
import json
import logging
import os
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from faceproof.data.shards.store import (
    VARIABLE,
    ObjectStore,
    ShardError,
    fetched,
    forget,
    is_url,
    max_bytes,
)

FORMAT = 1  # raised with every change to what is written
INDEX, SAMPLES, FACTS, UNREADABLE = (
    "shards.json",
    "samples.parquet",
    "facts.parquet",
    "unreadable.csv",
)
PLACE = ("shard", "offset", "length", "crc32")  # columns beside those of an image table
SHARD = r"^(?P<shard>.+?/[^/@]+\.bin)@"  # of a path, for RE2 too
MEMBER = re.compile(
    r"(?P<root>.+?)/(?P<shard>[^/@]+\.bin)@(?P<offset>\d+)-(?P<length>\d+)-(?P<crc>[0-9a-f]{8})/"
)
MIXED = 8  # shards whose images are mixed in training
MAX_OPEN = 2 * MIXED  # that a process keeps open

Opened = TypeVar("Opened")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Member:
    """Where an image lies: bytes of a shard, and their CRC-32."""

    root: str
    shard: str
    offset: int
    length: int
    crc: int

    def path(self, name: str) -> str:
        """Return it as a path of the image table."""
        place = f"{self.offset}-{self.length}-{self.crc:08x}"
        return f"{self.root}/{self.shard}@{place}/{name}"


def find_member(path: str) -> Member | None:
    """Return where in a shard an image lies, or None for a plain file."""
    if ".bin@" not in path or not (found := MEMBER.match(path)):
        return None
    root, shard, offset, length, crc = found.groups()
    return Member(root, shard, int(offset), int(length), int(crc, 16))


class _Open:
    """A file that is open as long as somebody reads it."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


class ShardSet:
    """A set of shards in a folder, or at an URL such as s3://BUCKET/FOLDER.

    Raises:
        ShardError: there is none, or it is of another version.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.store = ObjectStore(root) if is_url(root) else None
        self.index = self._read_index()
        self.files: dict[str, dict[str, Any]] = {
            entry["name"]: entry for entry in [*self.index["shards"], *self.index["tables"]]
        }
        self._opened = functools.lru_cache(MAX_OPEN)(lambda name: self.bring(name, _Open))

    def _read_index(self) -> dict[str, Any]:
        """Read shards.json, which is small and never kept."""
        missing = (
            f"{self.root} holds no shards: {INDEX} is not there, which `faceproof shard` writes "
            "last; set data.root to the folder or URL that it has written"
        )
        try:
            if self.store is not None:
                text = self.store.read(INDEX, missing)
            else:
                text = (Path(self.root) / INDEX).read_bytes()
            index: dict[str, Any] = json.loads(text)
            found = index["format"]
        except (FileNotFoundError, NotADirectoryError):
            raise ShardError(missing) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ShardError(f"{self.root}/{INDEX} cannot be read: {error!r}") from error
        if found != FORMAT:
            raise ShardError(
                f"the shards at {self.root} are of format {found}, and this version reads format "
                f"{FORMAT}; write them again by faceproof shard"
            )
        return index

    def check(self) -> None:
        """Refuse shards of a folder that are not there or not as long as they were written.

        Raises:
            ShardError: one is.
        """
        if self.store is not None:  # asked for one by one, when they are needed
            sizes = sorted((entry["bytes"] for entry in self.index["shards"]), reverse=True)
            if (needed := sum(sizes[: 2 * MIXED])) > max_bytes():
                log.warning(
                    "%s = %.3g holds fewer than the %d shards (%.3g GB) that training needs at a "
                    "time, so that some will be fetched again and again",
                    VARIABLE, max_bytes() / 1e9, 2 * MIXED, needed / 1e9,
                )  # fmt: skip
            return
        for name, entry in self.files.items():
            self._check_size(Path(self.root) / name, entry["bytes"])

    def _check_size(self, file: Path, num_bytes: int) -> None:
        try:
            found = file.stat().st_size
        except OSError as error:
            raise ShardError(
                f"{file} is not there; bring it back, or write the shards again"
            ) from error
        if found != num_bytes:
            raise ShardError(
                f"{file} is damaged: it has {found:,} bytes and was written with {num_bytes:,}; "
                "copy it again, or write the shards again"
            )

    def bring(self, name: str, opened: Callable[[Path], Opened]) -> Opened:
        """Return a file of the set, opened where it lies on this machine, fetched if need be.

        Raises:
            ShardError: it is missing or damaged.
        """
        entry = self.files.get(name)
        if entry is None:
            raise ShardError(f"{self.root}/{name} is not among the files that {INDEX} lists")
        if self.store is not None:
            return fetched(self.store, name, entry["bytes"], entry["sha256"], opened)
        file = Path(self.root) / name
        self._check_size(file, entry["bytes"])
        return opened(file)

    def read(self, member: Member) -> bytes:
        """Return the bytes of an image.

        Raises:
            ShardError: its shard is missing, damaged or cannot be fetched.
        """

        def whole() -> bytes | None:
            file = self._opened(member.shard)  # open while it is read, whatever is opened meanwhile
            data = os.pread(file.number, member.length, member.offset)
            return data if len(data) == member.length and zlib.crc32(data) == member.crc else None

        return self._sound(member.shard, whole, f"the {member.length:,} bytes from "
                           f"{member.offset:,} on are not those that were written")  # fmt: skip

    def _table(self, name: str) -> pa.Table:
        """Read a table of the set, whose bytes are first compared with its checksum."""

        def whole() -> bytes | None:
            data = self.bring(name, Path.read_bytes)
            same = hashlib.sha256(data).hexdigest() == self.files[name]["sha256"]
            return data if same else None

        data = self._sound(name, whole, "its checksum is not that of what was written")
        return pa.parquet.read_table(pa.BufferReader(data))

    def _sound(self, name: str, whole: Callable[[], bytes | None], found: str) -> bytes:
        """Return bytes of a file that are those that were written.

        A copy of an object store's file that is not, as after a power cut, is fetched again once.
        """
        data = whole()
        if data is None and self.store is not None:
            log.warning("the copy of %s/%s on this machine is damaged; fetched again", self.root,
                        name)  # fmt: skip
            forget(name, self.files[name]["sha256"])
            self._opened.cache_clear()
            data = whole()
        if data is None:
            raise ShardError(
                f"{self.root}/{name} is damaged: {found}; copy it again, or write the shards again"
            )
        return data

    @functools.cached_property
    def samples(self) -> pa.Table:
        """Return the columns of the image table, in the order of the shards."""
        written = self._table(SAMPLES)
        paths = _paths(self.root, written)
        return written.drop_columns(list(PLACE)).set_column(0, "path", paths)

    def stats(self, version: int) -> pa.Table | None:
        """Return what was known of every file when it was written, or None of another version."""
        if self.index["facts_format"] != version:
            return None
        return self._table(FACTS).append_column("path", self.samples["path"])


def _paths(root: str, written: pa.Table) -> pa.ChunkedArray:
    """Return what `Member.path` says, of all rows at once and without a Python object for each."""
    shard, offset, length, crc = (written[name] for name in PLACE)
    numbers = crc.combine_chunks().to_numpy().astype(">u4").view(np.uint8)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    hexadecimal = digits[np.stack([numbers >> 4, numbers & 15], axis=1)]  # (4 N, 2)
    ends = pa.py_buffer(np.arange(0, 8 * len(crc) + 1, 8, dtype=np.int64))
    spelt = pa.Array.from_buffers(
        pa.large_string(), len(crc), [None, ends, pa.py_buffer(hexadecimal)]
    ).cast(pa.string())
    return pc.binary_join_element_wise(
        f"{root}/", shard, "@", offset.cast(pa.string()), "-", length.cast(pa.string()), "-",
        pa.chunked_array([spelt]), "/", written["path"], "",
    )  # fmt: skip


@functools.lru_cache(maxsize=8)
def shard_set(root: str) -> ShardSet:
    """Return a set of shards, whose index a process reads once."""
    return ShardSet(root)


def read_member(member: Member) -> bytes:
    """Return the bytes of an image in a shard.

    Raises:
        ShardError: its shard is missing, damaged or cannot be fetched.
    """
    return shard_set(member.root).read(member)


def roots_of(paths: pa.ChunkedArray) -> list[str]:
    """Return the sets of shards that some of the paths lie in."""
    if not pc.any(pc.match_substring(paths, ".bin@")).as_py():
        return []
    shards = pc.struct_field(pc.extract_regex(paths, SHARD), "shard").unique().to_pylist()
    return sorted({shard.rpartition("/")[0] for shard in shards if shard is not None})
