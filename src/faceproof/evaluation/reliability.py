"""Whether probabilities mean what they say, and what is gained by leaving the unsure ones out.

Arguments as in `metrics`: `labels` (N,) of 0 and 1, `probabilities` (N,) of the positive class.
No result depends on the order of the rows.
"""

from dataclasses import dataclass

import numpy as np

from faceproof.evaluation.predictions import Flags, Labels, Scores, is_positive
from faceproof.evaluation.scores import NUM_BINS, bin_starts
from faceproof.evaluation.statistics import Codes, Interval, share_interval


@dataclass(frozen=True)
class ReliabilityBin:
    """The images of one range of probabilities, from their lowest to their highest."""

    low: float
    high: float
    mean_probability: float
    share_positive: float
    interval: Interval | None  # of the share, 95 %
    num_images: int


def calibration_error_by_chance(
    labels: Labels, probabilities: Scores, units: Codes, num_bins: int = NUM_BINS
) -> float | None:
    """Return the calibration error to be expected of these probabilities if they were right.

    Of a bin's count of positives the standard deviation is known where images are independent, and
    the mean absolute deviation is sqrt(2 / pi) of it (normal approximation). Where a bin holds
    several images of a unit, the variance is that between units, as seen there.
    """
    if not len(probabilities):
        return None
    order = np.lexsort((labels, units, probabilities))
    ranked = probabilities[order]
    starts = bin_starts(ranked, np.arange(1, len(ranked) + 1), num_bins)
    variances = [
        _variance_of_count(labels[rows], probabilities[rows], units[rows])
        for rows in np.split(order, starts[1:])
    ]
    return float(np.sqrt(2 / np.pi * np.array(variances)).sum() / len(ranked))


def _variance_of_count(labels: Labels, probabilities: Scores, units: Codes) -> float:
    """Return the variance of the number of positives among images of some probabilities."""
    variances = probabilities * (1 - probabilities)
    independent = float(variances.sum())
    _, codes, sizes = np.unique(units, return_inverse=True, return_counts=True)
    if len(sizes) == len(labels):
        return independent
    if len(sizes) == 1:  # nothing to compare it with: as if its images were all alike
        return float(np.sqrt(variances).sum()) ** 2
    residuals = (labels == 1) - probabilities
    sums = np.bincount(codes, residuals - residuals.mean())
    between = len(sizes) / (len(sizes) - 1) * float(sums @ sums)
    return max(independent, between)


def reliability_table(
    labels: Labels, probabilities: Scores, units: Codes, num_bins: int = NUM_BINS
) -> list[ReliabilityBin]:
    """Return what was said and what was so, by bins of equally many images, lowest first."""
    if not len(labels):
        return []
    order = np.lexsort((labels, probabilities))
    ranked = probabilities[order]
    starts = bin_starts(ranked, np.arange(1, len(ranked) + 1), num_bins)
    found: list[ReliabilityBin] = []
    for rows in np.split(order, starts[1:]):
        positive = labels[rows] == 1
        said = probabilities[rows]
        found.append(
            ReliabilityBin(
                low=float(said[0]), high=float(said[-1]), num_images=len(rows),
                mean_probability=float(np.sort(said).mean()),
                share_positive=float(positive.mean()),
                interval=share_interval(positive, units[rows]),
            )
        )  # fmt: skip
    return found


def confidences(probabilities: Scores, threshold: float) -> Scores:
    """Return the probability of the class that each image is called, (N,).

    Leaving out the images of least confidence is the best rule there is if probabilities are
    right (Chow 1970). Rounded to float32, because `1 - p` shows no finer steps near 1.
    """
    called = is_positive(probabilities, threshold)
    sure = np.where(called, probabilities, 1 - probabilities)
    return sure.astype(np.float32).astype(np.float64)


def risk_coverage(
    labels: Labels, probabilities: Scores, threshold: float
) -> tuple[Scores, Scores, Scores]:
    """Return what share is wrong of those answered, if only the most confident are answered.

    Returns:
        coverage (the share answered, rising to 1), risk (the share of these that is wrong), and
        the lowest confidence answered; one point a distinct confidence, (M,).
    """
    sure = confidences(probabilities, threshold)
    wrong = is_positive(probabilities, threshold) != (labels == 1)
    order = np.argsort(-sure, kind="stable")
    ranked = sure[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], [True] * bool(len(ranked))))
    answered = last + 1
    risk = np.cumsum(wrong[order])[last] / answered
    return answered / max(len(labels), 1), risk, ranked[last]


def risk_coverage_area(labels: Labels, probabilities: Scores, threshold: float) -> float | None:
    """Return the risk averaged over all coverages (AURC, Geifman and El-Yaniv 2019).

    Images of equal confidence are taken in every order alike. Lower is better; a detector whose
    confidence says nothing has its error rate here.
    """
    if not len(labels):
        return None
    coverage, risk, _ = risk_coverage(labels, probabilities, threshold)
    answered = np.rint(coverage * len(labels))
    each = np.arange(1, len(labels) + 1)
    errors = np.interp(each, np.append(0, answered), np.append(0, np.rint(risk * answered)))
    return float((errors / each).mean())


def unsure_flags(probabilities: Scores, band: Interval) -> Flags:
    """Say which images lie in the unsure band, (N,): from its low end on, short of its high."""
    return (probabilities >= band[0]) & (probabilities < band[1])
