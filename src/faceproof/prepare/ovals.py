"""Where the faces of a training's real images are, as ovals: stored with the crops, or found.

For `synthesis.faces`, in which self-blending asks for them.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from faceproof.augment.self_blending import Oval
from faceproof.data.image_io import read_image
from faceproof.data.prepared import MEDIA, prepared_folders, read_about, read_images
from faceproof.io.cache import Array, CachedArray, load_or_compute
from faceproof.io.parquet import read_parquet
from faceproof.io.progress import progress
from faceproof.io.stamps import key_of
from faceproof.performance.cores import by_all_cores
from faceproof.prepare.alignment import TEMPLATE, framed_template, similarity
from faceproof.prepare.boxes import Box, square_around
from faceproof.prepare.cropping import CropConfig, read_crop
from faceproof.prepare.detectors import describe_detector, load_detector
from faceproof.prepare.face import NUM_LANDMARKS
from faceproof.prepare.finding import find_faces
from faceproof.prepare.tables import MEDIA_SCHEMA

Points = npt.NDArray[np.float64]

FORMAT = "1"  # raise it with every change to what is cached
AT_ONCE = 32  # images that are decoded and searched together
TOLERANCE = 0.01  # of the side: versions of the arithmetic differ by less
NUM_CHECKED = 4  # images that are searched again before cached ovals are trusted
# A face from hairline to chin, in the square of the template of alignment.
OF_TEMPLATE = Oval((0.5, 0.6), (0.37, 0.0), (0.0, 0.48))
UNKNOWN = np.full(6, np.nan, np.float32)


def oval_of(landmarks: Points, height: int, width: int) -> Array:
    """Return the oval around a face by its five landmarks, (5, 2), in pixels of its image.

    The result, (6,), are the three points of `augment.self_blending.Oval`, as shares.
    """
    there = similarity(tuple(map(tuple, TEMPLATE)), landmarks)
    turn = np.array([[there.a, -there.b], [there.b, there.a]])
    points = np.array([OF_TEMPLATE.centre, OF_TEMPLATE.right, OF_TEMPLATE.down]) @ turn.T
    points[0] += there.c, there.d
    return np.asarray((points / (width, height)).ravel(), np.float32)


def stored_ovals(paths: Sequence[str]) -> Array:
    """Return the ovals of images that are crops in prepared folders, (N, 6); NaN for others."""
    known: dict[str, Array] = {}
    for folder in prepared_folders(paths):
        known |= _of_prepared(folder)
    return np.stack([known.get(path, UNKNOWN) for path in paths])


def _of_prepared(folder: Path) -> dict[str, Array]:
    """Return the ovals of the crops in a prepared folder, by path."""
    stored = read_crop({"config": read_about(folder).settings.get("crop"), "detector": ""})
    assert stored is not None
    columns = ("path", "height", "width")
    media = read_parquet(folder / MEDIA, MEDIA_SCHEMA).select(columns).to_pylist()
    sizes = {row["path"]: (row["height"], row["width"]) for row in media}
    found = {}
    for row in read_images(folder).to_pylist():
        if len(row["landmarks"] or ()) == 2 * NUM_LANDMARKS:
            points = _in_crop(row, sizes.get(row["original"], (None, None)), stored.config)
            if points is not None:
                found[row["path"]] = oval_of(points, 1, 1)
    return found


def _in_crop(row: Any, size: tuple[int | None, int | None], config: CropConfig) -> Points | None:
    """Return the landmarks as shares of the crop, (5, 2); None where its place is not known."""
    if config.align:
        return framed_template(config.margin)
    height, width = size
    if height is None or width is None:
        return None
    box = Box(row["left"], row["top"], row["right"], row["bottom"])
    left, top, side = square_around(box, config.margin, height, width)
    return (np.reshape(row["landmarks"], (NUM_LANDMARKS, 2)) - (left, top)) / side


def found_ovals(rows: pa.Table, max_bytes: int) -> Array:
    """Return the ovals around the largest face in each image, (N, 6); NaN where none is found.

    They are cached under the digests of the files, the column `content` of the table.

    Raises:
        FaceproofError: the face detector is not installed.
    """
    config = CropConfig()
    detector = load_detector(config.detector)
    paths = rows["path"].to_pylist()

    def find(place: int, start: int = 0) -> Array:
        image = read_image(paths[start + place])
        faces = [one for one in find_faces(image, detector, config).faces if one.has_landmarks]
        return oval_of(np.array(faces[0].landmarks), *image.shape[1:]) if faces else UNKNOWN

    def fill(values: Array) -> None:
        for start in progress(range(0, len(paths), AT_ONCE), "finding faces"):
            some = values[start : start + AT_ONCE]
            some[:] = by_all_cores(functools.partial(find, start=start), len(some))

    checked = np.linspace(0, len(paths) - 1, min(NUM_CHECKED, len(paths))).astype(int)

    def agrees(values: Array) -> bool:
        now = np.stack([find(place) for place in checked])
        return np.allclose(values[checked], now, atol=TOLERANCE, equal_nan=True)

    key = key_of([FORMAT, describe_detector(config.detector), *rows["content"].to_pylist()])
    array = CachedArray("ovals", key, (len(paths), 6), np.float32, fill, agrees)
    if (cached := load_or_compute(array, max_bytes)) is not None:
        return cached
    values = np.empty(array.shape, np.float32)
    fill(values)
    return values
