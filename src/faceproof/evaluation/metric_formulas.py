"""The functions behind the metrics of `metrics.METRICS`, and the curves that some are read from.

Each is called only where it is defined, see `metrics.Metric.needs`. What depends on ranks alone is
computed from logits, because probabilities near 0 and 1 are rounded to equal values.
"""

import numpy as np

from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import Scores
from faceproof.evaluation.scores import LabelledScores, WeightedScores, bin_starts

MAX_FPR = 0.01  # of the metric tpr_at_1pct_fpr


def accuracy(scores: WeightedScores) -> float:
    """Return the share of images that are called what they are."""
    return int(np.trace(scores.confusion)) / scores.counts["image"]


def balanced_accuracy(scores: WeightedScores) -> float:
    """Return the mean of recall and specificity."""
    return (recall(scores) + specificity(scores)) / 2


def precision(scores: WeightedScores) -> float:
    """Return the share of positive images among those called positive."""
    return int(scores.confusion[1, 1]) / scores.counts["called"]


def recall(scores: WeightedScores) -> float:
    """Return the share of positive images that are called positive."""
    return int(scores.confusion[1, 1]) / scores.counts["positive"]


def specificity(scores: WeightedScores) -> float:
    """Return the share of negative images that are called negative."""
    return int(scores.confusion[0, 0]) / scores.counts["negative"]


def f1(scores: WeightedScores) -> float:
    """Return the harmonic mean of precision and recall."""
    (_, false_positive), (false_negative, true_positive) = scores.confusion.tolist()
    return float(2 * true_positive / (2 * true_positive + false_positive + false_negative))


def jaccard(scores: WeightedScores) -> float:
    """Return the true positives as a share of all images that are or are called positive."""
    (_, false_positive), (false_negative, true_positive) = scores.confusion.tolist()
    return float(true_positive / (true_positive + false_positive + false_negative))


def roc_auc(scores: WeightedScores) -> float:
    """Return the share of (positive, negative) pairs in the right order; a tie counts one half.

    Counted rather than integrated: whole numbers are exact.
    """
    true_positives, false_positives = scores.curve
    found = np.diff(true_positives, prepend=0)
    below = 2 * false_positives[-1] - false_positives
    below[1:] -= false_positives[:-1]
    return int(found @ below) / (2 * int(true_positives[-1]) * int(false_positives[-1]))


def average_precision(scores: WeightedScores) -> float:
    """Return the precision averaged over the recalls at which it is attained, uninterpolated."""
    precisions, recalls = precision_recall_curve(scores)
    return max(0.0, -float(np.sum(np.diff(recalls) * precisions[:-1])))


def equal_error_rate(scores: WeightedScores) -> float:
    """Return the rate at which false positives and false negatives are equally frequent.

    Between two attained points the ROC curve is taken as a straight line.
    """
    false_positives, true_positives = roc_curve(scores)
    # From -1 to 1, never falling; it is 0 where the two error rates meet.
    excess = false_positives + true_positives - 1
    after = int(np.argmax(excess >= 0))
    share = excess[after - 1] / (excess[after - 1] - excess[after])
    start, end = false_positives[after - 1], false_positives[after]
    return float(start + share * (end - start))


def tpr_at_fpr(scores: WeightedScores, max_fpr: float = MAX_FPR) -> float:
    """Return the best true-positive rate of a threshold with at most that false-positive rate.

    Not interpolated: it is a rate that a threshold on these images attains.
    """
    false_positives, true_positives = roc_curve(scores)
    return float(true_positives[np.searchsorted(false_positives, max_fpr, "right") - 1])


def cross_entropy(scores: LabelledScores) -> Scores:
    """Return the loss of each image in nats, (N,): log(1 + exp(-z)), z the true class's logit."""
    return np.logaddexp(0.0, np.where(scores.positive, -scores.logits, scores.logits))


def squared_error(scores: LabelledScores) -> Scores:
    """Return the squared difference between probability and class number of each image, (N,)."""
    return (scores.probabilities - scores.positive) ** 2


def loss(scores: WeightedScores) -> float:
    """Return the mean binary cross-entropy of the logits in nats."""
    return scores.mean(cross_entropy)


def brier(scores: WeightedScores) -> float:
    """Return the mean squared difference between probability and class number."""
    return scores.mean(squared_error)


def expected_calibration_error(scores: WeightedScores) -> float:
    """Return how far, on average over the images, a bin's mean probability is from its share.

    Bins hold equally many images. Chance alone keeps it above 0, see
    `reliability.calibration_error_by_chance`.
    """
    probabilities, positive, units = scores.scores.by_probability
    weights = scores.weights_of(units)
    cumulated = np.cumsum(weights)
    starts = bin_starts(probabilities, cumulated)
    # Sums of sorted values and of whole numbers: the same in any order of rows.
    said = np.add.reduceat(weights * probabilities, starts)
    was = np.add.reduceat(weights * positive, starts)
    return float(np.abs(said - was).sum() / cumulated[-1])


def roc_curve(scores: WeightedScores) -> tuple[Scores, Scores]:
    """Return false- and true-positive rates at every distinct logit, from (0, 0) to (1, 1)."""
    refuse_one_class(scores)
    true_positives, false_positives = scores.curve
    return (
        np.append(0.0, false_positives / false_positives[-1]),
        np.append(0.0, true_positives / true_positives[-1]),
    )


def precision_recall_curve(scores: WeightedScores) -> tuple[Scores, Scores]:
    """Return precision and recall at every distinct logit, from recall 1 down to (1, 0)."""
    refuse_one_class(scores)
    true_positives, false_positives = scores.curve
    called = true_positives + false_positives
    precisions = true_positives / np.maximum(called, 1, out=called)
    recalls = true_positives / true_positives[-1]
    return np.append(precisions[::-1], 1.0), np.append(recalls[::-1], 0.0)


def has_both_classes(scores: LabelledScores) -> bool:
    """Say whether there is an image of either class."""
    return bool(scores.positive.any() and not scores.positive.all())


def refuse_one_class(scores: WeightedScores) -> None:
    """Refuse to draw or measure a curve where a class is missing."""
    counts = scores.counts
    if not (counts["negative"] and counts["positive"]):
        raise FaceproofError(
            f"a curve needs images of both classes; found {counts['negative']:,} negative and "
            f"{counts['positive']:,} positive ones"
        )
