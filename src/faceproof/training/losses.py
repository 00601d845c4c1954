"""The training loss."""

import torch
from torch import Tensor
from torch.nn import functional as F


def weighted_bce(logits: Tensor, labels: Tensor, class_weights: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of a batch, each image weighted by its class.

    Args:
        logits: (B,) float32; positive means the positive class.
        labels: (B,) int64, 0 or 1.
        class_weights: (2,) weights of the negative and the positive class.
    """
    weights = class_weights[labels]
    return F.binary_cross_entropy_with_logits(logits, labels.to(torch.float32), weights)
