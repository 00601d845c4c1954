"""Statistics that do not depend on what is measured."""

import math

import numpy as np
import numpy.typing as npt
from scipy import stats

Numbers = npt.NDArray[np.float64]


def placements(positives: Numbers, negatives: Numbers) -> tuple[Numbers, Numbers]:
    """Return each score's share of the other class that it beats, ties counting half.

    Their means are both the area under the ROC curve, and their variances its variance: DeLong,
    DeLong and Clarke-Pearson, Biometrics 44 (1988), computed by ranks as in Sun and Xu, IEEE Signal
    Processing Letters 21 (2014).

    Args:
        positives: (P,) scores of the positive class.
        negatives: (N,) scores of the negative class.

    Returns:
        (P,) and (N,) shares.
    """
    everything = stats.rankdata(np.concatenate([positives, negatives]))
    num_positive, num_negative = len(positives), len(negatives)
    above = (everything[:num_positive] - stats.rankdata(positives)) / num_negative
    below = 1 - (everything[num_positive:] - stats.rankdata(negatives)) / num_positive
    return above, below


def auc_interval(
    labels: npt.NDArray[np.int64], scores: Numbers, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return the area under the ROC curve and its DeLong interval, taken on the logit scale.

    Args:
        labels: (N,) of 0 and 1, both there.
        scores: (N,) float.
        confidence: of the interval.
    """
    above, below = placements(scores[labels == 1], scores[labels == 0])
    area = float(above.mean())
    variance = _variance_of_mean(above) + _variance_of_mean(below)
    if area in (0.0, 1.0) or variance == 0:
        return area, area, area
    width = stats.norm.ppf((1 + confidence) / 2) * math.sqrt(variance) / (area * (1 - area))
    centre = math.log(area / (1 - area))
    low, high = (1 / (1 + math.exp(-(centre + side * width))) for side in (-1, 1))
    return area, low, high


def _variance_of_mean(values: Numbers) -> float:
    return float(values.var(ddof=1) / len(values)) if len(values) > 1 else 0.25
