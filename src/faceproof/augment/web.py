"""What images suffer on the web: compression, resizing, blur, noise, colour, and things laid over.

For training. A detector that learned from clean files alone looks for traces that an upload
destroys. Wang et al. 2020, "CNN-generated images are surprisingly easy to spot... for now"
(arXiv:1912.11035), found blur and JPEG compression in training to be what carries a detector over
to generators that it never saw.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, ImageEnhance, ImageFilter

from faceproof.data.image_io import Pixels
from faceproof.settings import SHARE, Rule, check, is_count, is_number

CHROMA = (444, 422, 420)  # JPEG's ways to keep colour: in full, halved across, halved both ways
FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
ENHANCERS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
# Height over width of what is erased, from its inverse on; Zhong et al. 2020 have 1 / 0.3.
ASPECT = 1 / 0.3
WEBP_EFFORT = 0  # of libwebp's search, the fastest: it changes the file's size more than its look


def _range(low: float, high: float, what: str, whole: bool = False) -> Rule:
    """Return the rule of a smallest and a largest value within bounds."""

    def fits(value: Any) -> bool:
        two = isinstance(value, tuple) and len(value) == 2
        each = is_count if whole else is_number
        return two and all(map(each, value)) and low <= value[0] <= value[1] <= high

    return Rule(fits, f"the smallest and the largest {what}, within {low:g} and {high:g}")


QUALITY = _range(1, 100, "quality, two whole numbers", whole=True)
RANGES = {
    "jpeg_quality": QUALITY,
    "webp_quality": QUALITY,
    "resize_scale": _range(0.05, 1, "scale"),
    "blur_sigma": _range(0, 20, "standard deviation in pixels"),
    "noise_sigma": _range(0, 128, "standard deviation in grey levels of 255"),
    "erase_area": _range(0, 0.9, "share of the area"),
    "jpeg_chroma": Rule(
        lambda value: (
            isinstance(value, tuple)
            and bool(value)
            and all(is_count(one) and one in CHROMA for one in value)
        ),
        f"a list of some of {', '.join(map(str, CHROMA))}",
    ),
}
# What changes an image by four draws in [0, 1), and more from a generator.
Step = Callable[[Image.Image, Any, np.random.Generator], Image.Image]
CHANGES = ("colour", "blur", "noise", "erase", "resize", "webp", "jpeg")  # in this order


@dataclass(frozen=True)
class WebAugment:
    """Probabilities and ranges of what happens to images on the web; a probability of 0 is off.

    It changes a decoded image before it is resized to the model's input, on the CPU, in the order
    colour, blur, noise, erasing, resizing, WebP, JPEG: that of a photo that is edited, uploaded and
    sent on. Every image has its own draws. The ranges are closed intervals, drawn from uniformly.

    Attributes:
        jpeg: probability of JPEG compression.
        jpeg_quality: smallest and largest quality.
        jpeg_chroma: the chroma subsamplings that are drawn from: some of 444, 422 and 420.
        webp: probability of lossy WebP compression.
        webp_quality: smallest and largest quality.
        resize: probability of a reduction, after which the old size is restored.
        resize_scale: smallest and largest scale of the reduction.
        blur: probability of a Gaussian blur.
        blur_sigma: smallest and largest standard deviation, in pixels.
        noise: probability of Gaussian noise.
        noise_sigma: smallest and largest standard deviation, in grey levels of 255.
        colour: probability of another brightness, contrast and saturation.
        colour_range: each is a factor within 1 - colour_range to 1 + colour_range.
        erase: probability of a rectangle of random pixels (Zhong et al. 2020, "Random Erasing Data
            Augmentation", arXiv:1708.04896).
        erase_area: smallest and largest share of the area.
    """

    jpeg: float = 0.0
    jpeg_quality: tuple[int, int] = (30, 100)
    jpeg_chroma: tuple[int, ...] = CHROMA
    webp: float = 0.0
    webp_quality: tuple[int, int] = (30, 100)
    resize: float = 0.0
    resize_scale: tuple[float, float] = (0.3, 0.9)
    blur: float = 0.0
    blur_sigma: tuple[float, float] = (0.2, 3.0)
    noise: float = 0.0
    noise_sigma: tuple[float, float] = (1.0, 10.0)
    colour: float = 0.0
    colour_range: float = 0.2
    erase: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.2)

    def __post_init__(self) -> None:
        check(self, **dict.fromkeys(CHANGES, SHARE), colour_range=SHARE, **RANGES)

    @property
    def changes(self) -> bool:
        """Say whether any change is switched on."""
        return any(probability for probability, _ in self._steps())

    def _steps(self) -> list[tuple[float, Step]]:
        """Return what is done, each with its probability, in the order of `CHANGES`."""
        return [
            (self.colour, self._colour), (self.blur, self._blur), (self.noise, self._noise),
            (self.erase, self._erase), (self.resize, self._resize), (self.webp, self._webp),
            (self.jpeg, self._jpeg),
        ]  # fmt: skip

    def __call__(self, image: Pixels, generator: np.random.Generator) -> Pixels:
        """Return the changed (3, H, W) uint8, a function of the image and the generator's state."""
        # All of them, whether needed or not: a change that is switched off moves no other's draws.
        chances, levels = generator.random(len(CHANGES)), generator.random((len(CHANGES), 4))
        changed = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        for place, (probability, change) in enumerate(self._steps()):
            if chances[place] < probability:
                # Of a state of its own: how many pixels one takes depends on the image's size.
                drawn = np.random.default_rng((place, int(levels[place, 3] * 2**53)))
                changed = change(changed, levels[place], drawn)
        return np.array(changed).transpose(2, 0, 1)

    def _colour(self, image: Image.Image, levels: Any, _: np.random.Generator) -> Image.Image:
        for enhancer, level in zip(ENHANCERS, levels, strict=False):
            image = enhancer(image).enhance(1 + self.colour_range * (2 * level - 1))
        return image

    def _blur(self, image: Image.Image, levels: Any, _: np.random.Generator) -> Image.Image:
        return image.filter(ImageFilter.GaussianBlur(_between(self.blur_sigma, levels[0])))

    def _noise(self, image: Image.Image, levels: Any, drawn: np.random.Generator) -> Image.Image:
        pixels = np.asarray(image, np.float32)
        noise = drawn.standard_normal(pixels.shape, np.float32)
        noise *= _between(self.noise_sigma, levels[0])
        return Image.fromarray((pixels + noise).round().clip(0, 255).astype(np.uint8))

    def _erase(self, image: Image.Image, levels: Any, drawn: np.random.Generator) -> Image.Image:
        pixels = np.array(image)
        height, width = pixels.shape[:2]
        root = math.sqrt(_between(self.erase_area, levels[0]))  # the side of a square of that area
        stretch = ASPECT ** ((2 * levels[1] - 1) / 2)
        high = min(round(root * height * stretch), height)
        wide = min(round(root * width / stretch), width)
        top, left = drawn.integers(0, (height - high + 1, width - wide + 1))
        filling = drawn.integers(0, 256, (high, wide, 3), np.uint8)
        pixels[top : top + high, left : left + wide] = filling
        return Image.fromarray(pixels)

    def _resize(self, image: Image.Image, levels: Any, _: np.random.Generator) -> Image.Image:
        scale = _between(self.resize_scale, levels[0])
        width, height = (max(round(side * scale), 1) for side in image.size)
        down, up = (FILTERS[int(level * len(FILTERS))] for level in levels[1:3])
        return image.resize((width, height), down).resize(image.size, up)

    def _webp(self, image: Image.Image, levels: Any, _: np.random.Generator) -> Image.Image:
        file = io.BytesIO()
        quality = _whole(self.webp_quality, levels[0])
        image.save(file, "WEBP", quality=quality, method=WEBP_EFFORT)
        return Image.open(file, formats=["WEBP"]).convert("RGB")

    def _jpeg(self, image: Image.Image, levels: Any, _: np.random.Generator) -> Image.Image:
        chroma = str(self.jpeg_chroma[int(levels[1] * len(self.jpeg_chroma))])
        quality = _whole(self.jpeg_quality, levels[0])
        data = simplejpeg.encode_jpeg(np.asarray(image), quality, "RGB", chroma, fastdct=False)
        return Image.fromarray(simplejpeg.decode_jpeg(data, "RGB"))


def _between(ends: tuple[float, float], level: float) -> float:
    """Return the value that lies so far, in [0, 1), between two ends."""
    return ends[0] + (ends[1] - ends[0]) * float(level)


def _whole(ends: tuple[int, int], level: float) -> int:
    """Return one of the whole numbers from one end to the other, both included."""
    return ends[0] + int((ends[1] - ends[0] + 1) * float(level))
