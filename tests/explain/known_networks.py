"""Networks of which it is known what they go by, and pictures for them."""

import html
import re
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from faceproof.evaluation.plots import figure_svg
from faceproof.models.detector import Detector, PictureInput, make_detector
from faceproof.models.heads import LinearHead
from faceproof.models.trunks import timm_trunk

SIDE = 28
CELL = 2
PATCH = slice(4, 12), slice(14, 22)  # rows and columns, whole cells

PLAIN = PictureInput(SIDE, (0, 0, 0), (1, 1, 1), "bilinear")


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


def patch_pictures(number: int, seed: int = 0) -> np.ndarray:
    """Dark noise with one bright patch, (N, 3, SIDE, SIDE): called positive because of it alone."""
    pictures = np.random.default_rng(seed).uniform(0, 0.3, (number, 3, SIDE, SIDE))
    pictures[:, :, PATCH[0], PATCH[1]] += 0.65
    return pictures.astype(np.float32)


def patch_mask() -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[PATCH] = True
    return mask


def drawn_words(figure: Figure) -> str:
    """Return all that is written in a drawing, as it is read: an SVG keeps it as text."""
    svg = figure_svg(figure)
    return " ".join(html.unescape(word) for word in re.findall(r"<text[^>]*>([^<]*)</text>", svg))


def timm_network(name: str, size: int = 64, **options: object) -> Detector:
    torch.manual_seed(0)
    plain = {"size": size, "mean": (0, 0, 0), "std": (1, 1, 1), "interpolation": "bilinear"}
    trunk = timm_trunk(name, size=size, **options)
    return make_detector(trunk, partial(LinearHead, num_outputs=1), plain).eval()
