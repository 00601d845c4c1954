"""The output of `faceproof predict --on ray`: a folder of Parquet parts that many processes write.

    part-00000012-DIGEST.parquet  the rows of a part
    _listing.arrow                the paths of all files; a record batch is a part
    _manifest.json                which detector, which settings, which files
    _origins/                     of each part its digest, and the stamps of the files it is of
    _attempts/                    the parts that were begun and not finished
    _lock

Programs that read a folder of Parquet files pass over what begins with `_`. A part is named by its
number and by a digest of the paths, the detector and the settings that it answers for: whoever
judges it writes the same rows under the same name, so that a part that is judged twice is there
once. Each part is an atomic write.
"""

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from faceproof.errors import FaceproofError
from faceproof.inference.objects import is_object, stamps_of
from faceproof.inference.output_parts import Row, printable, table_of
from faceproof.io.atomic import (
    atomic_file,
    explain_disk_errors,
    remove_partial_files,
    write_json,
)
from faceproof.io.folders import refuse_file
from faceproof.io.left_behind import is_left_behind
from faceproof.io.locks import Lock
from faceproof.io.stamps import digest_of, key_of

MANIFEST, LISTING, LOCK = "_manifest.json", "_listing.arrow", "_lock"
ATTEMPTS, ORIGINS = "_attempts", "_origins"
PARTS = "part-*.parquet"
OURS = (MANIFEST, LISTING, LOCK, f"{ATTEMPTS}/*", f"{ORIGINS}/*", PARTS, "*.partial-*")
MAX_ATTEMPTS = 3
PATHS = pa.schema([("path", pa.binary())])  # the system's bytes, which may be no text
BEGIN = "name another folder, or start from the beginning by --overwrite"


@dataclass(frozen=True)
class PartFolder:
    """The folder, as a worker sees it.

    Attributes:
        path: the folder.
        key: a digest of the detector, the settings and the listing.
    """

    path: Path
    key: str

    def check(self) -> None:
        """Refuse a place where the folder is not to be seen.

        Raises:
            FaceproofError: it is not there, or is another one.
        """
        manifest = _read_manifest(self.path)
        if manifest is None or manifest.get("key") != self.key:
            raise FaceproofError(
                f"{socket.gethostname()} does not see {self.path} as it was begun; all machines of "
                "the cluster must see the output, the images and the detector by the same paths"
            )

    def paths(self, number: int) -> list[str]:
        """Return the paths of a part."""
        with pa.memory_map(str(self.path / LISTING)) as file, pa.ipc.open_file(file) as listing:
            return [os.fsdecode(path) for path in listing.get_batch(number)["path"].to_pylist()]

    def place(self, number: int, paths: Sequence[str]) -> Path:
        """Return the file of a part."""
        digest = key_of([self.key, *map(os.fsencode, paths)])
        return self.path / f"part-{number:08d}-{digest}.parquet"

    def read(self, number: int, paths: Sequence[str]) -> pa.Table | None:
        """Return the rows of a part; None if it is not there, is damaged, or its files changed."""
        file = self.place(number, paths)
        try:
            origin = json.loads(self._origin(file).read_text("utf-8"))
            if origin["rows"] != digest_of(file):
                return None
            stamps = list(origin["stamps"])
            table = pyarrow.parquet.read_table(file)
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
            return None
        pairs = zip(paths, stamps_of(paths), stamps, strict=True)
        return table if all(_is_unchanged(*of_one) for of_one in pairs) else None

    def write(
        self, number: int, paths: Sequence[str], rows: Sequence[Row], stamps: Any, schema: pa.Schema
    ) -> None:
        """Write the rows of a part; before it, its digest and the stamps of the files it is of."""
        file = self.place(number, paths)
        with atomic_file(file) as partial:
            pyarrow.parquet.write_table(table_of(rows, schema), partial)
            write_json(self._origin(file), {"rows": digest_of(partial), "stamps": stamps})

    def _origin(self, file: Path) -> Path:
        return self.path / ORIGINS / f"{file.stem}.json"

    def begin(self, number: int, paths: Sequence[str]) -> Path:
        """Count one attempt at a part; remove the file that is returned when the part is written.

        Raises:
            FaceproofError: processes died of it too often.
        """
        file = self.path / ATTEMPTS / f"{number:08d}"
        with explain_disk_errors(file):
            file.parent.mkdir(exist_ok=True)
            with file.open("ab") as opened:
                opened.write(b".")
                size = opened.tell()
        if size > MAX_ATTEMPTS:
            raise FaceproofError(
                f"{printable(paths[0])} to {printable(paths[-1])}: {MAX_ATTEMPTS} worker processes "
                "died while they judged these files, as happens when memory runs out; leave the "
                "file out that is to blame, or give a worker more of a machine by --cpus-per-worker"
            )
        return file


def _is_unchanged(path: str, now: str | None, then: str | None) -> bool:
    """Say whether a file is as it was; a file that was not there still is not."""
    return now == then if then is not None or is_object(path) else not os.path.lexists(path)


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / MANIFEST).read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise FaceproofError(f"{folder / MANIFEST} cannot be read: {error}; {BEGIN}") from error
    return found if isinstance(found, dict) else {}


class PartOutput:
    """The folder, as the command that fills it sees it; one command at a time does.

    Args:
        path: the folder.
        about: what must be equal when a command continues it.
        paths: the files to judge, each once.
        part_size: how many of them are a part.
        overwrite: delete what is there, and start from the beginning.

    Raises:
        FaceproofError: the folder holds something else, is being filled by another command, or was
            begun with another detector, other settings or other files.
    """

    def __init__(
        self,
        path: Path,
        about: Mapping[str, Any],
        paths: Iterable[str],
        part_size: int,
        overwrite: bool = False,
    ) -> None:
        refuse_file(path)
        _refuse_foreign(path)
        self.path, self.num_files, self.num_parts = path, 0, 0
        with explain_disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        busy = f"another command is filling {path} ({{holder}}); wait for it"
        self._lock = Lock(path / LOCK, busy)
        self._lock.acquire()
        try:
            self._claim({**about, "part_size": part_size}, paths, part_size, overwrite)
        except BaseException:
            self.close()
            raise

    def _claim(
        self, about: Mapping[str, Any], paths: Iterable[str], part_size: int, overwrite: bool
    ) -> None:
        if overwrite:
            for file in self.path.iterdir():
                if file.name != LOCK:
                    shutil.rmtree(file) if file.is_dir() else file.unlink()
        settings = json.loads(json.dumps(about))
        earlier = _read_manifest(self.path)
        if earlier is None and (parts := self.parts()):
            raise FaceproofError(f"{parts[0]} is there, and nothing says what gave it; {BEGIN}")
        if earlier is not None and earlier.get("settings") != settings:
            raise FaceproofError(
                f"{self.path} was begun with another detector, other options or another version "
                f"of faceproof; {BEGIN}"
            )
        source = self._write_listing(paths, part_size, earlier)
        self.folder = PartFolder(self.path, key_of([json.dumps(settings, sort_keys=True), source]))
        shutil.rmtree(self.path / ATTEMPTS, ignore_errors=True)
        self._manifest = {
            "settings": settings, "files": self.num_files, "parts": self.num_parts,
            "source": source, "key": self.folder.key,
        }  # fmt: skip
        write_json(self.path / MANIFEST, {**self._manifest, "finished": False})

    def _write_listing(
        self, paths: Iterable[str], part_size: int, earlier: Mapping[str, Any] | None
    ) -> str:
        """Write the paths in parts, and return their digest."""
        digest = hashlib.sha256()
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with (
            atomic_file(self.path / LISTING) as partial,
            pa.OSFile(str(partial), "wb") as file,
            pa.ipc.new_file(file, PATHS, options=options) as listing,
        ):
            names = map(os.fsencode, paths)
            while part := list(islice(names, part_size)):
                listing.write_batch(pa.record_batch([pa.array(part, pa.binary())], schema=PATHS))
                for path in part:
                    digest.update(len(path).to_bytes(8, "big") + path)
                self.num_files += len(part)
                self.num_parts += 1
            source = digest.hexdigest()
            if earlier is not None and earlier.get("source") != source:
                raise FaceproofError(
                    f"{self.path} was begun with other files: {earlier.get('files')} then, "
                    f"{self.num_files} now; {BEGIN}"
                )
        return source

    def parts(self) -> list[Path]:
        """Return the finished parts in their order."""
        return sorted(self.path.glob(PARTS))

    def finish(self, counts: Mapping[str, Any]) -> None:
        """Note what was found, and remove what unfinished work has left.

        Raises:
            FaceproofError: there are more or fewer parts than there should be.
        """
        if (found := len(self.parts())) != self.num_parts:
            raise FaceproofError(
                f"{self.path} has {found:,} parts and should have {self.num_parts:,}: another "
                f"program has changed it; {BEGIN}"
            )
        remove_partial_files(self.path)
        remove_partial_files(self.path / ORIGINS)
        shutil.rmtree(self.path / ATTEMPTS, ignore_errors=True)
        write_json(self.path / MANIFEST, {**self._manifest, "finished": True, **counts})

    def close(self) -> None:
        """Release the folder; what is written stays."""
        self._lock.release()


def _refuse_foreign(folder: Path) -> None:
    """Refuse a folder with files that are not ours."""
    for file in _files_below(folder):
        if not any(fnmatchcase(file, pattern) for pattern in OURS) and not is_left_behind(file):
            raise FaceproofError(
                f"{folder} holds {file}, which faceproof predict --on ray has not written; give "
                "--out a new folder"
            )


def _files_below(folder: Path) -> Iterator[str]:
    for file in folder.rglob("*") if folder.is_dir() else ():
        if not file.is_dir():
            yield file.relative_to(folder).as_posix()
