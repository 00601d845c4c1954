"""Object stores (S3, Google Cloud Storage) that hold shards or images, through `pyarrow.fs`.

pyarrow is a dependency anyway and its wheels hold both clients. Credentials come from
where Amazon's and Google's tools look for them. Every request passes the gate of `fork_gate`.
"""

import functools
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pyarrow as pa

from faceproof.data.shards.fork_gate import gate
from faceproof.errors import FaceproofError
from faceproof.io.atomic import explain_disk_errors
from faceproof.io.stamps import key_of

if TYPE_CHECKING:
    from pyarrow import NativeFile
    from pyarrow.fs import FileInfo, FileSystem

S3_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # environment variables of Amazon's
GCS_ENDPOINT = "STORAGE_EMULATOR_HOST"  # environment variable of Google's tools
ATTEMPTS = 4  # of every request to S3, with growing pauses
TIMEOUT = 30  # seconds: to connect, to wait for an answer, and for all attempts of Google's client
PART = 8 * 2**20  # bytes that one request asks for
PARTS_AT_ONCE = 8
DENIED = "ACCESS_DENIED"  # what Amazon's client says of an object that the user may not read

Listed = tuple[list[str], list[str]]  # the folders in a folder, and the objects


class ShardError(FaceproofError):
    """Shards that are missing, damaged, of another version or out of reach."""


class UnreadableObjectError(ShardError):
    """An object that is not there, is too large, or may not be read; others may well be read.

    Attributes:
        reason: why, without the object's URL.
    """

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason or message


class TooLargeError(UnreadableObjectError):
    """An object that has more bytes than are read at this time."""


def is_url(root: str) -> bool:
    """Say whether shards lie in an object store rather than in a folder; refuse other URLs."""
    if "://" not in root:
        return False
    scheme, _, rest = root.partition("://")
    bucket, _, folder = rest.partition("/")
    if scheme not in ("s3", "gs") or not bucket or not folder.strip("/"):
        raise ShardError(
            f"{root!r} is no place for shards: name a folder, s3://BUCKET/FOLDER or "
            "gs://BUCKET/FOLDER; AWS_ENDPOINT_URL names another S3-compatible store"
        )
    return True


class ObjectStore:
    """A folder of an object store.

    Its methods raise a `ShardError` where the store refuses them or does not answer.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._scheme, _, self._folder = root.partition("://")

    @property
    def _files(self) -> "FileSystem":
        # A process that was forked makes its own connections.
        return _connect(self._scheme, self._folder.partition("/")[0], os.getpid())

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            said = str(error).strip() or type(error).__name__
            advice = "the credentials" + (" and AWS_ENDPOINT_URL" if self._scheme == "s3" else "")
            message = f"{what}: {said}; check the URL, {advice}"
            if isinstance(error, FileNotFoundError):
                raise UnreadableObjectError(message, "the object is not there") from error
            if isinstance(error, PermissionError) or DENIED in said:
                self._refuse_if_all_is_denied(message)
                raise UnreadableObjectError(message, "the object may not be read") from error
            raise ShardError(message) from error

    def _refuse_if_all_is_denied(self, message: str) -> None:
        """Refuse a store that denies the bucket too: the credentials are wrong or have expired."""
        bucket = self._folder.partition("/")[0]
        try:
            with gate.request():
                self._files.get_file_info(bucket)
        except (OSError, pa.ArrowException) as error:
            raise ShardError(
                f"{message}; {self._scheme}://{bucket} may not be looked at either, so that the "
                "credentials are wrong, have expired, or do not allow to list the bucket"
            ) from error

    def fetch(self, name: str, file: Path, limit: int | None = None) -> None:
        """Write an object, of `limit` bytes at most, to a file, several parts at a time."""
        with self._explained(f"{self.root}/{name} cannot be fetched"):
            with gate.request():
                source = self._files.open_input_file(f"{self._folder}/{name}")
                size = source.size()
            _refuse_large(size, limit)

            def copy(start: int) -> None:
                with gate.request():
                    data = source.read_at(PART, start)
                with explain_disk_errors(file), file.open("r+b") as out:
                    out.seek(start)
                    out.write(data)

            with explain_disk_errors(file):
                file.write_bytes(b"")
            with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
                list(pool.map(copy, range(0, size, PART)))
            with gate.request():
                source.close()

    def read(self, name: str, missing: str, limit: int) -> bytes:
        """Return an object of `limit` bytes at most.

        `missing` is the message of the error if it is not there.
        """
        with self._explained(f"{self.root}/{name} cannot be read"), gate.request():
            try:
                with self._files.open_input_file(f"{self._folder}/{name}") as source:
                    if (size := source.size()) > limit:
                        raise ShardError(
                            f"{self.root}/{name} has {size:,} bytes; at most {limit:,} are "
                            "sensible, so it is not read"
                        )
                    return bytes(source.read())
            except FileNotFoundError:
                raise ShardError(missing) from None

    def read_with_stamp(self, name: str, limit: int) -> tuple[bytes, str]:
        """Return an object of `limit` bytes at most, and what changes whenever it does."""
        with (
            self._explained(f"{self.root}/{name} cannot be read"),
            gate.request(),
            self._files.open_input_file(f"{self._folder}/{name}") as source,
        ):
            _refuse_large(source.size(), limit)
            return bytes(source.read()), _stamp(source)

    def stamp(self, name: str) -> str | None:
        """Return what changes whenever an object does; None where it is not there."""
        with self._explained(f"{self.root}/{name} cannot be looked at"), gate.request():
            try:
                with self._files.open_input_file(f"{self._folder}/{name}") as source:
                    return _stamp(source)
            except FileNotFoundError:
                return None

    def kind_of(self, name: str) -> str | None:
        """Return `object` or `folder`; None where there is neither."""
        from pyarrow.fs import FileType

        place = f"{self._folder}/{name}".rstrip("/")
        with self._explained(f"{self.root}/{name} cannot be looked at"), gate.request():
            found = self._files.get_file_info(place).type
        return {FileType.File: "object", FileType.Directory: "folder"}.get(found)

    def lister(self, folder: str) -> Callable[[str], Listed]:
        """Return what lists a folder and those in it, one at a time, by their names in the store.

        It returns the folders that lie in a folder, and the objects, each sorted.
        """
        if self._scheme == "s3":
            return self._names_in
        # Of Google's store pyarrow lists only those folders that are objects themselves.
        folders: defaultdict[str, set[str]] = defaultdict(set)
        objects: defaultdict[str, list[str]] = defaultdict(list)
        for name in self.names_below(folder):
            place, _, base = name.rpartition("/")
            objects[place].append(base)
            while place not in (folder, ""):
                place, _, base = place.rpartition("/")
                folders[place].add(base)
        return lambda place: (sorted(folders[place]), sorted(objects[place]))

    def _names_in(self, folder: str) -> Listed:
        from pyarrow.fs import FileType

        found = self._infos(folder, recursive=False)
        folders = sorted(one.base_name for one in found if one.type == FileType.Directory)
        return folders, sorted(one.base_name for one in found if one.type == FileType.File)

    def names_below(self, folder: str = "") -> list[str]:
        """Return the names of all objects in a folder and the folders in it, sorted."""
        from pyarrow.fs import FileType

        found = self._infos(folder, recursive=True)
        objects = [one.path for one in found if one.type == FileType.File]
        return sorted(path.removeprefix(f"{self._folder}/") for path in objects)

    def _infos(self, folder: str, recursive: bool) -> "list[FileInfo]":
        from pyarrow.fs import FileSelector

        place = f"{self._folder}/{folder}".rstrip("/")
        wanted = FileSelector(place, allow_not_found=True, recursive=recursive)
        with self._explained(f"{self.root}/{folder} cannot be listed"), gate.request():
            found: list[FileInfo] = self._files.get_file_info(wanted)
        return found

    @contextmanager
    def opened(self, name: str) -> "Iterator[NativeFile]":
        """Open an object, of which only the ranges that are read are fetched."""
        with (
            self._explained(f"{self.root}/{name} cannot be read"),
            gate.request(),
            self._files.open_input_file(f"{self._folder}/{name}") as source,
        ):
            yield source

    def clear(self) -> None:
        """Remove all objects in the folder, which need not be there."""
        with self._explained(f"{self.root} cannot be removed"), gate.request():
            self._files.delete_dir_contents(self._folder, missing_dir_ok=True)

    def put(self, file: Path, name: str | None = None) -> None:
        """Write a file as an object, of the same name if there is no other."""
        name = name or file.name
        with (
            self._explained(f"{self.root}/{name} cannot be written"),
            gate.request(),
            file.open("rb") as source,
            self._files.open_output_stream(f"{self._folder}/{name}") as out,
        ):
            shutil.copyfileobj(source, out, PART)

    def is_empty(self) -> bool:
        """Say whether the folder holds no objects, nor a folder in it does."""
        return not self._infos("", recursive=self._scheme != "s3")


def _refuse_large(size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise TooLargeError(f"it has {size:,} bytes; at most {limit:,} are read")


def _stamp(source: "NativeFile") -> str:
    """Return a digest of what a store says of an object: its size, its time, its version."""
    said = source.metadata()
    return key_of([str(source.size()), *(str(pair) for pair in sorted(said.items()))])


@functools.lru_cache(maxsize=4)
def _connect(scheme: str, bucket: str, process: int) -> "FileSystem":
    from pyarrow.fs import GcsFileSystem

    if scheme == "s3":
        return _connect_s3(bucket)
    if emulator := os.environ.get(GCS_ENDPOINT):
        address = urlsplit(emulator if "://" in emulator else f"http://{emulator}")
        return GcsFileSystem(
            anonymous=True, scheme=address.scheme, endpoint_override=address.netloc,
            retry_time_limit=timedelta(seconds=TIMEOUT),
        )  # fmt: skip
    return GcsFileSystem(retry_time_limit=timedelta(seconds=TIMEOUT))


def _connect_s3(bucket: str) -> "FileSystem":
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem, resolve_s3_region

    endpoint = next(filter(None, map(os.environ.get, S3_ENDPOINTS)), None)
    region = None
    if endpoint is None:
        with suppress(OSError):  # out of reach from here: what the environment says must do
            region = resolve_s3_region(bucket)  # which may be another than the user's own
    return S3FileSystem(
        region=region, endpoint_override=endpoint, connect_timeout=TIMEOUT, request_timeout=TIMEOUT,
        background_writes=False,  # else requests go on outside of `gate`
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS),
        proxy_options=_proxy(endpoint or "https://s3.amazonaws.com"),
        tls_ca_file_path=os.environ.get("AWS_CA_BUNDLE") or None,
    )  # fmt: skip


def _proxy(endpoint: str) -> str | None:
    """Return the proxy that the environment names for an endpoint; pyarrow does not look there."""
    from urllib.request import getproxies, proxy_bypass

    address = urlsplit(endpoint)
    if not address.hostname or proxy_bypass(address.hostname):
        return None
    return getproxies().get(address.scheme)
