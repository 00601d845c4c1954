"""What happens to an image between its making and its judging: re-encoding, resizing, noise.

A condition is applied to the decoded image before it is fitted to a model's input. What is random
in it is a function of the image alone, so that two detectors see the same damage.
"""

import io
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

from faceproof.errors import FaceproofError

NEUTRAL_SIDE = 256  # pixels
NEUTRAL_QUALITY = 90


@dataclass(frozen=True)
class Condition:
    """One kind of damage at one level.

    | kind       | level                                                                  |
    |------------|------------------------------------------------------------------------|
    | none       | none                                                                   |
    | neutral    | JPEG quality, after a resize to 256 x 256: all images wrapped alike  |
    | jpeg       | JPEG quality                                                           |
    | resize     | scale down, and back up again                                          |
    | blur       | standard deviation of a Gaussian, pixels                               |
    | noise      | standard deviation of Gaussian noise, grey levels of 255               |
    | brightness | factor                                                                 |
    | screenshot | how many times it was shown, grabbed and re-encoded                    |
    """

    kind: str
    level: float

    def __post_init__(self) -> None:
        if self.kind not in CHANGES:
            raise FaceproofError(
                f"there is no condition {self.kind!r}; there are {', '.join(CHANGES)}"
            )

    def __str__(self) -> str:
        return self.kind if self.kind == "none" else f"{self.kind} {self.level:g}"

    def __call__(self, image: Tensor, name: str) -> Tensor:
        """Return the damaged image, (3, H, W) uint8 as it came.

        Args:
            image: (3, H, W) uint8.
            name: what the random part is drawn by; the image's path below its data set.
        """
        opened = Image.fromarray(image.permute(1, 2, 0).numpy())
        changed = CHANGES[self.kind](opened, self.level, name)
        return torch.from_numpy(np.array(changed)).permute(2, 0, 1).contiguous()


def _jpeg(image: Image.Image, quality: float, name: str) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(quality))
    return Image.open(file).convert("RGB")


def _scaled(image: Image.Image, scale: float) -> Image.Image:
    width, height = (max(round(side * scale), 1) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _resize(image: Image.Image, scale: float, name: str) -> Image.Image:
    return _scaled(image, scale).resize(image.size, Image.Resampling.BICUBIC)


def _blur(image: Image.Image, sigma: float, name: str) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(sigma))


def _noise(image: Image.Image, sigma: float, name: str) -> Image.Image:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    pixels = np.asarray(image, np.float32)
    noisy = pixels + sigma * rng.standard_normal(pixels.shape, np.float32)
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def _brightness(image: Image.Image, factor: float, name: str) -> Image.Image:
    pixels = np.asarray(image, np.float32) * factor
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))


def _screenshot(image: Image.Image, times: float, name: str) -> Image.Image:
    """Show an image at another size, a little brighter, and grab and send it: `times` times."""
    size = image.size
    for _ in range(int(times)):
        shown = _brightness(_scaled(image, 1.3), 1.03, name)
        image = _jpeg(_scaled(_jpeg(shown, 85, name), 0.6), 75, name)
    return image.resize(size, Image.Resampling.BICUBIC)


def _neutral(image: Image.Image, quality: float, name: str) -> Image.Image:
    square = image.resize((NEUTRAL_SIDE, NEUTRAL_SIDE), Image.Resampling.BICUBIC)
    return _jpeg(square, quality, name)


CHANGES = {
    "none": lambda image, level, name: image,
    "neutral": _neutral,
    "jpeg": _jpeg,
    "resize": _resize,
    "blur": _blur,
    "noise": _noise,
    "brightness": _brightness,
    "screenshot": _screenshot,
}

NEUTRAL = {"jpeg": Condition("neutral", NEUTRAL_QUALITY)}

# From mild to strong, in this order.
LEVELS: dict[str, dict[str, tuple[float, ...]]] = {
    "standard": {
        "jpeg": (95, 85, 75, 60, 45, 30),
        "resize": (0.75, 0.5, 0.35, 0.25),
        "blur": (0.5, 1, 2, 3),
        "noise": (2, 5, 10, 20),
        "brightness": (1.25, 0.75, 1.5, 0.5),
        "screenshot": (1, 2, 3),
    },
    "quick": {"jpeg": (75, 30), "resize": (0.5, 0.25), "noise": (5, 20), "screenshot": (1, 3)},
}


def robustness_corruptions(name: str) -> list[Condition]:
    """Return the conditions of a set of levels.

    Raises:
        FaceproofError: there is no such set.
    """
    if name not in LEVELS:
        raise FaceproofError(f"robustness={name} must be one of {', '.join(LEVELS)}")
    return [Condition(kind, level) for kind, levels in LEVELS[name].items() for level in levels]


def neutral_corruption(name: str) -> Condition:
    """Return the condition that wraps all images alike.

    Raises:
        FaceproofError: there is none of that name.
    """
    if name not in NEUTRAL:
        raise FaceproofError(f"neutral={name} must be one of {', '.join(NEUTRAL)}")
    return NEUTRAL[name]
