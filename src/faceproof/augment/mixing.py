"""Two images of a batch as one, for the loss of both their labels: mixup and CutMix.

timm and torchvision mix labels to targets between 0 and 1, which few losses take. Here the loss is
computed for either label and mixed, as the authors of mixup do, so that every loss of logits can be
had. What is drawn comes from torch's generator on the CPU, which a training seeds in each step.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Beta


class Mixed(NamedTuple):
    """A batch of mixed images.

    Attributes:
        images: (B, 3, S, S) in [0, 1].
        partner: (B,) int64; which image of the batch each is mixed with.
        share: of an image itself, from a half to 1; the rest is its partner's.
    """

    images: Tensor
    partner: Tensor
    share: float


Mix = Callable[[Tensor], Mixed]  # of images, (B, 3, S, S)


def mixup(images: Tensor, alpha: float) -> Mixed:
    """Add up images and their partners.

    Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization" (arXiv:1710.09412), equation 1:
    the share is of Beta(alpha, alpha), here its larger side, which is the same of a pair.
    """
    partner, share = _draw(images, alpha)
    return Mixed(images.lerp(images[partner], 1 - share), partner, share)


def cutmix(images: Tensor, alpha: float) -> Mixed:
    """Lay a rectangle of its partner over each image, in the same place in the whole batch.

    Yun et al. 2019, "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
    Features" (arXiv:1905.04899), section 3.1; the share is that of the pixels.
    """
    partner, share = _draw(images, alpha)
    height, width = images.shape[-2:]
    y, x = (torch.rand(2) * torch.tensor([height, width])).int().tolist()
    half = math.sqrt(1 - share) / 2
    rows = slice(max(round(y - half * height), 0), round(y + half * height))
    columns = slice(max(round(x - half * width), 0), round(x + half * width))
    mixed = images.clone()
    mixed[..., rows, columns] = images[partner][..., rows, columns]
    covered = mixed[0, 0, rows, columns].numel()
    return Mixed(mixed, partner, 1 - covered / (height * width))


def _draw(images: Tensor, alpha: float) -> tuple[Tensor, float]:
    """Return a partner of each image and its own share."""
    concentration = torch.tensor(alpha, dtype=torch.float64)  # float32 is 0 where alpha is small
    share = float(Beta(concentration, concentration).sample())
    partner = torch.randperm(len(images)).to(images.device, non_blocking=True)
    return partner, max(share, 1 - share)
