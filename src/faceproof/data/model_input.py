"""Turn decoded images into the tensors that networks take: resize or crop, and scale to [0, 1].

Training, evaluation and everything that serves go through these functions, so that a network sees
the same numbers everywhere.

Resizing blurs the traces that a generator leaves in the pixels, and adds some of its own. Wang et
al. 2020, "CNN-generated images are surprisingly easy to spot... for now" (arXiv:1912.11035), train
on random crops and judge the middle. The mean over the middle, the corners and their mirror images:
Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks".
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from faceproof.data.draws import OF_CROPS
from faceproof.data.image_io import Pixels

# Longer side by shorter of an image that is enlarged: one row of pixels would become gigabytes.
MAX_ASPECT = 8


class Input(Protocol):
    """What says how a network wants its images; `models.detector.ImageInput` is one."""

    @property
    def size(self) -> int:
        """The side of what the network takes, in pixels."""

    @property
    def interpolation(self) -> str:
        """How an image is resized."""

    @property
    def mode(self) -> str:
        """`resize`, `crop` or `tiles`."""

    @property
    def resize_to(self) -> int | None:
        """The shorter side before cropping, in pixels."""

    @property
    def tiles(self) -> int | None:
        """How many crops an image is judged by, where it is not by one."""


class Crop(NamedTuple):
    """How squares are cut out of an image, their pixels as they are.

    Of an image that is smaller than a square, the rest is its mirror image, so that no pixel is
    interpolated.

    Attributes:
        resize_to: the shorter side, in pixels, to which the image is resized before; None for none.
        tiles: how many squares: 5 for the middle and the corners, a square number for an even grid;
            None for the middle alone.
    """

    resize_to: int | None = None
    tiles: int | None = None


class Fit(NamedTuple):
    """How an image is brought to a network's size: side in pixels, and resize or crop."""

    size: int
    interpolation: str
    crop: Crop | None = None  # None for resizing the whole image


def fit_of(input: Input, tiles: bool = True) -> Fit:
    """Return how images are fitted where they are judged; without `tiles`, by the middle alone."""
    if input.mode == "resize":
        return Fit(input.size, input.interpolation)
    crop = Crop(input.resize_to, input.tiles if tiles else None)
    return Fit(input.size, input.interpolation, crop)


def fit_image(
    image: Pixels | Tensor, size: int, interpolation: str, crop: Crop | None = None
) -> Tensor:
    """Resize (3, H, W) uint8 to (3, size, size), whatever its aspect, with antialiasing.

    With `crop`, cut out (3, size, size), or of N tiles (N, 3, size, size). An image of that size is
    returned as it is. Tensors may have a batch dimension in front.
    """
    tensor = image if isinstance(image, Tensor) else torch.from_numpy(image)
    if crop is not None:
        whole = resized_for_crops(tensor, crop, interpolation)
        cuts = [_cut(whole, *place, size) for place in _places(_room(whole, size), crop.tiles)]
        return cuts[0] if crop.tiles is None else torch.stack(cuts, -4)
    if tensor.shape[-2:] == (size, size):
        return tensor
    mode = InterpolationMode(interpolation)
    fitted: Tensor = F.resize(tensor, [size, size], mode, antialias=True)
    return fitted


@dataclass(frozen=True)
class RandomCrop:
    """Cuts a square at random out of each training image: a function of (seed, epoch, image).

    Attributes:
        fit: side of the square, and how the image is resized before.
        seed: of the places.
        drawn_by: numbers that stand for a row; two rows with the same get the same place.
        before: what changes the whole image first, such as `augment.in_loader.LoaderAugment`.
        through: given a row and a number from 0 to 1, a point that the square must hold, x and y in
            shares of the image's sides, or None: outside of what was changed in a self-blended
            image it is the image itself, and a square of that would be one image with two labels.
    """

    fit: Fit
    seed: int
    drawn_by: Callable[[int], tuple[int, ...]] = lambda row: (row,)
    before: Callable[[Pixels, int, int], Pixels] | None = None
    through: Callable[[int, float], tuple[float, float] | None] | None = None

    def __call__(self, image: Pixels, epoch: int, row: int) -> Pixels:
        """Return the square of a row's image in an epoch, (3, S, S) uint8."""
        if self.before is not None:
            image = self.before(image, epoch, row)
        size, interpolation, crop = self.fit
        whole = resized_for_crops(torch.from_numpy(image), crop or Crop(), interpolation)
        generator = np.random.default_rng((self.seed, epoch, OF_CROPS, *self.drawn_by(row)))
        draws, point = generator.random(2), None
        if self.through is not None:
            point = self.through(row, float(generator.random()))
        across, down = (None, None) if point is None else point
        height, width = whole.shape[-2:]
        top, left = (
            _drawn(draw, side, size, share)
            for draw, side, share in zip(draws, (height, width), (down, across), strict=True)
        )
        return _cut(whole, top, left, size).numpy()


def _drawn(draw: float, side: int, size: int, share: float | None) -> int:
    """Return where a square begins along a side that is drawn from 0 to 1; it holds the share."""
    first, last = 0, max(side - size, 0)
    if share is not None:
        place = min(max(int(share * side), 0), side - 1)
        first, last = min(max(place - size + 1, first), last), min(place, last)
    return first + int(draw * (last - first + 1))


def resized_for_crops(image: Tensor, crop: Crop, interpolation: str) -> Tensor:
    """Return an image, (..., H, W), that crops can be cut out of."""
    if crop.resize_to is None:
        return image
    height, width = image.shape[-2:]
    if (shorter := min(height, width)) < crop.resize_to:
        longest = MAX_ASPECT * shorter
        image = F.center_crop(image, [min(height, longest), min(width, longest)])
    mode = InterpolationMode(interpolation)
    resized: Tensor = F.resize(image, [crop.resize_to], mode, antialias=True)
    return resized


def _room(image: Tensor, size: int) -> tuple[int, int]:
    """Return how far down and how far to the right a square can begin."""
    height, width = image.shape[-2:]
    return max(height - size, 0), max(width - size, 0)


def _places(room: tuple[int, int], tiles: int | None) -> list[tuple[int, int]]:
    """Return where squares begin, from the top and from the left."""
    middle = (room[0] // 2, room[1] // 2)
    if tiles is None:
        return [middle]
    if tiles == 5:
        return [middle, *((top, left) for top in (0, room[0]) for left in (0, room[1]))]
    side = math.isqrt(tiles)
    tops, lefts = ([step * free // (side - 1) for step in range(side)] for free in room)
    return [(top, left) for top in tops for left in lefts]


def _cut(image: Tensor, top: int, left: int, size: int) -> Tensor:
    """Return a square of (..., H, W) as (..., size, size); its memory is its own."""
    return _part(_part(image, -2, top, size), -1, left, size).clone()


def _part(image: Tensor, dim: int, start: int, size: int) -> Tensor:
    """Return so many pixels along a dimension; what is too short is continued by mirror images."""
    lacking = size - image.shape[dim]
    if lacking <= 0:
        return image.narrow(dim, start, size)
    before = lacking // 2
    pixels = np.pad(np.arange(image.shape[dim]), (before, lacking - before), "reflect")
    return image.index_select(dim, torch.from_numpy(pixels))


def to_unit(images: Tensor) -> Tensor:
    """Convert (B, 3, H, W) uint8 to float32 in [0, 1], channels last."""
    return images.to(torch.float32, memory_format=torch.channels_last).div_(255)


def views(images: Tensor, tta: str) -> list[Tensor]:
    """Return what a network looks at, each (B, 3, S, S): the images, or the N tiles of each.

    Images are (B, 3, S, S), tiles (B, N, 3, S, S). With `tta` as `flip` their mirror images follow.
    """
    plain = list(images.unbind(1)) if images.ndim == 5 else [images]
    return plain + [view.flip(-1) for view in plain] if tta == "flip" else plain


def average_views(net: Callable[[Tensor], Tensor], images: Tensor, tta: str) -> Tensor:
    """Return the mean over an image's views of what a network gives: logits, and maybe novelties.

    It is (B,) or (B, D), as `net` gives it for (B, 3, S, S); for `images` and `tta` see `views`.
    Each view is a pass of `net` over B images, so that no image depends on the others and the
    memory is that of one pass. Calibration, and the limit of novelty, come after the mean and are
    fitted to such means.
    """
    found = [net(view) for view in views(images, tta)]
    return found[0] if len(found) == 1 else torch.stack(found).mean(0)
