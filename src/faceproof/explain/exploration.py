"""Measure what a data set holds, for `faceproof explore`.

Counts are of all images. The rest is measured on a sample: file statistics, which are cached, and
mean images, for which the sample is read once more.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from faceproof.audit.file_statistics import file_statistics_of
from faceproof.audit.readable import readable_rows
from faceproof.data.image_io import UnreadableImageError, read_image
from faceproof.data.listing import DataSet
from faceproof.data.model_input import fit_image
from faceproof.data.table import SPLITS, counts
from faceproof.errors import FaceproofError
from faceproof.explain.exploration_results import Counts, Exploration, MeanImage, Values
from faceproof.explain.sampling import (
    LUMA,
    UNLABELLED,
    class_names,
    draw_sample,
    read_each,
)
from faceproof.io.progress import progress
from faceproof.task import Task

MEAN_SIDE = 128  # pixels
NUM_PARTS = 20  # in which file statistics are gathered, so that a progress bar can grow
SMALLEST_PART = 500
COLUMNS = ("split", "source", "generator")

Key = tuple[str, str | None]  # class and generator


def explore(data: DataSet, num: int | None = None, seed: int = 0) -> Exploration:
    """Measure what a data set holds, on `num` images drawn by class, or on all.

    Raises:
        FaceproofError: too many files cannot be read, or there are fewer to draw than classes.
    """
    drawn = draw_sample(data.table, num, seed)
    stats = _file_statistics(drawn)
    rows, unreadable = readable_rows(replace(data, table=drawn), stats=stats)
    known = stats.filter(pc.is_null(stats["reason"]))
    labels = np.array(class_names(rows))
    classes = [label for label in (*data.task.classes, UNLABELLED) if label in labels]
    return Exploration(
        data=data.name,
        task=data.task,
        seed=seed,
        num_images=data.table.num_rows,
        counts={name: _count_by_class(data.table, name) for name in COLUMNS},
        rows=rows,
        unreadable=unreadable.to_pylist(),
        properties={
            name: {label: values[labels == label] for label in classes}
            for name, values in _image_properties(known).items()
        },
        formats=_count_pairs(known["format"].to_pylist(), labels.tolist()),
        means=mean_images(rows, data.task),
    )


def _file_statistics(rows: pa.Table) -> pa.Table:
    step = max(SMALLEST_PART, -(-rows.num_rows // NUM_PARTS))
    starts = range(0, rows.num_rows, step)
    parts = progress(starts, "files")
    return pa.concat_tables([file_statistics_of(rows.slice(start, step)) for start in parts])


def _count_by_class(table: pa.Table, column: str) -> Counts:
    """Return the number of images by the values of a column and by class."""
    found: Counts = {split: {} for split in SPLITS} if column == "split" else {}
    for (value, label), number in counts(table, column, "label").items():
        found.setdefault(value or "none", {})[label or UNLABELLED] = number
    return {value: row for value, row in found.items() if row}


def _count_pairs(values: Sequence[str], labels: Sequence[str]) -> Counts:
    found: Counts = {}
    for (value, label), number in sorted(Counter(zip(values, labels, strict=True)).items()):
        found.setdefault(value, {})[label] = number
    return found


def _image_properties(stats: pa.Table) -> dict[str, Values]:
    """Return the values of `UNITS`, (N,) each, from statistics of readable files."""
    names = ("width", "height", "size", "sharpness")
    width, height, size, sharpness = (stats[name].to_numpy().astype(np.float64) for name in names)
    colour = np.array(stats["colour"].to_pylist(), np.float64).reshape(-1, 6)
    return {
        "width": width,
        "height": height,
        "aspect ratio": width / height,
        "file size": size / 1000,
        "mean intensity": colour[:, :3] @ LUMA.astype(np.float64),
        "sharpness": sharpness,
    }


def mean_images(rows: pa.Table, task: Task) -> list[MeanImage]:
    """Return the mean image of each class, and of each generator where a class has several.

    Raises:
        FaceproofError: an image cannot be read any more.
    """
    sums: dict[Key, Any] = {}
    numbers: Counter[Key] = Counter()
    keys = list(zip(class_names(rows), rows["generator"].to_pylist(), strict=True))
    images = read_each(rows["path"].to_pylist(), _fitted, "mean images")
    for key, image in zip(keys, images, strict=True):
        sums[key] = sums.get(key, 0) + image.astype(np.int64)
        numbers[key] += 1

    def mean(kind: str, name: str, members: list[Key]) -> MeanImage:
        num = sum(numbers[key] for key in members)
        pixels = np.rint(sum(sums[key] for key in members) / num).astype(np.uint8)
        return MeanImage(kind, name, num, pixels.transpose(1, 2, 0))

    found = []
    for label in (*task.classes, UNLABELLED):
        members = sorted((key for key in numbers if key[0] == label), key=lambda key: key[1] or "")
        if members:
            found.append(mean("class", label, members))
        if len(members) > 1:
            found += [mean("generator", key[1] or "none", [key]) for key in members]
    return found


def _fitted(path: str) -> npt.NDArray[np.uint8]:
    try:
        image = read_image(path)
    except UnreadableImageError as error:
        raise FaceproofError(
            f"{path} could be read a moment ago and no longer can: {error}; start again"
        ) from error
    return np.asarray(fit_image(image, MEAN_SIDE, "bilinear"))
