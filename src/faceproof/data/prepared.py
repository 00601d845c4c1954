"""Reads a folder that `faceproof prepare` has written: face crops, their image table, and how.

| file              | holds                                                                      |
|-------------------|----------------------------------------------------------------------------|
| `prepared.json`   | settings, face detector, versions, counts, and digests of the two tables   |
| `images.parquet`  | the image table: a row for each crop                                       |
| `media.parquet` | a row for each photograph or video, with what was found in it              |
| `faces/`          | the crops                                                                  |
| `prepared.html`   | a page on what was found                                                   |
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from faceproof.data.listing import DataSet, Kind, absolute
from faceproof.data.subgroups import check_subgroups
from faceproof.data.table import SCHEMA, WORD
from faceproof.errors import FaceproofError
from faceproof.io.parquet import read_parquet
from faceproof.io.parse import parse
from faceproof.io.plain_files import printable, read_json
from faceproof.io.stamps import digest_of
from faceproof.settings import PLACE, SettingError

FORMAT = "faceproof-prepared-1"
ABOUT, IMAGES, MEDIA, FACES = "prepared.json", "images.parquet", "media.parquet", "faces"
PAGE = "prepared.html"
# What the image table says of each crop, beside the columns of every image table.
CROP_FIELDS = [
    ("original", pa.string()),  # the photograph or video
    ("time", pa.float64()),  # of the frame, in seconds; null of a photograph
    ("track", pa.int32()),  # which face of the video or photograph, from 0
    ("left", pa.int32()),  # the face's box in the photograph or frame, in pixels
    ("top", pa.int32()),
    ("right", pa.int32()),
    ("bottom", pa.int32()),
    ("landmarks", pa.list_(pa.float32())),  # x and y of the five landmarks, or null
    ("score", pa.float32()),  # of the face detector
    ("inside", pa.float32()),  # share of the box inside the image
    ("sharpness", pa.float32()),  # log variance of the Laplacian at 112 pixels
    ("side", pa.int32()),  # of the crop, in pixels
    ("content", pa.string()),  # digest of the file
    ("bytes", pa.int64()),
]
IMAGE_SCHEMA = pa.schema([*SCHEMA, *CROP_FIELDS])
# What `subgroups` may name.
OF_CROPS = ("time", "track", "score", "inside", "sharpness", "side", "bytes", "original")


@dataclass(frozen=True)
class About:
    """What `prepared.json` says.

    Attributes:
        task: whose labels the image table holds.
        settings: of the preparation, by name.
        detector: the face detector, with its version.
        versions: of the packages on which the bytes of the crops depend.
        files: digest of the names, sizes and labels of the photographs and videos.
        counts: of photographs and videos, by their status, and of crops.
        images: digest of `images.parquet`.
        results: digest of `media.parquet`.
    """

    format: str
    task: str
    settings: dict[str, Any]
    detector: str
    versions: dict[str, str]
    files: str
    counts: dict[str, int]
    images: str
    results: str

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise FaceproofError(f"its format is {self.format!r}, and this version reads {FORMAT}")


def read_about(folder: Path) -> About:
    """Return what a prepared folder says of itself.

    Raises:
        FaceproofError: it is none, is not whole, or its tables are not those that it was written
            with.
    """
    file = folder / ABOUT
    if not file.is_file():
        raise FaceproofError(
            f"{folder} is no folder that faceproof prepare has finished: it has no {ABOUT}; give "
            "the folder of its --out, or run that command again"
        )
    try:
        about: About = parse(About, read_json(file, "prepare it again"))
    except FaceproofError as error:
        raise FaceproofError(f"{file} cannot be read: {error}") from error
    for name, digest in ((IMAGES, about.images), (MEDIA, about.results)):
        if digest_of(folder / name) != digest:
            raise FaceproofError(
                f"{folder / name} is not the table that was written with the folder; copy the "
                "folder again as a whole, or prepare it again"
            )
    return about


def read_images(folder: Path) -> pa.Table:
    """Return the image table of a prepared folder, with absolute paths and all its columns.

    Raises:
        FaceproofError: it cannot be read, or names a file that is not below the folder's `faces`.
    """
    table = read_parquet(folder / IMAGES, IMAGE_SCHEMA)
    root = folder.absolute().as_posix()
    names = table["path"].to_pylist()
    for name in names:  # a stranger may have made it
        if name is None or not name.startswith(f"{FACES}/") or ".." in name.split("/"):
            raise FaceproofError(
                f"{folder / IMAGES} names {printable(str(name))}, which is no crop below {FACES}/; "
                "prepare the folder again"
            )
    paths = [f"{root}/{name}" for name in names]
    return table.set_column(0, IMAGE_SCHEMA.field("path"), pa.array(paths, pa.string()))


def prepared_folders(paths: Sequence[str]) -> list[Path]:
    """Return the prepared folders among those that these images could be crops of."""
    could_be = {
        path[: found.start()] for path in paths for found in re.finditer(f"/{FACES}/", path)
    }
    return [folder for one in sorted(could_be) if ((folder := Path(one)) / ABOUT).is_file()]


def has_landmarks(paths: Sequence[str]) -> bool:
    """Say whether any of these images is a crop whose landmarks its prepared folder holds."""
    wanted = pa.array(paths, pa.string())
    for folder in prepared_folders(paths):
        read_about(folder)  # refuses a folder that is not whole
        images = read_images(folder)
        crops = images.filter(pc.is_in(images["path"], wanted))
        if crops["landmarks"].null_count < crops.num_rows:
            return True
    return False


@dataclass(frozen=True)
class PreparedData(Kind):
    """The face crops in a folder that `faceproof prepare` has written.

    Attributes:
        root: the folder.
        subgroups: columns of the crops whose values are subgroups, such as side and sharpness.
    """

    root: str
    subgroups: Sequence[str] | None = None

    def __post_init__(self) -> None:
        self.check(root=PLACE)
        for name in check_subgroups(self.subgroups):
            if name not in OF_CROPS:
                raise SettingError(
                    "subgroups", f"has {name}, which is none of {', '.join(OF_CROPS)}"
                )

    def list(self) -> DataSet:
        """Read the folder's image table."""
        folder = absolute(self.root)
        about = read_about(folder)
        if about.task != self.task:
            raise FaceproofError(
                f"the crops in {folder} are of the task {about.task}; set data.task={about.task}"
            )
        images, subgroups = read_images(folder), check_subgroups(self.subgroups)
        table = images.select(SCHEMA.names)
        for name in subgroups:
            table = table.append_column(name, images[name].cast(pa.string()).cast(WORD))
        return self.data_set(table, complete=False, crop=crop_settings(about))


def crop_settings(about: About) -> Mapping[str, Any]:
    """Return how the faces were found and cut out, as `prepare.cropping.StoredCrop` reads it."""
    return {"config": about.settings.get("crop"), "detector": about.detector}
