"""The training losses, each a function of logits and labels, some with a term of the features."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from faceproof.training.loss_config import (
    AlignmentUniformityConfig,
    BceConfig,
    ClassBalancedConfig,
    FocalConfig,
    LabelSmoothingConfig,
    SupervisedContrastiveConfig,
)

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # logits, labels and class weights to a number
Term = Callable[[Tensor, Tensor], Tensor]  # unit features, (B, C), and labels to a number


def weighted_bce(logits: Tensor, labels: Tensor, class_weights: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of a batch, each image weighted by its class.

    Logits are (B,) float32, labels (B,) int64 of 0 and 1; `class_weights` are (2,), that of the
    negative class first.
    """
    weights = class_weights[labels]
    return F.binary_cross_entropy_with_logits(logits, labels.to(torch.float32), weights)


def label_smoothing(
    logits: Tensor, labels: Tensor, class_weights: Tensor, smoothing: float
) -> Tensor:
    """Return `weighted_bce` for the targets (1 - smoothing) * label + smoothing / 2.

    Szegedy et al. 2016, "Rethinking the Inception Architecture for Computer Vision"
    (arXiv:1512.00567), section 7, for two classes.
    """
    targets = (1 - smoothing) * labels.to(torch.float32) + smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, targets, class_weights[labels])


def focal(logits: Tensor, labels: Tensor, class_weights: Tensor, gamma: float) -> Tensor:
    """Return the mean of w * (1 - p)^gamma * -log(p), p the probability of an image's own class.

    Lin et al. 2017, "Focal Loss for Dense Object Detection" (arXiv:1708.02002), equation 5, with
    the weight of the image's class as w.
    """
    each = F.binary_cross_entropy_with_logits(logits, labels.to(torch.float32), reduction="none")
    # 1 - p from the logit: 1 - exp(-each) rounds to 0, whose power has no gradient below gamma 1.
    wrong = torch.sigmoid(torch.where(labels.bool(), -logits, logits))
    return (class_weights[labels] * wrong**gamma * each).mean()


def effective_weights(numbers: tuple[int, int], beta: float) -> tuple[float, float]:
    """Return weights of both classes, in inverse proportion to their effective numbers of images.

    The effective number of n images is (1 - beta^n) / (1 - beta); the weights add up to 2. Cui et
    al. 2019, "Class-Balanced Loss Based on Effective Number of Samples" (arXiv:1901.05555),
    equations 2 and 10.
    """
    negative, positive = ((1 - beta) / (1 - beta**number) for number in numbers)
    scale = 2 / (negative + positive)
    return negative * scale, positive * scale


def supervised_contrastive(features: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Return how much nearer the features of other classes are than those of the same.

    For an image i of a batch and the others of its class, P(i), it is the mean over p in P(i) of
    -log(exp(z_i z_p / t) / sum over a != i of exp(z_i z_a / t)), and of a batch the mean over the
    images that have others of their class. Khosla et al. 2020, "Supervised Contrastive Learning"
    (arXiv:2004.11362), equation 2. Features are (B, C) float32 of length 1.
    """
    if len(features) < 2:
        return features.sum() * 0
    alone = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    similar = (features @ features.T / temperature).masked_fill(alone, -torch.inf)
    shares = similar - similar.logsumexp(1, keepdim=True)
    positive = (labels[:, None] == labels) & ~alone
    number = positive.sum(1)
    each = -shares.masked_fill(~positive, 0).sum(1) / number.clamp(min=1)
    return each.sum() / (number > 0).sum().clamp(min=1)


def alignment(features: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared distance between the features of two images of one class.

    Wang and Isola 2020, "Understanding Contrastive Representation Learning through Alignment and
    Uniformity on the Hypersphere" (arXiv:2005.10242), with alpha = 2, and classes in the place of
    two views of an image.
    """
    same = (labels[:, None] == labels).triu(1)
    return (_squares(features) * same).sum() / same.sum().clamp(min=1)


def uniformity(features: Tensor, t: float) -> Tensor:
    """Return the logarithm of the mean of exp(-t d^2) over the distances d of two images.

    It is lowest for features that are spread evenly; the source is that of `alignment`.
    """
    if len(features) < 2:
        return features.sum() * 0
    first, second = torch.triu_indices(len(features), len(features), 1, device=features.device)
    return (-t * _squares(features)[first, second]).exp().mean().log()


def _squares(features: Tensor) -> Tensor:
    """Return the squared distances, (B, B), of features of length 1."""
    return 2 - 2 * (features @ features.T)


def _both(features: Tensor, labels: Tensor, balance: float, t: float) -> Tensor:
    return balance * alignment(features, labels) + (1 - balance) * uniformity(features, t)


@dataclass(frozen=True)
class FeatureLoss:
    """A loss of the logits, and `weight` times a term of the features."""

    loss: Loss
    term: Term
    weight: float

    def __call__(
        self, logits: Tensor, labels: Tensor, class_weights: Tensor, features: Tensor
    ) -> Tensor:
        """Return the loss of a batch; features are (B, C), or maps (B, C, h, w), then averaged."""
        pooled = features.flatten(2).mean(2) if features.ndim > 2 else features
        unit = F.normalize(pooled.float(), dim=1)
        return self.loss(logits, labels, class_weights) + self.weight * self.term(unit, labels)


def make_loss(config: Any) -> Loss | FeatureLoss:
    """Return the loss of its settings; a function of one's own is one already."""
    match config:
        case BceConfig():
            return weighted_bce
        case LabelSmoothingConfig():
            return functools.partial(label_smoothing, smoothing=config.smoothing)
        case FocalConfig() | ClassBalancedConfig():
            return functools.partial(focal, gamma=config.gamma) if config.gamma else weighted_bce
        case SupervisedContrastiveConfig():
            term = functools.partial(supervised_contrastive, temperature=config.temperature)
            return FeatureLoss(weighted_bce, term, config.weight)
        case AlignmentUniformityConfig():
            both = functools.partial(_both, balance=config.balance, t=config.t)
            return FeatureLoss(weighted_bce, both, config.weight)
    own: Loss = config
    return own
