"""Statistics that do not depend on what is measured: 95 % intervals in closed form.

Pictures of one group (video, identity) are not independent trials: a hundred frames of one video
say little more than one. All intervals here count that in; `units` (N,) numbers the independent
units, and a picture without a group is a unit of its own.

Where thousands of intervals are wanted (one for every generator, source or video) these take the
place of a bootstrap, whose work would not be bounded.
"""

import math

import numpy as np
import numpy.typing as npt

Interval = tuple[float, float]
Codes = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

LEVEL = 0.95
Z = 1.959963984540054  # the normal deviate that 2.5 % exceed


def wilson(share: float, num_trials: float) -> Interval:
    """Return the score interval of a share (Wilson 1927); trials may be an effective number.

    Unlike the textbook interval it stays in [0, 1], and keeps a width where the share is 0 or 1.
    """
    shrink = 1 + Z**2 / num_trials
    centre = (share + Z**2 / (2 * num_trials)) / shrink
    spread = share * (1 - share) / num_trials + Z**2 / (4 * num_trials**2)
    half = Z * math.sqrt(spread) / shrink
    # At the ends the formula is exact, and only rounding would leave the share outside.
    return float(max(0.0, min(share, centre - half))), float(min(1.0, max(share, centre + half)))


def share_interval(flags: Flags, units: Codes) -> Interval | None:
    """Return the interval of the share of rows that are flagged; None where there are no rows."""
    if not len(flags):
        return None
    return wilson(np.count_nonzero(flags) / len(flags), _effective_number(flags, units))


def _effective_number(flags: Flags, units: Codes) -> float:
    """Return how many independent rows would tell the share as well as these do.

    The variance of the share is estimated from the sums of the units (a ratio estimate; Rao and
    Scott 1992 use it so for clustered binary data). Rows that agree throughout show no variance,
    and then each unit is taken for one trial.
    """
    _, codes = np.unique(units, return_inverse=True)
    num_rows, num_units = len(flags), int(codes.max()) + 1
    share = np.count_nonzero(flags) / num_rows
    if num_units == num_rows:
        return num_rows
    if num_units == 1 or share in (0.0, 1.0):
        return num_units
    sizes = np.bincount(codes, minlength=num_units)
    sums = np.bincount(codes[flags], minlength=num_units) - share * sizes
    variance = num_units / (num_units - 1) * float(sums @ sums) / num_rows**2
    if variance == 0:
        return num_rows
    return min(max(share * (1 - share) / variance, 1.0), num_rows)


def auc_interval(
    positives: Scores, negatives: Scores, positive_units: Codes, negative_units: Codes
) -> Interval | None:
    """Return the interval of ROC-AUC after DeLong (1988), for groups after Obuchowski (1997).

    It is made on the scale of log-odds, which keeps it in [0, 1]. Where the ranking is perfect, or
    perfectly wrong, the variance seen is zero; the interval is then that of a share with as many
    trials as the scarcer class has units, for AUC (1 - AUC) over that number bounds the variance
    (Birnbaum and Klose 1957).

    Args:
        positives: logits of the positive pictures, (P,).
        negatives: logits of the negative pictures, (N,).
        positive_units: the unit of each, (P,).
        negative_units: the unit of each, (N,).

    Returns:
        None where a class has fewer than two units.
    """
    num_units = tuple(len(np.unique(units)) for units in (positive_units, negative_units))
    if min(num_units) < 2:
        return None
    # In order of units no sum depends on the order in which the rows came.
    positives, positive_units = _by_unit(positives, positive_units)
    negatives, negative_units = _by_unit(negatives, negative_units)
    above, below = _placements(positives, negatives), 1 - _placements(negatives, positives)
    area = float(above.mean())
    if area in (0.0, 1.0):
        return wilson(area, min(num_units))
    variance = _auc_variance(above - area, below - area, positive_units, negative_units, num_units)
    half = Z * math.sqrt(variance) / (area * (1 - area))
    odds = math.log(area / (1 - area))
    return _sigmoid(odds - half), _sigmoid(odds + half)


def _by_unit(scores: Scores, units: Codes) -> tuple[Scores, Codes]:
    order = np.lexsort((scores, units))
    return scores[order], units[order]


def _placements(scores: Scores, others: Scores) -> Scores:
    """Return for each score the share of the others that lie below it; a tie counts one half."""
    ranked = np.sort(others)
    order = np.argsort(scores, kind="stable")  # searching in order is several times faster
    found = np.empty(len(scores))
    found[order] = np.searchsorted(ranked, scores[order], "left")
    found[order] += np.searchsorted(ranked, scores[order], "right")
    return found / (2 * len(others))


def _auc_variance(
    above: Scores,
    below: Scores,
    positive_units: Codes,
    negative_units: Codes,
    num_units: tuple[int, ...],
) -> float:
    """Return Obuchowski's variance from the centred placements of either class.

    Without groups it is DeLong's.
    """
    _, codes = np.unique(np.concatenate([positive_units, negative_units]), return_inverse=True)
    num_all = int(codes.max()) + 1
    of_positive = np.bincount(codes[: len(above)], above / len(above), num_all)
    of_negative = np.bincount(codes[len(above) :], below / len(below), num_all)
    with_positive, with_negative = num_units
    variance = (
        with_positive / (with_positive - 1) * float(of_positive @ of_positive)
        + with_negative / (with_negative - 1) * float(of_negative @ of_negative)
        + 2 * num_all / (num_all - 1) * float(of_positive @ of_negative)
    )
    return max(variance, 0.0)


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0
