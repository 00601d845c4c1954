"""Reading a set of shards, as `faceproof shard` writes it.

shard-000000.tar, ...     the images: plain tar files, which WebDataset's readers open too
samples.parquet           the image table, and where in the shards each image lies
file_statistics.parquet   size, hash, sharpness ... of every file, for the audit
unreadable.csv            the files that were left out, if any
shards.json               sizes and checksums of all the others; written last
"""

import functools
import hashlib
import logging
import os
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet

from faceproof.data.image_limits import MAX_BYTES
from faceproof.data.shards.local_copies import VARIABLE, max_bytes, open_copy, remove_copy
from faceproof.data.shards.paths import PLACE, Member, member_paths
from faceproof.data.shards.store import ObjectStore, ShardError, is_url
from faceproof.errors import FaceproofError
from faceproof.io.parse import parse
from faceproof.io.plain_files import MAX_JSON, json_values, read_with
from faceproof.io.stamps import digest_of

FORMAT = 2  # raised with every change to what is written
INDEX = "shards.json"
SAMPLES = "samples.parquet"
STATISTICS = "file_statistics.parquet"
UNREADABLE = "unreadable.csv"
AGAIN = "copy it again, or write the shards again"
MIXED = 8  # shards whose images are mixed in training
MAX_OPEN = 2 * MIXED  # shards that a process keeps open

Opened = TypeVar("Opened")

log = logging.getLogger(__name__)


class NoSuchImageError(ShardError):
    """A path of an image that is not in the set which it names."""

    def __init__(self, member: Member) -> None:
        super().__init__(
            f"{member.root}/{member.shard} holds no such image of {member.length:,} bytes at "
            f"{member.offset:,}: the path is of another set of shards, or made up"
        )


@dataclass(frozen=True)
class StoredFile:
    """A file of a set: its name, size and checksum, and in a shard the number of images."""

    name: str
    bytes: int
    sha256: str
    images: int = 0

    def __post_init__(self) -> None:
        # Both become part of a path on this machine, and an index may come from anybody.
        if not re.fullmatch("[0-9a-f]{64}", self.sha256) or self.name != Path(self.name).name:
            raise ValueError(f"{self.name!r} with checksum {self.sha256!r} is no file of a set")


@dataclass(frozen=True)
class SetIndex:
    """What shards.json says of a set: of data set `name` with so many images."""

    name: str
    task: str
    images: int
    unreadable: int  # files that were left out
    statistics_format: int  # the version of the file statistics
    tables: tuple[StoredFile, ...]  # the files beside the shards
    shards: tuple[StoredFile, ...]
    format: int = FORMAT


def _read_whole(file: Path) -> bytes:
    """Return the bytes of an index; a link to it is the user's own."""
    if not file.exists():
        raise FileNotFoundError(file)
    return read_with(file, lambda opened: opened.read(), MAX_JSON, follow=True)


class _OpenFile:
    """A file that is open as long as there is a reference to it."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


class ShardSet:
    """A set of shards in a folder, or at a URL such as s3://BUCKET/FOLDER.

    A missing, damaged or unreachable file, or a set of another version, is a `ShardError`.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self.store = ObjectStore(root) if is_url(root) else None
        self.index = self._read_index()
        self.files = {file.name: file for file in (*self.index.shards, *self.index.tables)}
        self._open_shard = functools.lru_cache(MAX_OPEN)(lambda name: self.open(name, _OpenFile))

    def _read_index(self) -> SetIndex:
        """Read shards.json, which is small and never cached."""
        missing = (
            f"{self.root} holds no shards: {INDEX} is not there, which `faceproof shard` writes "
            "last; name the folder or URL that it has written"
        )
        try:
            store, file = self.store, Path(self.root) / INDEX
            data = store.read(INDEX, missing, MAX_JSON) if store else _read_whole(file)
            plain = json_values(data, f"{self.root}/{INDEX}", AGAIN, escaped=False)
            if (found := plain["format"]) != FORMAT:
                raise ShardError(
                    f"the shards at {self.root} are of format {found}, and this version reads "
                    f"format {FORMAT}; write them again by faceproof shard"
                )
            index: SetIndex = parse(SetIndex, plain)
            return index
        except ShardError:
            raise
        except (FileNotFoundError, NotADirectoryError):
            raise ShardError(missing) from None
        except FaceproofError as error:
            raise ShardError(f"{self.root}/{INDEX} cannot be read: {error}") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ShardError(f"{self.root}/{INDEX} cannot be read: {error!r}") from error

    def check(self) -> None:
        """Refuse a folder whose files are missing or have another size than was written."""
        if self.store is None:  # else each is checked when it is fetched
            for name, file in self.files.items():
                self._check_size(Path(self.root) / name, file.bytes)
            return
        sizes = sorted((shard.bytes for shard in self.index.shards), reverse=True)
        if (needed := sum(sizes[:MAX_OPEN])) > max_bytes():
            log.warning(
                "%s = %.3g holds fewer than the %d shards (%.3g GB) that training needs at a "
                "time, so that some will be fetched again and again",
                VARIABLE, max_bytes() / 1e9, MAX_OPEN, needed / 1e9,
            )  # fmt: skip

    def _check_size(self, path: Path, num_bytes: int) -> None:
        try:
            found = path.stat().st_size
        except OSError as error:
            message = f"{path} is not there; bring it back, or write the shards again"
            raise ShardError(message) from error
        if found != num_bytes:
            raise ShardError(
                f"{path} is damaged: it has {found:,} bytes and was written with {num_bytes:,}; "
                "copy it again, or write the shards again"
            )

    def open(self, name: str, opened: Callable[[Path], Opened]) -> Opened:
        """Let `opened` open a file of the set on this machine; fetch it first if need be."""
        file = self.files.get(name)
        if file is None:
            raise ShardError(f"{self.root}/{name} is not among the files that {INDEX} lists")
        if self.store is not None:
            return open_copy(self.store, name, file.bytes, file.sha256, opened)
        path = Path(self.root) / name
        self._check_size(path, file.bytes)
        return opened(path)

    def read(self, member: Member) -> bytes:
        """Return the bytes of an image; see `read_member`."""
        file = self.files.get(member.shard)
        end = member.offset + member.length
        if file is None or end > file.bytes or member.length > MAX_BYTES:
            raise NoSuchImageError(member)

        def intact() -> bytes | None:
            file = self._open_shard(member.shard)  # a reference, so that it stays open meanwhile
            data = os.pread(file.number, member.length, member.offset)
            return data if len(data) == member.length and zlib.crc32(data) == member.crc else None

        if (found := intact()) is not None:
            return found
        if self.open(member.shard, digest_of) == file.sha256:  # so that the path is to blame
            raise NoSuchImageError(member)
        return self._intact(member.shard, intact, f"the {member.length:,} bytes from "
                            f"{member.offset:,} on are not those that were written")  # fmt: skip

    def _table(self, name: str) -> pa.Table:
        """Read a table of the set after comparing its bytes with its checksum."""

        def intact() -> bytes | None:
            data = self.open(name, Path.read_bytes)
            return data if hashlib.sha256(data).hexdigest() == self.files[name].sha256 else None

        data = self._intact(name, intact, "its checksum is not that of what was written")
        return pa.parquet.read_table(pa.BufferReader(data))

    def _intact(self, name: str, read: Callable[[], bytes | None], found: str) -> bytes:
        """Return what `read` returns, bytes of a file; it returns None where they are damaged.

        A damaged local copy of an object, as after a power cut, is fetched again once.
        """
        data = read()
        if data is None and self.store is not None:
            place = f"{self.root}/{name}"
            log.warning("the copy of %s on this machine is damaged; fetched again", place)
            remove_copy(name, self.files[name].sha256)
            self._open_shard.cache_clear()
            data = read()
        if data is None:
            raise ShardError(
                f"{self.root}/{name} is damaged: {found}; copy it again, or write the shards again"
            )
        return data

    @functools.cached_property
    def samples(self) -> pa.Table:
        """Return the columns of the image table, in the order of the shards."""
        written = self._table(SAMPLES)
        paths = member_paths(self.root, written)
        return written.drop_columns(list(PLACE)).set_column(0, "path", paths)

    def file_statistics(self, version: int) -> pa.Table | None:
        """Return the file statistics that were written with the images; None of other versions."""
        if self.index.statistics_format != version:
            return None
        return self._table(STATISTICS).append_column("path", self.samples["path"])


@functools.lru_cache(maxsize=8)
def shard_set(root: str) -> ShardSet:
    """Return a set of shards; a process reads its index once."""
    return ShardSet(root)


def read_member(member: Member) -> bytes:
    """Return the bytes of an image in a shard; see `ShardSet`.

    Raises:
        NoSuchImageError: the set holds no such image.
        ShardError: the set or the shard is missing, damaged or out of reach.
    """
    return shard_set(member.root).read(member)
