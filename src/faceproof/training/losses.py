"""The training loss and its class weights."""

import pyarrow as pa
import torch
from torch import Tensor
from torch.nn import functional as F

from faceproof.data.table import counts
from faceproof.task import Task


def weighted_bce(logits: Tensor, labels: Tensor, class_weights: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of a batch, each image weighted by its class.

    Args:
        logits: (B,) float32; positive means the positive class.
        labels: (B,) int64, 0 or 1.
        class_weights: (2,) weights of the negative and the positive class.
    """
    weights = class_weights[labels]
    return F.binary_cross_entropy_with_logits(logits, labels.to(torch.float32), weights)


def class_weights(
    rows: pa.Table, task: Task, wanted: str | tuple[float, float]
) -> tuple[float, float]:
    """Return the weights of the negative and the positive class.

    Args:
        rows: the training rows of the image table.
        task: the task.
        wanted: `none`; `balanced`, by which the weights average 1 over the images; or the weights.
    """
    if wanted == "none":
        return 1.0, 1.0
    if wanted == "balanced":
        present = counts(rows, "label")
        negative, positive = (rows.num_rows / (2 * present[(name,)]) for name in task.classes)
        return negative, positive
    return float(wanted[0]), float(wanted[1])
