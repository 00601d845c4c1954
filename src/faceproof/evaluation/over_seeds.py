"""Metrics averaged over the seeds of a configuration, and the differences of two such means.

A run is one draw of a seed, scored on one draw of images; the mean over seeds is uncertain for
both reasons. Its variance is the sum of two:

- from the images, the seeds being as they are: that of the averaged ROC-AUC after DeLong (1988),
  for groups Obuchowski (1997), by placements averaged over the runs; that of the averaged accuracy
  by the sums of units of the share of runs that call an image correctly;
- from the seeds: the sample variance of the metric over them, divided by their number.

This is the model of readers and cases of Obuchowski and Rockette (1995), with seeds for readers.
What a seed does to some images and not to others is in both parts, so that intervals are rather too
wide than too narrow. Degrees of freedom are Satterthwaite's (1946), and the test is Student's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from faceproof.evaluation.statistics import (
    LEVEL,
    Codes,
    Difference,
    Flags,
    Interval,
    Scores,
    auc_variance,
    constant_difference,
    placements,
    wilson,
)

ROUNDING = 1e-12

Runs = Sequence[npt.NDArray[np.float64]]  # logits of the same rows, (N,) each, by several runs
Calls = Sequence[Flags]  # whether these rows are called correctly, (N,) each


class SeedNoise(NamedTuple):
    """The variance of a metric from seed to seed, and the degrees of freedom it rests on.

    It is `pooled` over all configurations where one has no spread of its own.
    """

    variance: float
    freedom: int
    pooled: bool = False


@dataclass(frozen=True)
class Mean:
    """A metric averaged over seeds, or a difference of two such means.

    Attributes:
        value: the mean, or the first's less the second's.
        image_variance: of the value, from the images.
        num_units: of the images, of the scarcer class where a metric needs both.
        seeds: noises, and the number of runs that each is divided by.
        borrowed: whether a configuration has no noise of its own.
    """

    value: float
    image_variance: float
    num_units: int
    seeds: tuple[tuple[SeedNoise, float], ...]
    borrowed: bool = False

    @property
    def variance(self) -> float:
        """The variance of the value, from images and seeds."""
        return self.image_variance + sum(noise.variance / num for noise, num in self.seeds)

    @property
    def freedom(self) -> float:
        """The degrees of freedom of the variance, after Satterthwaite.

        Where a single run borrows the noise of others, those of the noise: its estimate is so rough
        that, where it comes out small by chance, the images would seem to decide alone.
        """
        if self.borrowed:
            return self.seeds[0][0].freedom
        parts = [(self.image_variance, self.num_units - 1)]
        parts += [(noise.variance / num, noise.freedom) for noise, num in self.seeds]
        return self.variance**2 / sum(part**2 / freedom for part, freedom in parts if part)

    def interval(self, low: float = 0.0, high: float = 1.0) -> Interval:
        """Return the 95 % interval, within these bounds.

        Where nothing varies, as in a perfect ranking, it is Wilson's of as many trials as units.
        """
        from scipy import stats  # not above: it takes half a second to import

        if self.variance == 0:
            return wilson(self.value, self.num_units)
        half = float(stats.t.ppf((1 + LEVEL) / 2, self.freedom)) * math.sqrt(self.variance)
        return max(low, self.value - half), min(high, self.value + half)

    def test(self) -> Difference:
        """Test a difference against none."""
        from scipy import stats

        if self.variance == 0:
            return constant_difference(round(self.value, 12), self.num_units)
        reached = abs(self.value) / math.sqrt(self.variance)
        p_value = 2 * float(stats.t.sf(reached, self.freedom))
        return Difference(self.value, self.interval(-1.0), p_value)


def seed_noise(families: Sequence[Sequence[float]]) -> list[SeedNoise]:
    """Return the noise of each family of values, those of its seeds.

    A family of one value, or of equal ones, takes the variance pooled over all.

    Raises:
        ValueError: no family has two values.
    """
    squares = [float(np.var(values) * len(values)) for values in families]
    free = [len(values) - 1 for values in families]
    if not sum(free):
        raise ValueError("no configuration has two seeds, so that nothing is known of their spread")
    pooled = SeedNoise(sum(squares) / sum(free), sum(free), pooled=True)
    return [
        SeedNoise(square / freedom, freedom) if square > ROUNDING else pooled
        for square, freedom in zip(squares, free, strict=True)
    ]


def mean_auc(
    runs: Runs, noise: SeedNoise, positive: Flags, units: Codes,
    others: Runs = (), other_noise: SeedNoise | None = None,
) -> Mean | None:  # fmt: skip
    """Return the mean ROC-AUC of runs, or what it is more than that of others.

    `positive` and `units` are (N,). The result is None where a class has fewer than two units.
    """
    num_units = min(len(np.unique(units[of_class])) for of_class in (positive, ~positive))
    if num_units < 2:
        return None
    above, below = _placed(runs, positive), _placed(runs, ~positive)
    if len(others):
        above, below = above - _placed(others, positive), below - _placed(others, ~positive)
    value = float(above.mean())
    # Below the positive ones lie those that negative ones are below of: the signs are opposite.
    centred = above - value, below.mean() - below
    # A step of a placement is one over twice the rows of a class, and far more than rounding.
    alike = max(map(np.ptp, centred)) < ROUNDING
    variance = 0.0 if alike else auc_variance(*centred, units[positive], units[~positive])
    return Mean(value, variance, num_units, *_seeds(runs, noise, others, other_noise))


def _placed(runs: Runs, rows: Flags) -> Scores:
    """Return for some rows the share of the other rows that lie below, averaged over runs."""
    averaged: Scores = np.mean([placements(run[rows], run[~rows]) for run in runs], axis=0)
    return averaged


def mean_share(
    runs: Calls, noise: SeedNoise, units: Codes,
    others: Calls = (), other_noise: SeedNoise | None = None,
) -> Mean | None:  # fmt: skip
    """Return the mean share of rows that runs flag, or what it is more than that of others.

    `units` are (N,). The result is None with fewer than two units.
    """
    _, codes = np.unique(units, return_inverse=True)
    num_units = int(codes.max(initial=-1)) + 1
    if num_units < 2:
        return None
    shares = np.mean(runs, axis=0)
    if len(others):
        shares = shares - np.mean(others, axis=0)
    value = float(shares.mean())
    sums = np.bincount(codes, shares - value)
    sums[np.abs(sums) < ROUNDING] = 0
    variance = num_units / (num_units - 1) * float(sums @ sums) / len(shares) ** 2
    return Mean(value, variance, num_units, *_seeds(runs, noise, others, other_noise))


def _seeds(
    runs: Sequence[object], noise: SeedNoise, others: Sequence[object], other: SeedNoise | None
) -> tuple[tuple[tuple[SeedNoise, float], ...], bool]:
    """Return the noises in a mean, or in the difference of two, and whether one is borrowed.

    A borrowed noise holds the other's own, so that the two are not independent: it stands for both.
    """
    both = [(noise, len(runs)), *([] if other is None else [(other, len(others))])]
    borrowed = [one for one, _ in both if one.pooled]
    if borrowed:
        return ((borrowed[0], 1 / sum(1 / num for _, num in both)),), True
    return tuple(both), False
