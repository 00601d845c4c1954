"""The output of `faceproof predict --on ray`: a folder of Parquet parts that many processes write.

    part-00000012-DIGEST.parquet  the rows of a part
    _listing.arrow                the paths of all files; a record batch is a part
    _manifest.json                which detector, which settings, which files
    _origins/                     of each part its digest, and the stamps of the files it is of
    _lock

Programs that read a folder of Parquet files pass over what begins with `_`. A part is named by its
number and by a digest of the paths, the detector and the settings that it answers for: whoever
judges it writes the same rows under the same name, so that a part that is judged twice is there
once. Each part is an atomic write. `part_places` knows where the folder lies.
"""

import hashlib
import json
import os
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet

from faceproof.errors import FaceproofError
from faceproof.inference.objects import is_plain_file, stamps_of
from faceproof.inference.output_parts import Row, table_of
from faceproof.inference.part_places import LOCK, Place, place_of
from faceproof.io.atomic import PARTIAL
from faceproof.io.left_behind import is_left_behind
from faceproof.io.stamps import digest_of, key_of

MANIFEST, LISTING = "_manifest.json", "_listing.arrow"
ORIGINS = "_origins"
PART = re.compile(r"part-\d{8,}-[0-9a-f]{32}\.parquet")
OURS = re.compile(
    rf"({MANIFEST}|{LISTING}|{PART.pattern})({re.escape(PARTIAL)}[^/]+)?|{LOCK}|{ORIGINS}/.+"
)
PATHS = pa.schema([("path", pa.binary())])  # the system's bytes, which may be no text
BEGIN = "name another folder, or start from the beginning by --overwrite"
DELETE = "name another folder, or delete this one yourself"


@dataclass(frozen=True)
class PartFolder:
    """The folder, as a worker sees it.

    Attributes:
        path: the folder, or its URL in an object store.
        key: a digest of the detector, the settings and the listing.
    """

    path: Path | str
    key: str

    @property
    def files(self) -> Place:
        """The files of the folder."""
        return place_of(self.path)

    def check(self) -> None:
        """Refuse a place where the folder is not to be seen.

        Raises:
            FaceproofError: it is not there, or is another one.
        """
        manifest = _read_manifest(self.files, self.path)
        if manifest is None or manifest.get("key") != self.key:
            raise FaceproofError(
                f"{socket.gethostname()} does not see {self.path} as it was begun; all machines of "
                "the cluster must see the output, the images and the detector by the same paths"
            )

    def paths(self, number: int) -> list[str]:
        """Return the paths of a part."""
        with self.files.opened(LISTING) as file, pa.ipc.open_file(file) as listing:
            return [os.fsdecode(path) for path in listing.get_batch(number)["path"].to_pylist()]

    def name_of(self, number: int, paths: Sequence[str]) -> str:
        """Return the name of a part."""
        digest = key_of([self.key, *map(os.fsencode, paths)])
        return f"part-{number:08d}-{digest}"

    def read(self, number: int, paths: Sequence[str]) -> pa.Table | None:
        """Return the rows of a part; None if it is not there, is damaged, or its files changed."""
        name = self.name_of(number, paths)
        try:
            origin = json.loads(self.files.read(f"{ORIGINS}/{name}.json"))
            data = self.files.read(f"{name}.parquet")
            if origin["rows"] != hashlib.sha256(data).hexdigest():
                return None
            stamps = list(origin["stamps"])
            table = pyarrow.parquet.read_table(pa.BufferReader(data))
        except FaceproofError:  # a store that does not answer says nothing of the part
            raise
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError):
            return None
        pairs = zip(paths, stamps_of(paths), stamps, strict=True)
        return table if all(_is_unchanged(*of_one) for of_one in pairs) else None

    def write(
        self, number: int, paths: Sequence[str], rows: Sequence[Row], stamps: Any, schema: pa.Schema
    ) -> None:
        """Write the rows of a part; before it, its digest and the stamps of the files it is of."""
        name = self.name_of(number, paths)
        with self.files.writing(f"{name}.parquet") as part:
            pyarrow.parquet.write_table(table_of(rows, schema), part)
            origin = {"rows": digest_of(part), "stamps": stamps}
            _write_json(self.files, f"{ORIGINS}/{name}.json", origin)


def _is_unchanged(path: str, now: str | None, then: str | None) -> bool:
    """Say whether a file is as it was; a file that was not there still is not."""
    if then is not None or not is_plain_file(path):
        return now == then
    return not os.path.lexists(path)


def _read_manifest(files: Place, path: Path | str) -> dict[str, Any] | None:
    try:
        found = json.loads(files.read(MANIFEST))
    except FileNotFoundError:
        return None
    except FaceproofError:  # a store that does not answer: nothing is wrong with the folder
        raise
    except (OSError, ValueError) as error:
        raise FaceproofError(f"{path}/{MANIFEST} cannot be read: {error}; {BEGIN}") from error
    return found if isinstance(found, dict) else {}


def _write_json(files: Place, name: str, value: Any) -> None:
    with files.writing(name) as file:
        file.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n", "utf-8")


class PartOutput:
    """The folder, as the command that fills it sees it; one command at a time does.

    Args:
        path: the folder, or its URL in an object store.
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
        path: Path | str,
        about: Mapping[str, Any],
        paths: Iterable[str],
        part_size: int,
        overwrite: bool = False,
    ) -> None:
        self.path, self.num_files, self.num_parts = path, 0, 0
        self.files = place_of(path)
        self._refuse_foreign()
        self.files.begin()
        try:
            self._claim({**about, "part_size": part_size}, paths, part_size, overwrite)
        except BaseException:
            self.close()
            raise

    def _claim(
        self, about: Mapping[str, Any], paths: Iterable[str], part_size: int, overwrite: bool
    ) -> None:
        if overwrite:
            self._refuse_unclaimed()
            self.files.clear()
        settings = json.loads(json.dumps(about))
        earlier = _read_manifest(self.files, self.path)
        if earlier is None and (parts := self.parts()):
            raise FaceproofError(
                f"{self.path}/{parts[0]} is there, and nothing says what gave it; {DELETE}"
            )
        if earlier is not None and earlier.get("settings") != settings:
            raise FaceproofError(
                f"{self.path} was begun with another detector, other options or another version "
                f"of faceproof; {BEGIN}"
            )
        source = self._write_listing(paths, part_size, earlier)
        self.folder = PartFolder(self.path, key_of([json.dumps(settings, sort_keys=True), source]))
        self._manifest = {
            "settings": settings, "files": self.num_files, "parts": self.num_parts,
            "source": source, "key": self.folder.key,
        }  # fmt: skip
        _write_json(self.files, MANIFEST, {**self._manifest, "finished": False})

    def _write_listing(
        self, paths: Iterable[str], part_size: int, earlier: Mapping[str, Any] | None
    ) -> str:
        """Write the paths in parts, and return their digest."""
        digest = hashlib.sha256()
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with (
            self.files.writing(LISTING) as partial,
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

    def parts(self) -> list[str]:
        """Return the names of the finished parts in their order."""
        return [name for name in self.files.names() if PART.fullmatch(name)]

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
        self.files.tidy()
        self.files.tidy(ORIGINS)
        _write_json(self.files, MANIFEST, {**self._manifest, "finished": True, **counts})

    def close(self) -> None:
        """Release the folder; what is written stays."""
        self.files.end()

    def _refuse_foreign(self) -> None:
        """Refuse a folder with files that are not ours."""
        for name in self.files.names():
            if not OURS.fullmatch(name) and not is_left_behind(name):
                raise FaceproofError(
                    f"{self.path} holds {name}, which faceproof predict --on ray has not written; "
                    "give --out a new folder"
                )

    def _refuse_unclaimed(self) -> None:
        """Refuse to delete files of which no manifest says that they are ours."""
        names = self.files.names()
        before = (LOCK, LISTING)  # which a command writes before the manifest
        there = [name for name in names if not name.startswith(before) and not is_left_behind(name)]
        if there and MANIFEST not in names:
            raise FaceproofError(
                f"{self.path} holds {there[0]} and no {MANIFEST}, so that nothing says that "
                f"faceproof wrote it, and --overwrite does not delete it; {DELETE}"
            )
