"""The one list of metrics: every report, table, monitor and interval of faceproof reads it.

A metric is a function of labels, scores and weights (`scores.WeightedScores`), with a name, a label
for people, the direction that is better, and what it needs to be defined. To add one, add a record
to `METRICS`:

    METRICS["matthews"] = Metric("matthews", "Matthews correlation", compute=..., meaning=...)

A metric that cannot be told from the images is None, "undefined": where it would divide by zero,
and where it sets the classes against each other and only one is there (precision would be 1).
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

import pyarrow as pa

from faceproof.errors import FaceproofError
from faceproof.evaluation import metric_formulas as functions
from faceproof.evaluation.scores import LabelledScores, WeightedScores
from faceproof.task import Task

Metrics = dict[str, float | None]
Direction = Literal["min", "max"]
Kind = Literal["image", "positive", "negative", "called"]  # see `WeightedScores.counts`
Place = Literal["training", "headline", "comparison", "card"]

BOTH: tuple[Kind, ...] = ("negative", "positive")
EVERYWHERE: tuple[Place, ...] = ("training", "headline", "comparison", "card")
# A metric of the parts of validation: which part, by which column, and what is computed of each.
PART = re.compile(r"(worst|mean)_(source|generator)_(.+)")


@dataclass(frozen=True)
class Metric:
    """One metric, defined once.

    Attributes:
        name: its key in settings, tables and JSON.
        label: its name for people.
        compute: called only where the metric is defined.
        meaning: one line for people; {positive} and {negative} stand for the classes, {base_rate}
            for the share of positive images.
        better: whether larger (`max`) or smaller (`min`) values are better.
        needs: kinds of images without which it is undefined, beside there being any.
        share_of: for a share of images, the kinds of images it speaks of; with the scarcest of
            them, its interval keeps a width where all resamples give 0 or all give 1. Empty for
            what is no share.
        inflated: whether noise alone makes it larger, so that its percentiles are mirrored.
        shown: where it stands beside the full table of a report: `training` logs it in every
            epoch, `headline` puts it on top of the report, `comparison` into the tables of runs
            and the terminal, `card` into the model card.
        heading: a short label for the head of a column; `label` where empty.

    Examples:
        >>> import faceproof as fp
        >>> fp.METRICS["roc_auc"].label, fp.METRICS["roc_auc"].better
        ('ROC-AUC', 'max')
    """

    name: str
    label: str
    compute: Callable[[WeightedScores], float]
    meaning: str
    better: Direction = "max"
    needs: tuple[Kind, ...] = BOTH
    share_of: tuple[Kind, ...] = ()
    inflated: bool = False
    shown: tuple[Place, ...] = ("training", "comparison", "card")
    heading: str = ""

    def __call__(self, scores: WeightedScores) -> float | None:
        """Return its value, or None where it is undefined."""
        defined = all(scores.counts[kind] for kind in ("image", *self.needs))
        return self.compute(scores) if defined else None

    @property
    def short(self) -> str:
        """Its label in the head of a column."""
        return self.heading or self.label


def measure(predictions: pa.Table, task: Task, threshold: float) -> Metrics:
    """Return every metric of the labelled rows of a predictions table; None means undefined.

    The loss is that of the logits, so calibration does not change it; Brier score and expected
    calibration error are those of the probabilities, so calibration does.

    Examples:
        >>> import faceproof as fp
        >>> data = fp.list_data("demo_faces", num_per_class=20)
        >>> predictions = fp.score_data(fp.build_model("face_cnn", weights="none"), data, "train")
        >>> metrics = fp.measure(predictions, data.task, threshold=0.5)
        >>> metrics.keys() > fp.METRICS.keys(), 0 <= metrics["accuracy"] <= 1
        (True, True)
    """
    scores = LabelledScores.from_table(predictions, task, threshold)
    return measure_scores(WeightedScores(scores), task)


def measure_scores(scores: WeightedScores, task: Task) -> Metrics:
    """Return the number of images, that of each class, and every metric."""
    counts = scores.counts
    numbers: Metrics = {
        "num_images": counts["image"],
        f"num_{task.negative}": counts["negative"],
        f"num_{task.positive}": counts["positive"],
    }
    return numbers | {name: metric(scores) for name, metric in METRICS.items()}


def metrics_shown(place: Place) -> list[Metric]:
    """Return the metrics that are shown in a place, in the order of the list."""
    return [metric for metric in METRICS.values() if place in metric.shown]


def better(monitor: str) -> Direction:
    """Say whether a monitored metric, such as val/loss, is better when smaller or when larger.

    Raises:
        FaceproofError: it is no metric of validation, so that nothing may be chosen by it.
    """
    split, _, whole = monitor.partition("/")
    part = PART.fullmatch(whole)
    name = part[3] if part else whole
    known = [metric.name for metric in metrics_shown("training")]
    if split != "val" or name not in known:
        close = get_close_matches(name or split, known, 1)
        before = whole[: part.start(3)] if part else ""
        hint = f"; did you mean val/{before}{close[0]}? Epochs" if close else ": epochs"
        raise FaceproofError(
            f"{monitor!r} cannot be monitored{hint} are chosen by metrics of validation, "
            f"{', '.join(f'val/{name}' for name in known)}, or of the worst or mean source or "
            "generator, as val/worst_source_roc_auc"
        )
    return METRICS[name].better


# The first one ranks the runs of a comparison.
# fmt: off
METRICS: dict[str, Metric] = {metric.name: metric for metric in (
    Metric(
        "roc_auc", "ROC-AUC", functions.roc_auc,
        "how often {positive} outranks {negative}, over all pairs; guessing scores 0.5",
        share_of=BOTH, shown=EVERYWHERE,
    ),
    Metric(
        "average_precision", "Average precision", functions.average_precision,
        "precision averaged over all recalls; guessing scores {base_rate}",
        share_of=BOTH, shown=EVERYWHERE, heading="AP",
    ),
    Metric(
        "accuracy", "Accuracy", functions.accuracy, "share of all images called correctly",
        needs=(), share_of=("image",), shown=EVERYWHERE,
    ),
    Metric(
        "balanced_accuracy", "Balanced accuracy", functions.balanced_accuracy,
        "mean of the two classes' shares called correctly; guessing scores 0.5",
        share_of=BOTH, shown=("headline", "card"),
    ),
    Metric(
        "precision", "Precision", functions.precision,
        "share of {positive} among those called {positive}",
        needs=(*BOTH, "called"), share_of=("called",),
    ),
    Metric(
        "recall", "Recall", functions.recall, "share of {positive} called {positive}",
        needs=("positive",), share_of=("positive",), shown=EVERYWHERE,
    ),
    Metric(
        "specificity", "Specificity", functions.specificity,
        "share of {negative} called {negative}",
        needs=("negative",), share_of=("negative",), shown=("headline",),
    ),
    Metric(
        "f1", "F1", functions.f1, "harmonic mean of precision and recall",
        share_of=BOTH, shown=("training", "comparison"),
    ),
    Metric(
        "jaccard", "Jaccard", functions.jaccard,
        "{positive} called {positive}, as a share of all that are or were called {positive}",
        share_of=BOTH, shown=("training", "comparison"),
    ),
    Metric(
        "eer", "Equal error rate", functions.equal_error_rate,
        "error rate at the threshold where both classes err equally often; lower is better",
        better="min", share_of=BOTH, shown=EVERYWHERE, heading="EER",
    ),
    Metric(
        "tpr_at_1pct_fpr", "TPR at 1% FPR", functions.tpr_at_fpr,
        "share of {positive} found if at most 1% of {negative} may be called {positive}",
        share_of=BOTH, shown=("headline", "comparison"),
    ),
    Metric(
        "loss", "Loss", functions.loss,
        "binary cross-entropy of the logits in nats; always answering 50% scores 0.6931",
        better="min", needs=(), shown=("training",),
    ),
    Metric(
        "brier", "Brier score", functions.brier,
        "mean squared error of the probability; always answering 50% scores 0.25",
        better="min", needs=(), shown=(),
    ),
    Metric(
        "rmse", "RMSE", lambda scores: math.sqrt(functions.brier(scores)),
        "square root of the Brier score", better="min", needs=(), shown=(),
    ),
    Metric(
        "ece", "Expected calibration error", functions.expected_calibration_error,
        "mean distance between probability and observed share, in bins of equally many images",
        better="min", inflated=True, shown=("card",), heading="ECE",
    ),
)}
# fmt: on
