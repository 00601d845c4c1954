"""Corruptions for robustness evaluations: JPEG, blur, noise and others, in fixed levels.

A corruption changes a decoded image before it is resized to a model's input. Noise is a function
of the image's name alone, so that two detectors see the same corrupted image.
"""

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from faceproof.data.image_io import Pixels
from faceproof.errors import FaceproofError

NEUTRAL_SIDE = 256  # pixels
NEUTRAL_QUALITY = 90


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption at one level.

    | kind       | level                                                              |
    |------------|--------------------------------------------------------------------|
    | none       | ignored                                                            |
    | neutral    | JPEG quality, after a resize of every image to 256 x 256           |
    | jpeg       | JPEG quality                                                       |
    | resize     | scale of a reduction, after which the old size is restored         |
    | blur       | standard deviation of a Gaussian, in pixels                        |
    | noise      | standard deviation of Gaussian noise, in grey levels of 255        |
    | brightness | factor                                                             |
    | screenshot | number of times the image is shown, grabbed and encoded again      |
    """

    kind: str
    level: float

    def __post_init__(self) -> None:
        if self.kind not in CHANGES:
            raise FaceproofError(
                f"there is no corruption {self.kind!r}; choose one of {', '.join(CHANGES)}"
            )

    def __str__(self) -> str:
        return self.kind if self.kind == "none" else f"{self.kind} {self.level:g}"

    def __call__(self, image: Pixels, name: str) -> Pixels:
        """Return the corrupted (3, H, W) uint8; `name`, the image's path, seeds what is random."""
        opened = Image.fromarray(image.transpose(1, 2, 0))
        changed = CHANGES[self.kind](opened, self.level, name)
        return np.ascontiguousarray(np.array(changed).transpose(2, 0, 1))


def _jpeg(image: Image.Image, quality: float, name: str) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(quality))
    return Image.open(file, formats=["JPEG"]).convert("RGB")


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
    """Show an image larger and brighter, grab it and send it on, `times` times."""
    size = image.size
    for _ in range(int(times)):
        shown = _brightness(_scaled(image, 1.3), 1.03, name)
        image = _jpeg(_scaled(_jpeg(shown, 85, name), 0.6), 75, name)
    return image.resize(size, Image.Resampling.BICUBIC)


def _neutral(image: Image.Image, quality: float, name: str) -> Image.Image:
    square = image.resize((NEUTRAL_SIDE, NEUTRAL_SIDE), Image.Resampling.BICUBIC)
    return _jpeg(square, quality, name)


CHANGES: dict[str, Callable[[Image.Image, float, str], Image.Image]] = {
    "none": lambda image, level, name: image,
    "neutral": _neutral,
    "jpeg": _jpeg,
    "resize": _resize,
    "blur": _blur,
    "noise": _noise,
    "brightness": _brightness,
    "screenshot": _screenshot,
}

NEUTRAL = {"jpeg": Corruption("neutral", NEUTRAL_QUALITY)}

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


def robustness_corruptions(name: str) -> list[Corruption]:
    """Return all corruptions of a named set of levels."""
    if name not in LEVELS:
        raise FaceproofError(f"robustness={name} must be one of {', '.join(LEVELS)}")
    return [Corruption(kind, level) for kind, levels in LEVELS[name].items() for level in levels]


def neutral_corruption(name: str) -> Corruption:
    """Return the corruption that gives all images the same size and encoding."""
    if name not in NEUTRAL:
        raise FaceproofError(f"neutral={name} must be one of {', '.join(NEUTRAL)}")
    return NEUTRAL[name]
