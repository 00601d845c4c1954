"""Networks of which it is known what they go by, and images for them."""

import html
import re
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from faceproof.models.backbones import timm_backbone
from faceproof.models.detector import Detector, ImageInput
from faceproof.models.heads import LinearHead
from faceproof.reports.plots import plot_svg

SIDE = 28
CELL = 2
PATCH = slice(4, 12), slice(14, 22)  # rows and columns, whole cells

PLAIN = ImageInput(SIDE, (0, 0, 0), (1, 1, 1), "bilinear")


class Coarse(nn.Module):
    """A feature map: each channel averaged over cells of two pixels."""

    num_features = 3

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 3, 1, bias=False)
        self.pool = nn.AvgPool2d(CELL)
        with torch.no_grad():
            self.mix.weight.copy_(torch.eye(3)[:, :, None, None])

    def forward(self, images: Tensor) -> Tensor:
        return self.pool(self.mix(images))

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        return {"stem": "^mix"}


class OnePatch(nn.Module):
    """A logit that is the mean of one patch, stretched."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        side = SIDE // CELL
        weight = torch.zeros(3, side, side)
        rows, columns = (slice(part.start // CELL, part.stop // CELL) for part in PATCH)
        weight[:, rows, columns] = 20 / weight[:, rows, columns].numel()
        self.weight = nn.Parameter(weight)

    def forward(self, features: Tensor) -> Tensor:
        return (features * self.weight).sum((1, 2, 3)) - 10


def patch_network() -> Detector:
    return Detector(Coarse(), OnePatch, PLAIN).eval()


def patch_images(number: int, seed: int = 0) -> np.ndarray:
    """Dark noise with one bright patch, (N, 3, SIDE, SIDE): called positive because of it alone."""
    images = np.random.default_rng(seed).uniform(0, 0.3, (number, 3, SIDE, SIDE))
    images[:, :, PATCH[0], PATCH[1]] += 0.65
    return images.astype(np.float32)


def patch_mask() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[PATCH] = True
    return mask


def drawn_words(figure: Figure) -> str:
    """Return all that is written in a drawing, as it is read: an SVG keeps it as text."""
    svg = plot_svg(figure)
    return " ".join(html.unescape(word) for word in re.findall(r"<text[^>]*>([^<]*)</text>", svg))


def timm_network(name: str, size: int = 64, **options: object) -> Detector:
    torch.manual_seed(0)
    backbone = timm_backbone(name, size=size, **options)
    plain = ImageInput(size, (0, 0, 0), (1, 1, 1), "bilinear")
    return Detector(backbone, partial(LinearHead, num_outputs=1), plain).eval()
