"""Where `faceproof predict --on ray` writes its parts: a folder of a disk, or of an object store.

In either a file appears whole or not at all. A store has no locks: two commands that fill the same
folder write the same parts under the same names.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from faceproof.data.image_limits import MAX_BYTES
from faceproof.data.shards.store import ObjectStore, UnreadableObjectError
from faceproof.inference.objects import is_store_url, open_folder
from faceproof.io.atomic import atomic_file, explain_disk_errors, remove_partial_files
from faceproof.io.folders import refuse_file
from faceproof.io.locks import Lock

LOCK = "_lock"


class Place(Protocol):
    """A folder, whose files have names with slashes where they lie in folders of it."""

    def begin(self) -> None:
        """Make the folder, and keep other commands out, as far as that can be done."""

    def end(self) -> None:
        """Let other commands in."""

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""

    def read(self, name: str) -> bytes:
        """Return the bytes of a file; a `FileNotFoundError` is for one that is not there."""

    def opened(self, name: str) -> AbstractContextManager[pa.NativeFile]:
        """Open a large file, of which only some is read."""

    def writing(self, name: str) -> AbstractContextManager[Path]:
        """Yield a file of this machine that is there under its name when the block ends well."""

    def clear(self) -> None:
        """Remove all but the lock."""

    def tidy(self, folder: str = "") -> None:
        """Remove what was half written in the folder or one in it, and will not go on."""


def place_of(path: Path | str) -> Place:
    """Return the folder at a path, or at a URL of an object store."""
    text = str(path)
    return StorePlace(text) if is_store_url(text) else FolderPlace(Path(path))


class FolderPlace:
    """A folder of this machine, or of a disk that it shares; see `Place`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        busy = f"another command is filling {path} ({{holder}}); wait for it"
        self._lock = Lock(path / LOCK, busy)

    def begin(self) -> None:
        """Make the folder; refuse one that another command is filling."""
        refuse_file(self.path)
        with explain_disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()

    def end(self) -> None:
        """Release the lock."""
        self._lock.release()

    def names(self) -> list[str]:
        """Return the names of all files, sorted."""
        files = (file for file in self.path.rglob("*") if not file.is_dir())
        return sorted(file.relative_to(self.path).as_posix() for file in files)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        return (self.path / name).read_bytes()

    def opened(self, name: str) -> AbstractContextManager[pa.NativeFile]:
        """Open a file, which is read through the system's cache."""
        found: AbstractContextManager[pa.NativeFile] = pa.memory_map(str(self.path / name))
        return found

    def writing(self, name: str) -> AbstractContextManager[Path]:
        """Yield a file beside its place."""
        file = self.path / name
        with explain_disk_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
        return atomic_file(file)

    def clear(self) -> None:
        """Remove all but the lock."""
        for file in self.path.iterdir():
            if file.name != LOCK:
                shutil.rmtree(file) if file.is_dir() else file.unlink()

    def tidy(self, folder: str = "") -> None:
        """Remove partial files of dead processes."""
        remove_partial_files(self.path / folder)


class StorePlace:
    """A folder of an object store; see `Place`."""

    def __init__(self, url: str) -> None:
        self._store: ObjectStore = open_folder(url)

    def begin(self) -> None:
        """Do nothing: a folder of a store is there when an object in it is."""

    def end(self) -> None:
        """Do nothing: there is no lock."""

    def names(self) -> list[str]:
        """Return the names of all objects, sorted."""
        return self._store.names_below()

    def read(self, name: str) -> bytes:
        """Return the bytes of an object."""
        try:
            return self._store.read_with_stamp(name, MAX_BYTES)[0]
        except UnreadableObjectError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise error.__cause__ from error
            raise

    def opened(self, name: str) -> AbstractContextManager[pa.NativeFile]:
        """Open an object, of which only the ranges that are read are fetched."""
        return self._store.opened(name)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield a temporary file; it becomes an object, which a store shows when it is whole."""
        with tempfile.TemporaryDirectory(prefix="faceproof-part-") as folder:
            file = Path(folder) / "part"
            yield file
            self._store.put(file, name)

    def clear(self) -> None:
        """Remove all objects of the folder."""
        self._store.clear()

    def tidy(self, folder: str = "") -> None:
        """Do nothing: an upload that was not finished shows nothing."""
