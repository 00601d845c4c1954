"""What a data set holds, as plain data; `explain.exploration` measures it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from faceproof.explain.sampling import UNLABELLED, class_names
from faceproof.task import Task

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


@dataclass(frozen=True)
class MeanImage:
    """The mean of the images of a class or a generator (`kind`), all resized to (S, S, 3) uint8."""

    kind: str
    name: str
    num: int
    pixels: npt.NDArray[np.uint8]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values, with its mean colour for its pixels."""
        colour = self.pixels.mean((0, 1)).tolist()
        return {"kind": self.kind, "name": self.name, "num": self.num, "mean_rgb": colour}


@dataclass(frozen=True)
class Exploration:
    """What a data set holds.

    Attributes:
        counts: number of all images by column (split, source, generator), value and class.
        rows: the readable images of the sample, class by class, in the order of the draw.
        unreadable: path and reason of the other files of the sample.
        properties: the values of each property in `UNITS` by class, (N,) each, in the sample.
        formats: number of images of the sample by file format and class.
        means: the mean image of each class and generator.
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
        """The classes that the data set has; those of the task come first, in their order."""
        there = {label for row in self.counts["split"].values() for label in row}
        return [label for label in (*self.task.classes, UNLABELLED) if label in there]

    @property
    def classes_drawn(self) -> list[str]:
        """The classes of which the sample has a readable image."""
        there = set(class_names(self.rows))
        return [label for label in self.classes if label in there]

    def summaries(self) -> dict[str, dict[str, dict[str, float | int]]]:
        """Return the summary of each property by class."""
        return {
            name: {label: _summarise(values) for label, values in by_class.items()}
            for name, by_class in self.properties.items()
        }

    def to_json(self) -> dict[str, Any]:
        """Return all numbers as plain values."""
        return {
            "data": self.data,
            "task": self.task.name,
            "seed": self.seed,
            "num_images": self.num_images,
            "num_measured": self.rows.num_rows,
            "counts": self.counts,
            "properties": {
                name: {"unit": UNITS[name], "by_class": by_class}
                for name, by_class in self.summaries().items()
            },
            "formats": self.formats,
            "mean_images": [mean.to_json() for mean in self.means],
            "unreadable": self.unreadable,
        }


def _summarise(values: Values) -> dict[str, float | int]:
    """Return number, mean, standard deviation, extremes and quantiles of some values."""
    return {
        "num": len(values),
        "mean": float(values.mean()),
        "standard deviation": float(values.std()),
        "min": float(values.min()),
        **{name: float(np.quantile(values, share)) for name, share in QUANTILES.items()},
        "max": float(values.max()),
    }
