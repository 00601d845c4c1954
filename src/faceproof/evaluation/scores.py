"""Labelled predictions as arrays, each image counted a whole number of times.

Every metric is a function of `WeightedScores`. With weights of one it gives the value that a report
states; with the weights of a bootstrap resample it gives one draw for an interval. Rows are sorted
once, so that a resample costs a few passes over them.

No result depends on the order of the rows of the predictions table, not even in its last bit.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from faceproof.evaluation.groups import unit_codes
from faceproof.evaluation.predictions import (
    Flags,
    Labels,
    Scores,
    is_positive,
    label_numbers,
    labelled_rows,
    logits_of,
    probabilities_of,
)
from faceproof.evaluation.statistics import Codes
from faceproof.task import Task

Counts = npt.NDArray[np.int64]
Weights = npt.NDArray[np.int64]

NUM_BINS = 15  # as Guo et al. (2017), but of equal mass, so that no bin is empty


@dataclass(frozen=True, eq=False)
class LabelledScores:
    """Labels and scores of N images, highest logit first.

    All columns are (N,): `positive` is the class, `called` the decision, `units` the independent
    units from 0 (see `groups.unit_codes`), `order` the row in the arrays or table it came from.
    """

    positive: Flags
    logits: Scores
    probabilities: Scores
    called: Flags
    units: Codes
    order: Codes

    @classmethod
    def from_arrays(
        cls,
        labels: Labels,
        logits: Scores,
        probabilities: Scores,
        called: Flags,
        units: Codes | None = None,
    ) -> Self:
        """Sort (N,) arrays; without `units` every image is a unit of its own."""
        # Every column breaks ties, so that no sum depends on the order in which the rows came.
        order = np.lexsort((probabilities, labels, -logits))
        here = np.arange(len(labels))
        codes = here if units is None else units
        return cls(labels == 1, logits, probabilities, called, codes, here).take(order)

    @classmethod
    def from_table(
        cls, predictions: pa.Table, task: Task, threshold: float, units: Codes | None = None
    ) -> Self:
        """Take the labelled rows of a predictions table; the others are in no metric.

        `units` are of the labelled rows; None takes them from groups and paths.
        """
        columns = ("path", "label", "group", "component", "logit", "probability")
        there = [name for name in columns if name in predictions.column_names]
        known = labelled_rows(predictions.select(there))
        labels, logits = label_numbers(known, task), logits_of(known)
        probabilities = probabilities_of(known)
        called = is_positive(probabilities, threshold)
        units = unit_codes(known) if units is None else units
        return cls.from_arrays(labels, logits, probabilities, called, units)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.positive)

    @property
    def right(self) -> Flags:
        """Whether each image is called what it is, (N,)."""
        return np.equal(self.called, self.positive)

    @cached_property
    def num_units(self) -> int:
        """The number of independent units, U."""
        return int(self.units.max(initial=-1)) + 1

    @cached_property
    def unit_counts(self) -> Scores:
        """Images of each unit in the four cells of `WeightedScores.confusion`, (U, 4)."""
        cells = 2 * self.positive + self.called
        flat = np.bincount(4 * self.units + cells, minlength=4 * self.num_units)
        return flat.reshape(-1, 4).astype(np.float64)

    @cached_property
    def ends(self) -> Codes | None:
        """The last image of each run of equal logits, (M,); None where no two are equal."""
        last = np.append(self.logits[1:] != self.logits[:-1], [True] * bool(len(self)))
        return None if last.all() else np.flatnonzero(last)

    @cached_property
    def by_probability(self) -> tuple[Scores, Flags, Codes]:
        """Probabilities, classes and units, (N,) each, the lowest probability first."""
        rising = np.lexsort((self.positive, self.probabilities))
        return self.probabilities[rising], self.positive[rising], self.units[rising]

    @cached_property
    def _unit_sums(self) -> dict[Callable[[Self], Scores], Scores]:
        return {}

    def unit_sums(self, quantity: Callable[[Self], Scores]) -> Scores:
        """Return the sum of a quantity of each image over the images of each unit, (U,)."""
        if quantity not in self._unit_sums:
            sums = np.bincount(self.units, quantity(self), self.num_units)
            self._unit_sums[quantity] = np.asarray(sums, np.float64)
        return self._unit_sums[quantity]

    def take(self, rows: Codes) -> Self:
        """Return some of the images; `rows` are their places here, ascending."""
        return type(self)(*(getattr(self, one.name)[rows] for one in fields(self)))

    def for_class(self, number: int) -> Self:
        """Return the same images with class `number` as the positive one; decisions only."""
        return self if number else replace(self, positive=~self.positive, called=~self.called)


@dataclass(frozen=True, eq=False)
class WeightedScores:
    """Labelled predictions as if each unit were there `unit_weights` times."""

    scores: LabelledScores
    unit_weights: Weights | None = None  # (U,); None counts every image once

    @property
    def weights(self) -> Weights:
        """How often each image counts, (N,), in the order of `scores`."""
        return self.weights_of(self.scores.units)

    def weights_of(self, units: Codes) -> Weights:
        """Return how often images of these units count, as a new array of the same length."""
        if self.unit_weights is None:
            return np.ones(len(units), np.int64)
        return np.asarray(self.unit_weights[units])

    @cached_property
    def confusion(self) -> Counts:
        """Images by true class (row) and predicted class (column), (2, 2)."""
        if self.unit_weights is None:
            cells = 2 * self.scores.positive + self.scores.called
            return np.bincount(cells, minlength=4).reshape(2, 2)
        counts = self.unit_weights.astype(np.float64) @ self.scores.unit_counts
        return counts.round().astype(np.int64).reshape(2, 2)

    @cached_property
    def counts(self) -> dict[str, int]:
        """The number of images, of those of either class, and of those called positive."""
        (true_negative, false_positive), (false_negative, true_positive) = self.confusion.tolist()
        return {
            "image": true_negative + false_positive + false_negative + true_positive,
            "negative": true_negative + false_positive,
            "positive": false_negative + true_positive,
            "called": false_positive + true_positive,
        }

    def mean(self, quantity: Callable[[LabelledScores], Scores]) -> float:
        """Return the mean of a quantity of each image; `quantity` gives it as (N,)."""
        if self.unit_weights is None:
            return math.fsum(quantity(self.scores).tolist()) / len(self.scores)
        total = float(self.unit_weights.astype(np.float64) @ self.scores.unit_sums(quantity))
        return total / self.counts["image"]

    @cached_property
    def curve(self) -> tuple[Counts, Counts]:
        """True and false positives if called positive from each distinct logit on, (M,) each.

        The highest logit stands first. Whole numbers, and so exact.
        """
        of_image = self.weights
        called = np.cumsum(of_image)
        of_image *= self.scores.positive
        true_positives = np.cumsum(of_image)
        if self.scores.ends is not None:
            called, true_positives = called[self.scores.ends], true_positives[self.scores.ends]
        return true_positives, called - true_positives


def bin_starts(ranked: Scores, cumulated: Counts, num_bins: int = NUM_BINS) -> Codes:
    """Return where each bin of equally many images starts in the ranked probabilities.

    Equal probabilities share a bin, so there may be fewer bins, and of unequal size. `ranked`
    ascends, (N,); `cumulated` counts the images up to each row, itself included, (N,).
    """
    cuts = np.arange(num_bins) * int(cumulated[-1]) // num_bins
    rows = np.searchsorted(cumulated, cuts, "right")
    return np.unique(np.searchsorted(ranked, ranked[rows], "left"))
