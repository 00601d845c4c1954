"""Where the crops of each photograph or video go, and by what name it is known."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import PurePath

from faceproof.data.kinds import VIDEO, kind_of
from faceproof.data.prepared import FACES
from faceproof.prepare.media import Media
from faceproof.prepare.tables import Row

MAX_STEM = 60  # characters


def relative_names(paths: Sequence[str]) -> list[str]:
    """Return the paths relative to the folder that holds them all, divided by /.

    So they are the same wherever that folder lies.
    """
    folders = {os.path.dirname(os.path.abspath(path)) for path in paths}
    root = os.path.commonpath(folders) if folders else ""
    return [PurePath(os.path.relpath(os.path.abspath(path), root)).as_posix() for path in paths]


def media_of(rows: Sequence[Row], names: Sequence[str]) -> list[Media]:
    """Return the photographs and videos of an image table, and where their crops go.

    That is faces/LABEL/GENERATOR/NAME-DIGEST, of a photograph with a folder of two digits between.
    The digest of the relative name keeps files of one name in two folders apart.
    """
    found = []
    for row, name in zip(rows, names, strict=True):
        path = row.get("file") or row["path"]
        is_video = kind_of(path) == VIDEO
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
        stem = f"{_plain(PurePath(name).stem)[:MAX_STEM]}-{digest}"
        kind = _plain(row["generator"] or row["source"] or "images")
        parts = [FACES, row["label"] or "unlabelled", kind, *([] if is_video else [digest[:2]])]
        found.append(Media(path, "/".join((*parts, stem)), is_video))
    return found


def _plain(name: str) -> str:
    """Return a name as letters and digits that every file system takes."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") or "x"
