"""Whether what a detector is given has changed since its training.

A sample of values of its validation images is stored with the detector: scores, novelty, and file
statistics. Each is compared with that of other images by the test of Kolmogorov and Smirnov; the
p-values are corrected for their number (Holm 1979). Of many images every difference is
significant, so a change counts only from `MIN_DISTANCE` on.

The test takes images for independent. Frames of one video are not, so that of few videos with many
frames it calls a change more often than it should.

The scores change with the share of either class too, even if the images of each class do not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import Scores
from faceproof.evaluation.statistics import SIGNIFICANCE, holm

MAX_VALUES = 500  # of each that are stored: their order statistics, evenly spaced
MAX_COLUMNS = 20
MIN_IMAGES = 20  # with fewer, nothing is compared
MIN_DISTANCE = 0.1  # between two distribution functions, from which on a change counts


@dataclass(frozen=True)
class Reference:
    """Values of validation images, rising, by what they are of.

    Attributes:
        num_images: of validation.
        columns: of each, at most `MAX_VALUES`.
    """

    num_images: int
    columns: dict[str, tuple[float, ...]]

    def __post_init__(self) -> None:
        sizes = [len(values) for values in self.columns.values()]
        if len(sizes) > MAX_COLUMNS or any(not 0 < size <= MAX_VALUES for size in sizes):
            raise FaceproofError(
                f"what images are compared with has up to {MAX_COLUMNS} columns of 1 to "
                f"{MAX_VALUES} values; found {sizes[:MAX_COLUMNS]}"
            )
        if not all(np.isfinite(values).all() for values in self.columns.values()):
            raise FaceproofError("what images are compared with holds numbers that are not finite")

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        columns = {name: list(values) for name, values in self.columns.items()}
        return {"num_images": self.num_images, "columns": columns}


@dataclass(frozen=True)
class Change:
    """How one column differs between validation and other images.

    Attributes:
        name: of the column.
        num_images: of the others, with a value.
        median_before: of validation.
        median_now: of the others.
        distance: the largest one between the two distribution functions, from 0 to 1.
        p_value: how often chance would part two samples of the same as far, corrected.
    """

    name: str
    num_images: int
    median_before: float
    median_now: float
    distance: float
    p_value: float

    @property
    def counts(self) -> bool:
        """Whether the difference is neither chance nor too small to matter."""
        return self.p_value < SIGNIFICANCE and self.distance >= MIN_DISTANCE


def make_reference(columns: Mapping[str, Scores | None]) -> Reference:
    """Return what is stored of validation images, (N,) each; None is not known and left out."""
    known = {name: values for name, values in columns.items() if values is not None}
    return Reference(
        max((len(values) for values in known.values()), default=0),
        {name: _thinned(values) for name, values in known.items() if np.isfinite(values).any()},
    )


def _thinned(values: Scores) -> tuple[float, ...]:
    ranked = np.sort(values[np.isfinite(values)]).astype(np.float64)
    number = min(len(ranked), MAX_VALUES)
    chosen = np.linspace(0, len(ranked) - 1, number).round().astype(int)
    return tuple(float(f"{value:.7g}") for value in ranked[chosen])


def compare(reference: Reference, columns: Mapping[str, Scores]) -> list[Change]:
    """Compare images with those of validation, column by column; what differs most comes first.

    `columns` are (N,) float64 each, NaN where an image has no value. A column that either side
    lacks is left out.

    Raises:
        FaceproofError: no column is known of `MIN_IMAGES` images.
    """
    from scipy import stats  # not above: it takes half a second to import

    known = {name: values[np.isfinite(values)] for name, values in columns.items()}
    names = [
        name
        for name in reference.columns
        if len(known.get(name, ())) >= MIN_IMAGES and len(reference.columns[name]) >= MIN_IMAGES
    ]
    if not names:
        raise FaceproofError(
            f"nothing that could be compared has {MIN_IMAGES} values here and in validation: too "
            "few to say whether anything has changed"
        )
    tests = [stats.ks_2samp(reference.columns[name], known[name], method="asymp") for name in names]
    p_values = holm([float(test.pvalue) for test in tests])
    found = [
        Change(
            name,
            len(known[name]),
            float(np.median(reference.columns[name])),
            float(np.median(known[name])),
            float(test.statistic),
            p_value,
        )
        for name, test, p_value in zip(names, tests, p_values, strict=True)
    ]
    return sorted(found, key=lambda change: -change.distance)


def in_words(change: Change) -> str:
    """Return a change in a sentence."""
    before, now = map(_number, (change.median_before, change.median_now))
    p_value = "p below 0.001" if change.p_value < 0.001 else f"p = {change.p_value:.3f}"
    said = "has changed" if change.counts else "no change that counts"
    return (
        f"{change.name}: {said} (median {before} in validation, {now} now; distance "
        f"{change.distance:.2f}, {p_value})"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
