"""What the images of the demo data set are drawn with: colours, masks, noise, light and optics.

Nothing here is a photograph. The images have what a detector of forgeries looks at: shaded shapes
with soft edges, fine texture with the spectrum of natural images, one light for the whole scene,
and optics of a sharpness that differs from image to image.

Images are (3, SIDE, SIDE) float32 in [0, 1], masks (SIDE, SIDE) float32 in [0, 1], and colours
(3, 1, 1), so that all three broadcast. Lengths are halves of the image's side, x grows to the right
and y downward, and the middle is 0, 0.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

SIDE = 144
PIXEL = 2 / SIDE
_AXIS = ((np.arange(SIDE) + 0.5) * PIXEL - 1).astype(np.float32)
X, Y = np.meshgrid(_AXIS, _AXIS)


def rgb(red: float, green: float, blue: float) -> Array:
    """Return a colour, (3, 1, 1)."""
    return np.array([red, green, blue], np.float32)[:, None, None]


def palette(words: str) -> list[Array]:
    """Return colours, written as hexadecimal red, green and blue."""
    numbers = [bytes.fromhex(word) for word in words.split()]
    return [rgb(r / 255, g / 255, b / 255) for r, g, b in numbers]


SKINS = palette("f8d1ba e8b896 cc946e 9e6b4a 66422e")


@dataclass(frozen=True)
class Pose:
    """Where a head stands in the image: its middle, size and tilt (in radians)."""

    x: float
    y: float
    scale: float
    tilt: float

    def to_face(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Image coordinates to face coordinates, where an ear stands near u = +-0.45."""
        dx, dy = (x - self.x) / self.scale, (y - self.y) / self.scale
        cos, sin = float(np.cos(self.tilt)), float(np.sin(self.tilt))
        return dx * cos + dy * sin, dy * cos - dx * sin

    def to_image(self, u: Array, v: Array) -> tuple[Array, Array]:
        """Face coordinates to image coordinates."""
        cos, sin = float(np.cos(self.tilt)), float(np.sin(self.tilt))
        dx, dy = u * cos - v * sin, u * sin + v * cos
        return self.x + self.scale * dx, self.y + self.scale * dy


def smoothstep(low: float, high: float, value: Array) -> Array:
    """Rise from 0 at `low` to 1 at `high`; exactly 0 and 1 outside. `low` may be the larger."""
    t: Array = ((value - low) / (high - low)).clip(0, 1)
    return t * t * (3 - 2 * t)


def inside(distance: Array, softness: float = 1.6 * PIXEL) -> Array:
    """Turn a signed distance (negative inside) into a mask with a soft edge."""
    mask: Array = (0.5 - distance / softness).clip(0, 1)
    return mask


def ellipse(u: Array, v: Array, a: float | Array, b: float) -> Array:
    """Roughly the signed distance to an ellipse with half axes `a` (a number or a map) and `b`."""
    radius: Array = np.hypot(u / a, v / b)
    return (radius - 1) * min(float(np.max(a)), b)


def mix(under: Array, over: Array, mask: Array) -> Array:
    """Lay a colour or an image over an image where `mask` is 1."""
    return under + mask * (over - under)


@cache
def _filter(exponent: float) -> Array:
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE))
    frequency[0, 0] = np.inf
    spectrum: Array = (frequency**-exponent).astype(np.float32)
    return spectrum


def noise(rng: np.random.Generator, exponent: float) -> Array:
    """(SIDE, SIDE) noise of mean 0 and deviation 1 whose amplitude falls as 1 / f**exponent."""
    size = (2, SIDE, SIDE // 2 + 1)
    real, imaginary = rng.standard_normal(size, dtype=np.float32) * _filter(exponent)
    field: Array = np.fft.irfft2(real + 1j * imaginary, s=(SIDE, SIDE))
    field /= field.std()
    return field


def blur(image: Array, sigma: float) -> Array:
    """Blur the last two axes with a Gaussian, mirrored at the edges."""
    radius = max(1, int(np.ceil(2.5 * sigma)))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-3)) ** 2)
    taps /= taps.sum()
    for axis in (-1, -2):
        lines = np.moveaxis(image, axis, -1)
        widths = [(0, 0)] * (image.ndim - 1) + [(radius, radius)]
        padded = np.pad(lines, widths, mode="symmetric")
        blurred = np.zeros_like(lines)
        for i, tap in enumerate(taps):
            blurred += np.float32(tap) * padded[..., i : i + SIDE]
        image = np.moveaxis(blurred, -1, axis)
    return image


def colour_between(rng: np.random.Generator, palette: list[Array]) -> Array:
    """Draw a colour between two neighbours of a palette, a little off."""
    place = rng.uniform(0, len(palette) - 1)
    low = min(int(place), len(palette) - 2)
    colour = palette[low] + (place - low) * (palette[low + 1] - palette[low])
    return (colour * rgb(*rng.uniform(0.96, 1.04, 3))).clip(0, 1)


def any_colour(rng: np.random.Generator) -> Array:
    """Draw the colour of a cloth or a wall: any hue, mostly muted."""
    return (rng.uniform(0.15, 0.85) + rgb(*rng.uniform(-0.16, 0.16, 3))).clip(0.03, 0.97)


def draw_light(rng: np.random.Generator) -> Array:
    """(3,) unit vector towards the light: from above, from either side, in front."""
    direction = np.array([rng.uniform(-0.75, 0.75), rng.uniform(-0.6, 0.05), 0.8])
    unit: Array = (direction / np.linalg.norm(direction)).astype(np.float32)
    return unit


def lambert(normal_x: Array, normal_y: Array, light: Array, depth: float) -> Array:
    """Lambert's law, wrapped around the edge as by skin: 1 in full light, 1 - depth in none."""
    normal_z: Array = np.sqrt((1 - normal_x**2 - normal_y**2).clip(0, 1))
    facing: Array = normal_x * light[0] + normal_y * light[1] + normal_z * light[2]
    return 1 - depth + depth * (0.3 + 0.7 * facing).clip(0, 1)


def background(rng: np.random.Generator, light: Array) -> Array:
    """A wall, a room or greenery out of focus."""
    one, two = any_colour(rng), any_colour(rng)
    style = rng.integers(4)
    if style == 0:  # a wall, lit from the side
        blend = 0.15 * noise(rng, 1.2)
    elif style == 1:  # blotches out of focus
        blend = 0.5 + 0.5 * noise(rng, 1.9)
    elif style == 2:  # panels, a curtain or a window
        wave = np.sin((X * rng.uniform(3, 9) + Y * rng.uniform(-0.3, 0.3)) + rng.uniform(0, 6))
        blend = smoothstep(-0.4, 0.4, wave)
    else:  # discs of light
        discs = [
            (rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.08, 0.24)) for _ in range(9)
        ]
        blend = sum((inside(ellipse(X - x, Y - y, r, r), 0.06) for x, y, r in discs),
                    start=np.zeros_like(X))  # fmt: skip
    image = mix(one, two, (0.7 * blend).clip(0, 1))
    slope: Array = 1 + rng.uniform(0, 0.22) * (light[0] * X + light[1] * Y)
    return image * (slope + rng.uniform(0.01, 0.04) * noise(rng, 0.8))


def photograph(rng: np.random.Generator, scene: Array) -> Array:
    """Optics of some sharpness, exposure, white balance and the film's grain."""
    image = blur(scene, rng.uniform(0.35, 0.75))
    image = image * (rng.uniform(0.88, 1.1) * rgb(*rng.uniform(0.96, 1.04, 3)))
    grain = rng.standard_normal((SIDE, SIDE), dtype=np.float32)
    return (image + rng.uniform(0.008, 0.016) * grain).clip(0, 1)
