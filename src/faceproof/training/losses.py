"""The training loss."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # logits, labels and class weights to a number


def weighted_bce(logits: Tensor, labels: Tensor, class_weights: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of a batch, each image weighted by its class.

    Logits are (B,) float32, labels (B,) int64 of 0 and 1; `class_weights` are (2,), that of the
    negative class first.
    """
    weights = class_weights[labels]
    return F.binary_cross_entropy_with_logits(logits, labels.to(torch.float32), weights)
