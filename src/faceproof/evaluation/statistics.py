"""Statistics that do not depend on what is measured: 95 % intervals and tests in closed form.

Images of one group (video, identity) are not independent trials: a hundred frames of one video
say little more than one. All intervals here count that in; `units` (N,) numbers the independent
units, and an image without a group is a unit of its own. Where thousands of intervals are wanted
these take the place of a bootstrap, whose work would not be bounded.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Interval = tuple[float, float]
Codes = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

LEVEL = 0.95
SIGNIFICANCE = 0.05
Z = 1.959963984540054  # the normal deviate that 2.5 % exceed


def wilson(share: float, num_trials: float, z: float = Z) -> Interval:
    """Return the score interval of a share (Wilson 1927); trials may be an effective number.

    Unlike the textbook interval it stays in [0, 1], and keeps a width where the share is 0 or 1.
    `z` is the normal deviate of its level, here and below.
    """
    shrink = 1 + z**2 / num_trials
    centre = (share + z**2 / (2 * num_trials)) / shrink
    spread = share * (1 - share) / num_trials + z**2 / (4 * num_trials**2)
    half = z * math.sqrt(spread) / shrink
    # At the ends the formula is exact, and only rounding would leave the share outside.
    return float(max(0.0, min(share, centre - half))), float(min(1.0, max(share, centre + half)))


def share_interval(flags: Flags, units: Codes, z: float = Z) -> Interval | None:
    """Return the interval of the share of rows that are flagged; None where there are no rows."""
    if not len(flags):
        return None
    return wilson(np.count_nonzero(flags) / len(flags), _effective_number(flags, units), z)


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
    positives: Scores,
    negatives: Scores,
    positive_units: Codes,
    negative_units: Codes,
    z: float = Z,
) -> Interval | None:
    """Return the interval of ROC-AUC after DeLong (1988), for groups after Obuchowski (1997).

    It is made on the scale of log-odds, which keeps it in [0, 1]. Where the ranking is perfect, or
    perfectly wrong, the variance seen is zero; the interval is then that of a share with as many
    trials as the scarcer class has units, for AUC (1 - AUC) over that number bounds the variance
    (Birnbaum and Klose 1957). It is None where a class has fewer than two units.

    The logits and the units are (P,) of the positive images, (N,) of the negative ones.
    """
    num_units = min(len(np.unique(units)) for units in (positive_units, negative_units))
    if num_units < 2:
        return None
    # In order of units no sum depends on the order in which the rows came.
    positives, positive_units = _by_unit(positives, positive_units)
    negatives, negative_units = _by_unit(negatives, negative_units)
    above, below = placements(positives, negatives), 1 - placements(negatives, positives)
    area = float(above.mean())
    if area in (0.0, 1.0):
        return wilson(area, num_units, z)
    variance = auc_variance(above - area, below - area, positive_units, negative_units)
    half = z * math.sqrt(variance) / (area * (1 - area))
    odds = math.log(area / (1 - area))
    return _sigmoid(odds - half), _sigmoid(odds + half)


def _by_unit(scores: Scores, units: Codes) -> tuple[Scores, Codes]:
    order = np.lexsort((scores, units))
    return scores[order], units[order]


def placements(scores: Scores, others: Scores) -> Scores:
    """Return for each score the share of the others that lie below it; a tie counts one half."""
    ranked = np.sort(others)
    order = np.argsort(scores, kind="stable")  # searching in order is several times faster
    found = np.empty(len(scores))
    found[order] = np.searchsorted(ranked, scores[order], "left")
    found[order] += np.searchsorted(ranked, scores[order], "right")
    return found / (2 * len(others))


def auc_variance(
    above: Scores, below: Scores, positive_units: Codes, negative_units: Codes
) -> float:
    """Return Obuchowski's variance from the centred placements of either class.

    Without groups it is DeLong's.
    """
    _, codes = np.unique(np.concatenate([positive_units, negative_units]), return_inverse=True)
    num_all = int(codes.max()) + 1
    of_positive = np.bincount(codes[: len(above)], above / len(above), num_all)
    of_negative = np.bincount(codes[len(above) :], below / len(below), num_all)
    with_positive, with_negative = (
        len(np.unique(units)) for units in (positive_units, negative_units)
    )
    variance = (
        with_positive / (with_positive - 1) * float(of_positive @ of_positive)
        + with_negative / (with_negative - 1) * float(of_negative @ of_negative)
        + 2 * num_all / (num_all - 1) * float(of_positive @ of_negative)
    )
    return max(variance, 0.0)


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0


@dataclass(frozen=True)
class Difference:
    """What the first of two has over the second on the same rows.

    Examples:
        >>> import faceproof as fp
        >>> data = fp.list_data("demo_faces", num_per_class=20)
        >>> predictions = fp.score_data(fp.build_model("face_cnn", weights="none"), data, "train")
        >>> difference = fp.compare_scores(predictions, predictions, data.task)["accuracy"]
        >>> difference.value, difference.p_value
        (0.0, 1.0)
    """

    value: float  # the first's less the second's
    interval: Interval
    p_value: float  # how often chance alone would part two equals as far as this or farther


def auc_difference(
    first: Scores, second: Scores, positive: Flags, units: Codes
) -> Difference | None:
    """Compare two ROC-AUCs of the same rows after DeLong (1988), for groups Obuchowski (1997).

    Where every row shows the same difference (two perfect rankings, say) the variance seen is
    zero. The interval then allows, for the share of units that Wilson's interval leaves open, a
    difference of 1 either way; and the test is the sign test of the units. All columns are (N,);
    `first` and `second` are logits. The result is None where a class has fewer than two units.
    """
    # In this order no sum depends on the order in which the rows came.
    order = np.lexsort((second, first, positive, units))
    first, second, positive, units = first[order], second[order], positive[order], units[order]
    num_units = min(len(np.unique(units[of_class])) for of_class in (positive, ~positive))
    if num_units < 2:
        return None
    above, below = (
        placements(first[rows], first[others]) - placements(second[rows], second[others])
        for rows, others in ((positive, ~positive), (~positive, positive))
    )
    value = float(above.mean())
    # A step of a placement is one over twice the rows of a class: far more than this.
    if max(np.ptp(above), np.ptp(below)) < 1e-12:
        return constant_difference(round(value, 12), num_units)
    variance = auc_variance(above - value, -below - value, units[positive], units[~positive])
    if variance == 0:  # the classes' parts of mixed groups can cancel
        return constant_difference(value, num_units)
    error = math.sqrt(variance)
    interval = max(-1.0, value - Z * error), min(1.0, value + Z * error)
    return Difference(value, interval, math.erfc(abs(value) / error / math.sqrt(2)))


def constant_difference(value: float, num_units: int) -> Difference:
    """Judge a difference that all units show alike."""
    seen, _ = wilson(1.0, num_units)
    interval = seen * value - (1 - seen), seen * value + (1 - seen)
    p_value = 2 * 0.5**num_units if value else 1.0
    return Difference(value, (max(-1.0, interval[0]), min(1.0, interval[1])), p_value)


def share_difference(first: Flags, second: Flags, units: Codes) -> Difference | None:
    """Compare the shares of the same rows that two detectors flag (call correctly, say).

    The test is `swap_test`: without groups McNemar's exact one. The interval is that of Bonett and
    Price (2012), which adds a row won by either side, so that no agreement is taken for certainty;
    with groups, a unit of usual size instead of a row, and the variance between units. The result
    is None where there are no rows.
    """
    num_rows = len(first)
    if not num_rows:
        return None
    _, codes = np.unique(units, return_inverse=True)
    sizes = np.bincount(codes)
    won = np.bincount(codes[first & ~second], minlength=len(sizes))
    lost = np.bincount(codes[second & ~first], minlength=len(sizes))
    leads = won - lost
    value = int(leads.sum()) / num_rows
    usual = num_rows / len(sizes)
    whole = num_rows + 2 * usual
    centre = int(leads.sum()) / whole
    residuals = leads - centre * sizes
    variance = float(residuals @ residuals) + 2 * usual**2 * (1 + centre**2)
    half = Z * math.sqrt(variance) / whole
    low, high = max(-1.0, min(value, centre - half)), min(1.0, max(value, centre + half))
    return Difference(value, (low, high), swap_test(leads))


def mean_change(changes: Scores, units: Codes) -> Difference | None:
    """Judge the mean of what each row gained, (N,), between two measurements of it.

    Student's test of the units, whose sums give the variance (a ratio estimate). Where all units
    show the same change the variance seen is zero, and the test is the sign test of the units. The
    result is None with fewer than two units.
    """
    from scipy import stats  # not above: it takes half a second to import

    _, codes = np.unique(units, return_inverse=True)
    num_units = int(codes.max(initial=-1)) + 1
    if num_units < 2:
        return None
    changes, codes = _by_unit(changes, codes)  # so that no sum depends on the order of the rows
    value = float(changes.mean())
    sums = np.bincount(codes, changes - value)
    error = math.sqrt(num_units / (num_units - 1) * float(sums @ sums)) / len(changes)
    if error <= 1e-12 * abs(value):
        p_value = 2 * 0.5**num_units if value else 1.0
        return Difference(value, (value, value), p_value)
    half = float(stats.t.ppf((1 + LEVEL) / 2, num_units - 1)) * error
    p_value = 2 * float(stats.t.sf(abs(value) / error, num_units - 1))
    return Difference(value, (value - half, value + half), p_value)


def mcnemar(first_only: int, second_only: int) -> float:
    """Return the two-sided p-value of McNemar's exact test: rows that only one of two has right."""
    from scipy import stats  # not above: it takes half a second to import

    differing = first_only + second_only
    return float(stats.binomtest(first_only, differing).pvalue) if differing else 1.0


def swap_test(leads: Codes) -> float:
    """Return the two-sided p-value of "it makes no difference which of the two is which".

    The two are swapped within any of the units, in all ways there are, and the p-value is the share
    of these in which the total is as far from zero as here. Units that lead by one row each make it
    McNemar's exact test. `leads`, (U,), says by how many rows the first leads in each unit.
    """
    sizes, counts = np.unique(np.abs(leads[leads != 0]), return_counts=True)
    if not len(sizes):
        return 1.0
    if sizes.tolist() == [1]:
        return mcnemar(int((leads > 0).sum()), int((leads < 0).sum()))
    from scipy import signal, stats

    # How likely it is that the units which fall to the first side add up to 0, 1, 2, ... rows.
    chances = np.ones(1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        spaced = np.zeros(size * count + 1)
        spaced[::size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        chances = signal.convolve(chances, spaced)
    total = int(sizes @ counts)
    reached = (total + abs(int(leads.sum()))) // 2
    tail = float(np.maximum(chances[reached:], 0).sum())
    return min(1.0, 2 * tail)


def difference_interval(
    first: float, second: float, of_first: Interval, of_second: Interval, correlation: float
) -> Interval:
    """Return the interval of `first - second` from the interval of each (Zou and Donner 2008).

    Of two independent shares with Wilson's intervals it is Newcombe's (1998). It is as wide to
    either side as the two allow there, and so keeps a width where both are 0 or 1. `correlation`
    is that of the two estimates.
    """

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one**2 - 2 * correlation * one * other + other**2))

    value = first - second
    low = value - reach(first - of_first[0], of_second[1] - second)
    high = value + reach(of_first[1] - first, second - of_second[0])
    return max(-1.0, low), min(1.0, high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979), in the order given.

    Calling those below 0.05 real is wrong about any of them in at most 5 % of the families.
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    corrected = np.empty(len(values))
    scaled = values[order] * np.arange(len(values), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return list(corrected.tolist())
