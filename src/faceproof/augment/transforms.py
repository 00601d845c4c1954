"""Random augmentation of training images: flips, an affine warp, and colour.

Every image gets its own parameters, which are a function of (seed, epoch, image). No generator
holds a state, so that the order of batches, the number of workers and a resume change nothing. It
runs on the device of the batch; what runs on each image in the loader before is in `in_loader`.
"""

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from faceproof.augment.by_name import named_transforms
from faceproof.augment.web import WebAugment
from faceproof.errors import FaceproofError
from faceproof.settings import SWITCH, Rule, check, is_number

# Multipliers below 2^31 keep products of 32-bit words within int64. From Chris Wellons'
# hash-prospector (public domain), the least biased two-round pair known there.
MIX = ((16, 0x21F0AAAD), (15, 0x735A2D97))
MASK = 0xFFFFFFFF
NUM_DRAWS = 10
BY_NAME = Rule(lambda value: isinstance(value, WebAugment), "probabilities and ranges, by name")
LISTED = Rule(lambda value: isinstance(value, tuple), "a list of transforms")
IN_LOADER = ("web", "torchvision", "same_in_pairs")  # the settings of `LoaderAugment`


def _mix(word: Tensor) -> Tensor:
    """Scramble 32-bit words held in int64."""
    for shift, factor in MIX:
        word = ((word ^ (word >> shift)) * factor) & MASK
    return word ^ (word >> 15)


def uniforms(seed: int, epoch: int, index: Tensor, num: int) -> Tensor:
    """Draw `num` numbers for each image, a function of (seed, epoch, index) alone.

    `index`, (B,) int64, are the images' rows in their table; the result is (B, num) float32,
    uniform in [0, 1).
    """
    word = torch.full_like(index, seed & MASK)
    for part in (torch.full_like(index, epoch), index & MASK, index >> 32):
        word = _mix(word ^ _mix(part + 0x9E3779B9 & MASK))
    columns = torch.arange(1, num + 1, device=index.device)
    # float32 holds 24 bits exactly
    return (_mix(word[:, None] ^ _mix(columns)) >> 8).float() / 2**24


@dataclass(frozen=True)
class Augment:
    """Ranges of random changes; zero switches a change off.

    Geometry is one affine warp with reflected borders: black corners would show what was turned.
    Colour changes are those of torchvision's ColorJitter, before normalisation.

    Args:
        horizontal_flip: probability.
        vertical_flip: probability.
        rotation: degrees, to either side.
        translation: share of the image's side, in either direction.
        zoom: scale within 1 - zoom to 1 + zoom.
        brightness: factor within 1 - brightness to 1 + brightness.
        contrast: likewise, about the image's mean grey.
        saturation: likewise, about each pixel's grey.
        hue: turn of the chroma plane, as a share of a full turn, to either side.
        strength: factor on every range from rotation to hue, but not on probabilities.
        web: what images suffer on the web, done to each in the loader, before it is resized.
        torchvision: transforms of torchvision.transforms.v2 that come after that, each by its
            name, its arguments, and the probability with which it changes an image (1 if not
            given), as `{name: RandomPosterize, bits: 4, probability: 0.3}`.
        same_in_pairs: whether images of one pair, as a fake and its original, get the same draws of
            `web` and `torchvision` in an epoch, and, where they stand side by side in a batch
            (`loader.sampler=paired`, `synthesis`), of all else.
    """

    horizontal_flip: float = 0.0
    vertical_flip: float = 0.0
    rotation: float = 0.0
    translation: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    strength: float = 1.0
    web: WebAugment = field(default_factory=WebAugment)
    torchvision: tuple[Mapping[str, Any], ...] = ()
    same_in_pairs: bool = True

    def __post_init__(self) -> None:
        check(self, web=BY_NAME, torchvision=LISTED, same_in_pairs=SWITCH)
        named_transforms(self.torchvision)
        ranges = {name: value for name, value in vars(self).items() if name not in IN_LOADER}
        numbers = all(is_number(value) for value in ranges.values())
        for name, value in ranges.items():
            limit = {"rotation": 360, "strength": 1000}.get(name, 1)
            ranged = name not in ("horizontal_flip", "vertical_flip", "strength")
            reach = value * self.strength if numbers and ranged else value
            if (
                not is_number(value)
                or not 0 <= reach <= limit
                or value < 0
                or (name == "zoom" and reach == 1)
            ):
                raise FaceproofError(
                    f"augment.{name} = {value} must lie between 0 and 1, and so must a range times "
                    f"augment.strength = {self.strength} (zoom below 1; rotation is in degrees, "
                    "at the most 360; strength at the most 1000)"
                )

    @property
    def changes(self) -> bool:
        """Say whether any change is switched on."""
        return self.on_device or self.in_loader

    @property
    def on_device(self) -> bool:
        """Say whether a batch is changed, on its device."""
        ranged = self.strength and self.has_range
        return bool(self.horizontal_flip or self.vertical_flip or ranged)

    @property
    def in_loader(self) -> bool:
        """Say whether each image is changed in the loader; see `LoaderAugment`."""
        return self.web.changes or bool(self.torchvision)

    @property
    def has_range(self) -> bool:
        """Say whether there is a range that `strength` multiplies."""
        ranges = (self.rotation, self.translation, self.zoom, self.brightness, self.contrast)
        return any((*ranges, self.saturation, self.hue))

    def __call__(self, images: Tensor, seed: int, epoch: int, index: Tensor) -> Tensor:
        """Return the augmented images, (B, 3, H, W) float in [0, 1] like the given ones."""
        draws = uniforms(seed, epoch, index, NUM_DRAWS)
        for dim, chance, draw in ((3, self.horizontal_flip, 0), (2, self.vertical_flip, 1)):
            if chance:
                flip = (draws[:, draw] < chance)[:, None, None, None]
                images = torch.where(flip, images.flip(dim), images)
        if not self.strength:
            return images
        signed = (draws * 2 - 1) * self.strength  # every range below is linear in its draw
        if self.rotation or self.translation or self.zoom:
            images = self._warp(images, signed[:, 2:6])
        if self.brightness or self.contrast or self.saturation or self.hue:
            images = self._recolour(images, signed[:, 6:10])
        return images

    def _warp(self, images: Tensor, draws: Tensor) -> Tensor:
        """Rotate, scale and shift about the centre; `draws`, (B, 4), are within ±strength."""
        angle = draws[:, 0] * math.radians(self.rotation)
        scale = 1 / (1 + draws[:, 1] * self.zoom)
        shift = 2 * self.translation * draws[:, 2:4]  # the sampling grid spans -1 to 1
        cos, sin = angle.cos() * scale, angle.sin() * scale
        rows = [cos, -sin, shift[:, 0], sin, cos, shift[:, 1]]
        theta = torch.stack(rows, dim=1).view(-1, 2, 3)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        warped: Tensor = F.grid_sample(
            images, grid.to(images.dtype), padding_mode="reflection", align_corners=False
        )
        return warped

    def _recolour(self, images: Tensor, draws: Tensor) -> Tensor:
        """Change brightness, contrast, saturation, hue; `draws`, (B, 4), are within ±strength."""
        brightness, contrast, saturation = (
            1 + draws[:, column] * extent
            for column, extent in enumerate((self.brightness, self.contrast, self.saturation))
        )
        matrix = _chroma_matrix(saturation, draws[:, 3] * self.hue * 2 * math.pi)
        matrix = matrix * brightness[:, None, None]
        images = torch.einsum("bij,bjhw->bihw", matrix.to(images.dtype), images)
        grey = _constants(images.device, images.dtype)[0].view(1, 3, 1, 1)
        mean = (images * grey).sum(1, keepdim=True).mean((2, 3), keepdim=True)
        changed: Tensor = mean + (images - mean) * contrast[:, None, None, None]
        return changed.clamp(0, 1)


GREY = torch.tensor([0.299, 0.587, 0.114])  # ITU-R BT.601 luma
TO_YIQ = torch.tensor(
    [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]]
)
TO_RGB = torch.linalg.inv(TO_YIQ)


@functools.cache
def _constants(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Return grey, TO_YIQ and TO_RGB on a device; each copy to a GPU would wait for it."""
    return GREY.to(device, dtype), TO_YIQ.to(device, dtype), TO_RGB.to(device, dtype)


def _chroma_matrix(saturation: Tensor, angle: Tensor) -> Tensor:
    """Return (B, 3, 3) matrices that scale and turn the chroma plane of YIQ; luma stays."""
    _, to_yiq, to_rgb = _constants(saturation.device, saturation.dtype)
    middle = torch.zeros(len(saturation), 3, 3, device=saturation.device)
    middle[:, 0, 0] = 1
    middle[:, 1, 1] = middle[:, 2, 2] = saturation * angle.cos()
    middle[:, 2, 1] = saturation * angle.sin()
    middle[:, 1, 2] = -middle[:, 2, 1]
    matrix: Tensor = to_rgb @ middle @ to_yiq
    return matrix
