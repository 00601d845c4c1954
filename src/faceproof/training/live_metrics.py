"""The live metrics of an epoch, by torchmetrics, over all its images at once."""

import math
from collections.abc import Callable
from typing import Any

import torch
from scipy import special
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import BinaryAveragePrecision, BinaryROC
from torchmetrics.functional import classification as tm
from torchmetrics.utilities import dim_zero_cat

from faceproof.evaluation.metrics import METRICS, metrics_shown
from faceproof.evaluation.scores import LabelledScores, WeightedScores

DECISIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "accuracy": tm.binary_accuracy,
    "precision": tm.binary_precision,
    "recall": tm.binary_recall,
    "f1": tm.binary_f1_score,
    "jaccard": tm.binary_jaccard_index,
}


def live_metrics(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return every metric that is shown in training but the loss, in the order of the list.

    Images are called positive above a logit of zero. Logits are ranked as they are: a sigmoid, as
    torchmetrics applies by itself, makes ties of large ones and depends on the batch. Where one
    class is absent the ranking metrics are undefined, NaN. A metric that torchmetrics does not have
    is computed by its own record. Logits are (N,) float32, labels (N,) int64 of 0 and 1.
    """
    names = [metric.name for metric in metrics_shown("training") if metric.name != "loss"]
    calls = (logits > 0).long()
    found = {name: compute(calls, labels) for name, compute in DECISIONS.items() if name in names}
    found |= _ranking_metrics(logits, labels)
    if others := [name for name in names if name not in found]:
        found |= _recorded_metrics(others, logits, labels)
    return {name: found[name] for name in names}


def _ranking_metrics(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    if labels.min() == labels.max():
        undefined = torch.tensor(float("nan"), device=logits.device)
        return dict.fromkeys(("roc_auc", "average_precision", "eer"), undefined)
    curve = BinaryROC(normalization=None)
    curve.update(logits, labels)
    false_rate, true_rate, _ = curve.compute()
    precision = BinaryAveragePrecision(normalization=None)
    precision.update(logits, labels)
    return {
        "roc_auc": torch.trapezoid(true_rate, false_rate),
        "average_precision": precision.compute(),
        "eer": _equal_error_rate(false_rate, 1 - true_rate),
    }


def _recorded_metrics(names: list[str], logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return metrics as their records define them; undefined is NaN."""
    values = logits.double().cpu().numpy()
    columns = labels.cpu().numpy(), values, special.expit(values), values > 0
    scores = WeightedScores(LabelledScores.from_arrays(*columns))
    found = {name: METRICS[name](scores) for name in names}
    return {
        name: torch.tensor(math.nan if value is None else value, device=logits.device)
        for name, value in found.items()
    }


def _equal_error_rate(false_positive: Tensor, false_negative: Tensor) -> Tensor:
    """Return the rate at which the two error rates cross, between the points of the ROC curve."""
    gap = false_positive - false_negative  # rises from -1 to 1
    after = int(torch.argmax((gap >= 0).int()))
    before = max(after - 1, 0)
    share = -gap[before] / (gap[after] - gap[before]).clamp_min(torch.finfo(gap.dtype).tiny)
    return false_positive[before] + share * (false_positive[after] - false_positive[before])


class MeanLoss(Metric):
    """The mean loss of an epoch's images, over all processes.

    torchmetrics' own mean checks every value for NaN, which waits for the GPU; with that check off,
    its version 1.9 ignores the weights.
    """

    full_state_update = False
    total: Tensor
    number: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", default=torch.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("number", default=torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, loss: Tensor, number: int) -> None:
        """Add the mean loss of so many images."""
        self.total += loss * number
        self.number += number

    def compute(self) -> Tensor:
        """Return the mean; NaN without an image."""
        return self.total / self.number


class EpochMetrics(Metric):
    """Collects logits and labels of an epoch, over all processes, and computes `live_metrics`."""

    full_state_update = False
    logits: list[Tensor]
    labels: list[Tensor]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("logits", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: (B,) float32 logits, (B,) labels."""
        self.logits.append(logits.detach())
        self.labels.append(labels)

    def scores(self) -> tuple[Tensor, Tensor]:
        """Return the logits and labels so far, (N,) each."""
        return dim_zero_cat(self.logits), dim_zero_cat(self.labels)

    def compute(self) -> dict[str, Tensor]:
        """Return the metrics of everything since the last reset."""
        return live_metrics(*self.scores())
