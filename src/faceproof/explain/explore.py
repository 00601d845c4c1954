"""What a data set holds: how many of what, how large, how bright, how sharp, and a mean image.

Counts are of all images. The rest is measured on a sample: what is known of files comes from
`data.facts`, which remembers it, and mean images from reading the sample once more.
"""

import logging
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from rich.progress import track

from faceproof.audit.file_statistics import file_statistics_of
from faceproof.audit.readable import readable_rows
from faceproof.augment.transforms import GREY
from faceproof.data.image_io import UnreadableImageError, read_image
from faceproof.data.listing import DataSet
from faceproof.data.model_input import fit_image
from faceproof.data.table import SPLITS, counts
from faceproof.errors import FaceproofError
from faceproof.explain.sampling import (
    UNLABELLED,
    class_words,
    draw_sample,
    on_terminal,
    read_each,
)
from faceproof.task import Task

MEAN_SIDE = 128  # pixels
NUM_PARTS = 20  # in which facts are gathered, so that a bar can grow
SMALLEST_PART = 500
QUANTILES = {"5%": 0.05, "25%": 0.25, "median": 0.5, "75%": 0.75, "95%": 0.95}
UNITS = {
    "width": "pixels",
    "height": "pixels",
    "aspect ratio": "width / height",
    "file size": "kB",
    "mean intensity": "grey levels, 0 to 255",
    "sharpness": "ln variance of the Laplacian",
}

Values = npt.NDArray[np.float64]
Counts = dict[str, dict[str, int]]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MeanImage:
    """The mean of some images, resized alike: (S, S, 3) uint8. `kind` is class or generator."""

    kind: str
    name: str
    num: int
    pixels: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Exploration:
    """What was found of a data set.

    `counts` has, for split, source and generator, the number of images of each class by its
    words. `properties` has the values of `UNITS` by class, for the readable images of the sample;
    `formats` the kinds of file. `rows` are these images, class by class, in the order of the
    draw; `unreadable` is (path, reason).
    """

    data: str
    task: Task
    seed: int
    num_images: int
    counts: dict[str, Counts]
    rows: pa.Table
    unreadable: list[dict[str, str]]
    properties: dict[str, dict[str, Values]]
    formats: Counts
    means: list[MeanImage]

    @property
    def classes(self) -> list[str]:
        """Return the classes that the data set has, those of the task in their order first."""
        there = {label for row in self.counts["split"].values() for label in row}
        return [label for label in (*self.task.classes, UNLABELLED) if label in there]


def explore(data: DataSet, num: int | None = None, seed: int = 0) -> Exploration:
    """Look at a data set.

    Args:
        data: the data set.
        num: how many images to measure, drawn by class; None for all.
        seed: of the draw.

    Raises:
        FaceproofError: too many files cannot be read, or there are fewer to draw than classes.
    """
    drawn = draw_sample(data.table, num, seed)
    stats = _facts(drawn)
    rows, unreadable = readable_rows(replace(data, table=drawn), stats=stats)
    known = stats.filter(pc.is_null(stats["reason"]))
    labels = np.array(class_words(rows))
    return Exploration(
        data.name,
        data.task,
        seed,
        data.table.num_rows,
        {column: count_by_class(data.table, column) for column in ("split", "source", "generator")},
        rows,
        unreadable.to_pylist(),
        {
            name: {
                label: values[labels == label]
                for label in (*data.task.classes, UNLABELLED)
                if label in labels
            }
            for name, values in image_properties(known).items()
        },
        _count_pairs(known["format"].to_pylist(), labels.tolist()),
        mean_images(rows, data.task),
    )


def _facts(rows: pa.Table) -> pa.Table:
    """Return the facts of rows, gathered in parts so that a bar can grow on a terminal."""
    step = max(SMALLEST_PART, -(-rows.num_rows // NUM_PARTS))
    starts = range(0, rows.num_rows, step)
    parts = track(starts, "files", disable=not on_terminal())
    return pa.concat_tables([file_statistics_of(rows.slice(start, step)) for start in parts])


def count_by_class(table: pa.Table, column: str) -> Counts:
    """Return the number of images of each class for each word of a column of the table."""
    found: Counts = {split: {} for split in SPLITS} if column == "split" else {}
    for (word, label), number in counts(table, column, "label").items():
        found.setdefault(word or "none", {})[label or UNLABELLED] = number
    return {word: row for word, row in found.items() if row}


def _count_pairs(words: list[str], labels: list[str]) -> Counts:
    found: Counts = {}
    for (word, label), number in sorted(Counter(zip(words, labels, strict=True)).items()):
        found.setdefault(word, {})[label] = number
    return found


def image_properties(stats: pa.Table) -> dict[str, Values]:
    """Return the values of `UNITS`, (N,) each, from the facts of readable files."""
    width, height, size, sharpness = (
        stats[name].to_numpy().astype(np.float64)
        for name in ("width", "height", "size", "sharpness")
    )
    colour = np.array(stats["colour"].to_pylist(), np.float64).reshape(-1, 6)
    return {
        "width": width,
        "height": height,
        "aspect ratio": width / height,
        "file size": size / 1000,
        "mean intensity": colour[:, :3] @ GREY.numpy().astype(np.float64),
        "sharpness": sharpness,
    }


def summarise(values: Values) -> dict[str, float | int]:
    """Return number, mean, standard deviation, extremes and quantiles of some values."""
    return {
        "num": len(values),
        "mean": float(values.mean()),
        "standard deviation": float(values.std()),
        "min": float(values.min()),
        **{name: float(np.quantile(values, share)) for name, share in QUANTILES.items()},
        "max": float(values.max()),
    }


def mean_images(rows: pa.Table, task: Task) -> list[MeanImage]:
    """Return the mean image of each class, and of each generator where a class has several.

    Raises:
        FaceproofError: an image cannot be read any more.
    """
    sums: dict[tuple[str, str | None], Any] = {}
    numbers: Counter[tuple[str, str | None]] = Counter()
    keys = list(zip(class_words(rows), rows["generator"].to_pylist(), strict=True))
    images = read_each(rows["path"].to_pylist(), _fitted, "mean images")
    for key, image in zip(keys, images, strict=True):
        sums[key] = sums.get(key, 0) + image.astype(np.int64)
        numbers[key] += 1
    found = []
    for label in (*task.classes, UNLABELLED):
        inside = [key for key in numbers if key[0] == label]
        if not inside:
            continue
        found.append(_mean("class", label, inside, sums, numbers))
        if len(inside) > 1:
            inside.sort(key=lambda key: key[1] or "")
            found += [_mean("generator", key[1] or "none", [key], sums, numbers) for key in inside]
    return found


def _mean(
    kind: str, name: str, keys: list[Any], sums: dict[Any, Any], numbers: Counter[Any]
) -> MeanImage:
    num = sum(numbers[key] for key in keys)
    pixels = np.rint(sum(sums[key] for key in keys) / num).astype(np.uint8)
    return MeanImage(kind, name, num, pixels.transpose(1, 2, 0))


def _fitted(path: str) -> npt.NDArray[np.uint8]:
    """Return an image as (3, S, S) uint8."""
    try:
        image = read_image(path)
    except UnreadableImageError as error:
        raise FaceproofError(
            f"{path} could be read a moment ago and no longer can: {error}; start again"
        ) from error
    fitted: npt.NDArray[np.uint8] = fit_image(image, MEAN_SIDE, "bilinear").numpy()
    return fitted
