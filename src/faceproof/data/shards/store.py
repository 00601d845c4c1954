"""Object stores, and the bounded folder through which their shards pass.

litdata speaks to the store. A file is fetched beside its place, compared with its checksum, and
renamed: it is whole or not there. When there is no room those that were opened longest ago go;
whoever has one open reads on.
"""

import functools
import hashlib
import os
import re
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from faceproof.errors import FaceproofError
from faceproof.io.atomic import explain_disk_errors, to_disk
from faceproof.io.cache_folder import cache_folder

if TYPE_CHECKING:
    from litdata.streaming.fs_provider import S3FsProvider

VARIABLE = "FACEPROOF_SHARDS_GB"
PLACE = "FACEPROOF_SHARDS"  # a folder, in which ours is one; by default the cache folder
OURS = re.compile(r"[0-9a-f]{64}-")  # how the names of our files begin; nothing else is touched
DEFAULT_GB = 50.0
BLOCK = 2**20
ATTEMPTS = 4  # of every request, with growing pauses
TIMEOUT = 30  # seconds

Opened = TypeVar("Opened")


class ShardError(FaceproofError):
    """Shards that are missing, damaged, of another version or out of reach."""


def is_url(root: str) -> bool:
    """Say whether shards lie in an object store rather than in a folder.

    Raises:
        ShardError: it is an URL, and of no store that is known, or has no folder.
    """
    if "://" not in root:
        return False
    scheme, _, rest = root.partition("://")
    bucket, _, folder = rest.partition("/")
    if scheme != "s3" or not bucket or not folder.strip("/"):
        raise ShardError(
            f"{root!r} is no place for shards: name a folder, or s3://BUCKET/FOLDER; other "
            "S3-compatible stores are named by the environment variable AWS_ENDPOINT_URL"
        )
    return True


class ObjectStore:
    """A folder of an S3-compatible object store; credentials come from the environment."""

    def __init__(self, root: str) -> None:
        self.root = root

    @property
    def _provider(self) -> "S3FsProvider":
        return _provider(os.getpid())  # connections are not for a forked process

    def _ask(self, what: str, ask: Callable[[], Any]) -> Any:
        """Ask the store, and say what could not be done and why."""
        provider_errors = _errors()
        try:
            return ask()
        except provider_errors as error:
            reason = str(error) or type(error).__name__
            raise ShardError(
                f"{what}: {reason}; check the URL, the credentials and AWS_ENDPOINT_URL"
            ) from error

    def fetch(self, name: str, file: Path) -> None:
        """Write an object to a file.

        Raises:
            ShardError: it is not there, or the store does not answer.
            CannotWriteError: the disk is full or cannot be written to.
        """
        url = f"{self.root}/{name}"
        provider = self._provider

        def download() -> None:
            with explain_disk_errors(file):  # which is no trouble of the store
                provider.download_file(url, str(file))

        self._ask(f"{url} cannot be fetched", download)

    def read(self, name: str, missing: str) -> bytes:
        """Return a small object.

        Args:
            name: its name.
            missing: the message if it is not there.

        Raises:
            ShardError: it is not there, or the store does not answer.
        """
        url, provider = f"{self.root}/{name}", self._provider
        if not self._ask(f"{url} cannot be looked for", lambda: provider.exists(url)):
            raise ShardError(missing)
        with tempfile.TemporaryDirectory(prefix="faceproof-") as folder:
            file = Path(folder) / name
            self.fetch(name, file)
            return file.read_bytes()

    def put(self, file: Path) -> None:
        """Write a file as an object of its name.

        Raises:
            ShardError: the store does not take it.
        """
        url, provider = f"{self.root}/{file.name}", self._provider
        self._ask(f"{url} cannot be written", lambda: provider.upload_file(str(file), url))

    def is_empty(self) -> bool:
        """Say whether nothing lies in the folder.

        Raises:
            ShardError: the store does not answer.
        """
        provider = self._provider
        what = f"{self.root} cannot be looked at"
        return bool(self._ask(what, lambda: provider.is_empty(self.root)))


@functools.lru_cache(maxsize=1)
def _provider(process: int) -> "S3FsProvider":
    """Return litdata's way to the store, of this process."""
    require_litdata()
    from botocore.config import Config
    from litdata.streaming.fs_provider import S3FsProvider

    # litdata itself would try a thousand times, so that a store that is gone looks like a hang.
    retries = {"total_max_attempts": ATTEMPTS, "mode": "standard"}
    config = Config(retries=retries, connect_timeout=TIMEOUT, read_timeout=TIMEOUT)
    return S3FsProvider({"config": config})


def _errors() -> tuple[type[Exception], ...]:
    """Return what a store's client raises."""
    require_litdata()
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    return (Boto3Error, BotoCoreError, ClientError, OSError)


def require_litdata() -> None:
    """Refuse to go on without the extra.

    Raises:
        ShardError: it is not installed.
    """
    try:
        import litdata  # noqa: F401
    except ImportError as error:
        raise ShardError(
            f"shards are written and fetched by litdata, which is not there ({error}); "
            "pip install 'faceproof[shards]'"
        ) from error


def max_bytes() -> int:
    """Return what the shards of object stores may take on this machine.

    Raises:
        ShardError: the environment variable is no number above 0.
    """
    text = os.environ.get(VARIABLE) or str(DEFAULT_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not 0 < limit < float("inf"):
        raise ShardError(f"{VARIABLE} = {text!r} must be a number of gigabytes above 0")
    return int(limit * 1e9)


def fetched(
    store: ObjectStore, name: str, num_bytes: int, sha256: str, opened: Callable[[Path], Opened]
) -> Opened:
    """Return a file of an object store, opened where it lies on this machine.

    Args:
        store: where it is fetched from, if it is not here yet.
        name: its name there.
        num_bytes: its size.
        sha256: its checksum, by which it is kept, so that another of its name is never taken.
        opened: opens it, while nobody can remove it.

    Raises:
        ShardError: it cannot be fetched, is damaged, or there is no room for it.
        CannotWriteError: the disk is full or cannot be written to.
    """
    from filelock import FileLock  # torch brings it

    file = _copy(name, sha256)
    folder = file.parent
    try:
        found = opened(file)
    except FileNotFoundError:
        pass
    else:
        with suppress(OSError):  # another user's file, or a disk that can only be read
            os.utime(file)
        return found
    with explain_disk_errors(file):
        folder.mkdir(parents=True, exist_ok=True)
    # One file at a time on a machine, in parallel parts: so the limit holds at every moment.
    with explain_disk_errors(file), FileLock(folder / "lock"):
        if not file.is_file():
            _make_room(folder, num_bytes, f"{store.root}/{name}")
            partial = file.with_name(f"{file.name}.partial-{socket.gethostname()}-{os.getpid()}")
            try:
                store.fetch(name, partial)
                _check(partial, num_bytes, sha256, f"{store.root}/{name}")
                to_disk(partial)
                partial.replace(file)
            finally:
                partial.unlink(missing_ok=True)
        return opened(file)


def forget(name: str, sha256: str) -> None:
    """Remove the copy of a file, so that it is fetched again.

    Raises:
        CannotWriteError: the disk can only be read.
    """
    file = _copy(name, sha256)
    with explain_disk_errors(file):
        file.unlink(missing_ok=True)


def _copy(name: str, sha256: str) -> Path:
    """Return where a file of an object store is kept on this machine."""
    place = os.environ.get(PLACE)
    folder = Path(place) / "faceproof-shards" if place else cache_folder() / "shards"
    return folder / f"{sha256}-{name}"


def _make_room(folder: Path, needed: int, what: str) -> None:
    """Remove what was opened longest ago until there is room; nobody else does meanwhile."""
    limit = max_bytes()
    if needed > limit:
        raise ShardError(
            f"{what} has {needed / 1e9:.3g} GB and {VARIABLE} allows {limit / 1e9:.3g}; raise it, "
            "or write smaller shards"
        )
    ours = [file for file in folder.iterdir() if OURS.match(file.name)]
    for dead in ours:
        if ".partial-" in dead.name:  # of a process that was killed: we hold the lock
            dead.unlink(missing_ok=True)
    status = {file: file.stat() for file in ours if ".partial-" not in file.name}
    used = sum(one.st_size for one in status.values())
    for oldest in sorted(status, key=lambda file: status[file].st_mtime_ns):
        if used + needed <= limit:
            return
        used -= status[oldest].st_size
        oldest.unlink()


def _check(file: Path, num_bytes: int, sha256: str, what: str) -> None:
    """Compare a file that was fetched with what was written."""
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise ShardError(
            f"{what} is damaged: it has {file.stat().st_size:,} bytes, was written with "
            f"{num_bytes:,}, and its checksum is another; write the shards again"
        )
