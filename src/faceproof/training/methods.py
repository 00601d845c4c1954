"""What else changes a training step, as the settings choose it; see `training.method_config`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from faceproof.augment.mixing import Mix
from faceproof.training.sharpness import Sharpness


@dataclass(frozen=True)
class Distillation:
    """A term that draws a network's answers to those of a teacher.

    Hinton et al. 2015, "Distilling the Knowledge in a Neural Network" (arXiv:1503.02531),
    section 2, for two classes. The teacher sees the very images that the network sees, as Beyer et
    al. 2022 advise (arXiv:2106.05237).

    Attributes:
        teacher: (B, 3, S, S) in [0, 1] to logits, (B,).
        temperature: both logits are divided by it, so that sure answers differ too.
        weight: of the term; that of the loss of the labels is 1 less this.
    """

    teacher: Callable[[Tensor], Tensor]
    temperature: float
    weight: float

    @torch.no_grad()
    def teach(self, images: Tensor) -> Tensor:
        """Return the teacher's logits, (B,) float32, of (B, 3, S, S) in [0, 1]."""
        return self.teacher(images).float()

    def add_to(self, loss: Tensor, logits: Tensor, taught: Tensor) -> Tensor:
        """Return the loss with the term: the mean divergence from the teacher's answers.

        It is multiplied by the squared temperature, by which the gradient had become smaller.
        """
        targets, answers = (taught / self.temperature).sigmoid(), logits / self.temperature
        wrong = F.binary_cross_entropy_with_logits(answers, targets)
        own = F.binary_cross_entropy_with_logits(taught / self.temperature, targets)
        term = self.temperature**2 * (wrong - own)
        return (1 - self.weight) * loss + self.weight * term


@dataclass(frozen=True)
class Methods:
    """What a training step does beside the loss of a batch; None is left out.

    Attributes:
        mix: makes each image one of two.
        sharpness: takes the weights to where the loss is higher, for the gradient.
        distillation: a teacher, and how much it counts.
        merge: turns the network's state dict into that of the network that is used.
    """

    mix: Mix | None = None
    sharpness: Sharpness | None = None
    distillation: Distillation | None = None
    merge: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None
