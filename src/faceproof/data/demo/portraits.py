"""Images for the demo data set, drawn with numpy alone: portraits, objects and textures.

Nothing here is a photograph. The images have what a detector of forgeries lives on: shaded
shapes with soft edges, fine texture with the spectrum of natural images, one light for the whole
scene, and optics of a sharpness that differs from image to image.

Images are (3, SIDE, SIDE) float32 in [0, 1], masks (SIDE, SIDE) float32 in [0, 1], and colours
(3, 1, 1), so that all three multiply without ado. Lengths are halves of the image's side, x grows
to the right and y downward, and the middle is 0, 0.
"""

from copy import copy
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


def _palette(words: str) -> list[Array]:
    numbers = [bytes.fromhex(word) for word in words.split()]
    return [rgb(r / 255, g / 255, b / 255) for r, g, b in numbers]


_SKINS = _palette("f8d1ba e8b896 cc946e 9e6b4a 66422e")
_HAIRS = _palette("12100f 332014 5c3821 b3874f 85401f a8a6a3")
_IRISES = _palette("3d2414 614521 456b85 4d6b45")
_SHADOW = rgb(0.52, 0.42, 0.38)


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
        return (
            self.x + self.scale * (u * cos - v * sin),
            self.y + self.scale * (u * sin + v * cos),
        )


@dataclass(frozen=True)
class Portrait:
    """An image of a head, with what a forger needs to know about it."""

    image: Array
    pose: Pose
    face: Array  # mask of the skin of the face, without hair


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


def _between(rng: np.random.Generator, palette: list[Array]) -> Array:
    """Draw a colour between two neighbours of a palette, a little off."""
    place = rng.uniform(0, len(palette) - 1)
    low = min(int(place), len(palette) - 2)
    colour = palette[low] + (place - low) * (palette[low + 1] - palette[low])
    return (colour * rgb(*rng.uniform(0.96, 1.04, 3))).clip(0, 1)


def _any_colour(rng: np.random.Generator) -> Array:
    """Draw the colour of a cloth or a wall: any hue, mostly muted."""
    return (rng.uniform(0.15, 0.85) + rgb(*rng.uniform(-0.16, 0.16, 3))).clip(0.03, 0.97)


def draw_light(rng: np.random.Generator) -> Array:
    """(3,) unit vector towards the light: from above, from either side, in front."""
    direction = np.array([rng.uniform(-0.75, 0.75), rng.uniform(-0.6, 0.05), 0.8])
    unit: Array = (direction / np.linalg.norm(direction)).astype(np.float32)
    return unit


def _shade(normal_x: Array, normal_y: Array, light: Array, depth: float) -> Array:
    """Lambert's law, wrapped around the edge as by skin: 1 in full light, 1 - depth in none."""
    normal_z: Array = np.sqrt((1 - normal_x**2 - normal_y**2).clip(0, 1))
    facing: Array = normal_x * light[0] + normal_y * light[1] + normal_z * light[2]
    return 1 - depth + depth * (0.3 + 0.7 * facing).clip(0, 1)


def background(rng: np.random.Generator, light: Array) -> Array:
    """A wall, a room or greenery out of focus."""
    one, two = _any_colour(rng), _any_colour(rng)
    style = rng.integers(4)
    if style == 0:  # a wall, lit from the side
        blend = 0.15 * noise(rng, 1.2)
    elif style == 1:  # blotches out of focus
        blend = 0.5 + 0.5 * noise(rng, 1.9)
    elif style == 2:  # panels, a curtain or a window
        wave = np.sin((X * rng.uniform(3, 9) + Y * rng.uniform(-0.3, 0.3)) + rng.uniform(0, 6))
        blend = smoothstep(-0.4, 0.4, wave)
    else:  # discs of light
        blend = sum(
            (inside(ellipse(X - x, Y - y, r, r), 0.06) for x, y, r in _discs(rng, 9)),
            start=np.zeros_like(X),
        )
    image = mix(one, two, (0.7 * blend).clip(0, 1))
    slope: Array = 1 + rng.uniform(0, 0.22) * (light[0] * X + light[1] * Y)
    return image * (slope + rng.uniform(0.01, 0.04) * noise(rng, 0.8))


def _discs(rng: np.random.Generator, count: int) -> list[tuple[float, float, float]]:
    return [(rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.08, 0.24)) for _ in range(count)]


def _photograph(rng: np.random.Generator, scene: Array) -> Array:
    """Optics of some sharpness, exposure, white balance and the film's grain."""
    image = blur(scene, rng.uniform(0.35, 0.75))
    image = image * (rng.uniform(0.88, 1.1) * rgb(*rng.uniform(0.96, 1.04, 3)))
    grain = rng.standard_normal((SIDE, SIDE), dtype=np.float32)
    return (image + rng.uniform(0.008, 0.016) * grain).clip(0, 1)


class _Sitter:
    """Everything that is drawn of one person, part by part, from the back to the front."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.pose = Pose(
            x=rng.uniform(-0.1, 0.1),
            y=rng.uniform(-0.16, -0.02),
            scale=rng.uniform(1.08, 1.3),
            tilt=rng.normal(0, 0.09),
        )
        self.light = draw_light(rng)
        self.contrast = rng.uniform(0.35, 0.7)
        self.skin = _between(rng, _SKINS)
        self.hair = _HAIRS[rng.integers(len(_HAIRS))]
        self.hair = self.hair * rng.uniform(0.8, 1.2)
        self.cloth = _any_colour(rng)
        self.coarse, self.fine = noise(rng, 1.6), noise(rng, 0.55)

        u, v = self.pose.to_face(X, Y)
        wobble = 0.007 * self.coarse  # nobody is drawn with compasses
        self.u, self.v = u + wobble, v - wobble
        self.width, self.height = rng.uniform(0.40, 0.47), rng.uniform(0.56, 0.63)
        jaw = 1 - rng.uniform(0.12, 0.3) * smoothstep(0, 0.62, self.v)
        self.half_width = self.width * jaw
        self.head = ellipse(self.u, self.v, self.half_width, self.height)
        bulge = np.clip(1 - (u / self.half_width) ** 2 - (v / self.height) ** 2, 0, 1)
        # A turned head carries its features aside, most in the middle, where the face is nearest.
        self.turn = rng.uniform(-0.14, 0.14)
        self.fu = self.u - self.turn * np.sqrt(bulge)
        self.eye = (rng.uniform(0.17, 0.20), rng.uniform(-0.11, -0.05))

        self.length = float(rng.choice([-0.1, 0.15, 0.45, 0.95]))  # how far down the hair falls
        self.volume = rng.uniform(0.04, 0.14)
        self.bald = rng.random() < 0.07
        # Strands run from the crown, so their coordinate is an angle around it.
        angle = np.arctan2(self.u - rng.uniform(-0.2, 0.2), self.v + 0.75)
        table = rng.standard_normal(256).astype(np.float32)
        place = (angle * rng.uniform(14, 30) + 1.2 * self.coarse) % 256
        strands = np.interp(place, np.arange(257), np.append(table, table[0]))
        self.strands: Array = strands.astype(np.float32)
        self.hair_image = self._colour_hair()

    def _colour_hair(self) -> Array:
        """Hair, with strands, a sheen and the fall of the light."""
        sheen = 0.35 * np.exp(-(((self.v + 0.5) / 0.12) ** 2))
        shade = _shade(self.u, self.v, self.light, self.contrast) + sheen
        value: Array = shade * (1 + 0.22 * self.strands + 0.07 * self.fine)
        return self.hair * value

    def cropped(self, box: tuple[slice, slice]) -> "_Sitter":
        """Return the same person on a part of the canvas."""
        part = copy(self)
        for name, value in vars(self).items():
            if isinstance(value, np.ndarray) and value.shape[-2:] == X.shape:
                setattr(part, name, value[..., *box])
        return part

    def features(self) -> tuple[slice, slice]:
        """Rows and columns that hold eyes, mouth and beard; drawing only these saves time."""
        pose = self.pose
        edges = np.array(
            [
                [pose.y - 0.38 * pose.scale, pose.y + 0.7 * pose.scale],
                [pose.x - 0.58 * pose.scale, pose.x + 0.58 * pose.scale],
            ]
        )
        (top, bottom), (left, right) = ((edges + 1) / PIXEL).clip(0, SIDE).astype(int)
        return slice(top, bottom), slice(left, right)

    def draw_behind(self, image: Array) -> Array:
        """Hair behind the neck, the neck and the shoulders."""
        rng, u, v = self.rng, self.u, self.v
        if self.length > 0.3 and not self.bald:
            spread = self.width + self.volume + 0.1 * self.length * smoothstep(-0.2, 0.9, v)
            fall = np.maximum(np.abs(u) - spread, v - self.length - 0.05 * self.coarse)
            crown = ellipse(u, v + 0.04, self.width + self.volume, self.height + self.volume)
            shape = np.minimum(np.maximum(fall, -v), crown)
            image = mix(image, 0.7 * self.hair_image, inside(shape, 0.04))
        neck_width = self.width * rng.uniform(0.58, 0.72)
        across = X - self.pose.x + 0.4 * self.pose.tilt
        flare = 0.25 * smoothstep(self.height, self.height + 0.4, v)
        neck = np.maximum(np.abs(across) - neck_width - flare, -v)
        shade = _shade(across / neck_width * 0.8, 0 * Y, self.light, self.contrast)
        shade = shade * (0.62 + 0.38 * smoothstep(self.height - 0.08, self.height + 0.22, v))
        image = mix(image, self.skin_colour(shade), inside(neck))
        return self.draw_clothes(image, across)

    def draw_clothes(self, image: Array, across: Array) -> Array:
        """Shoulders with a round or a pointed neckline, plain, striped or woven."""
        rng = self.rng
        top = rng.uniform(0.66, 0.78) + 0.3 * across**2 + 0.25 * smoothstep(0.6, 1, np.abs(across))
        deep = rng.uniform(0.1, 0.3)
        opening = (
            deep * inside(np.abs(across) - 0.3, 0.4)
            if rng.random() < 0.5
            else deep - np.abs(across)
        )
        pattern = 0.05 * self.fine + 0.05 * self.coarse
        if rng.random() < 0.4:
            wave = X * rng.uniform(-40, 40) + Y * rng.uniform(20, 50)
            pattern = pattern + 0.12 * np.sin(wave)
        shade = _shade(0.6 * across, 0.1 * Y, self.light, self.contrast) * (1 + pattern)
        edge = top + np.maximum(opening, 0) - Y
        cloth = self.cloth * (shade * (1 - 0.3 * np.exp(-edge * edge / 0.001)))
        return mix(image, cloth, inside(edge))

    def skin_colour(self, shade: Array) -> Array:
        """Skin; its shadows are warmer than its lights, its pores are fine."""
        pores = 1 + 0.025 * self.fine + 0.02 * self.coarse
        depth = np.clip((1 - shade) * 1.6, 0, 1)
        return pores * mix(self.skin, self.skin * _SHADOW, depth)

    def draw_head(self, image: Array) -> Array:
        """Ears and the bare head with its relief: nose, sockets, cheeks, lip and chin."""
        rng, u, v, fu = self.rng, self.u, self.v, self.fu
        ears = ellipse(np.abs(u) - self.width * 0.99, v - 0.02, 0.06, 0.13)
        inner_ear = 0.8 - 0.25 * inside(ears + 0.03, 0.05)
        image = mix(image, self.skin_colour(inner_ear), inside(ears))

        shade = _shade(0.95 * u / self.half_width, 0.9 * v / self.height, self.light, self.contrast)
        ex, ey = self.eye
        nose_end = self.nose_end = ey + rng.uniform(0.25, 0.30)
        along = smoothstep(ey - 0.06, nose_end, v) * smoothstep(nose_end + 0.07, nose_end, v)
        width = 0.035 + 0.04 * smoothstep(ey, nose_end, v)
        ridge = np.exp(-((fu / width) ** 2)) * along
        sockets = np.exp(-(((np.abs(fu) - ex) / 0.12) ** 2) - ((v - ey + 0.02) / 0.07) ** 2)
        under_lip = np.exp(-((fu / 0.1) ** 2) - ((v - nose_end - 0.24) / 0.025) ** 2)
        under_nose = np.exp(-((fu / 0.08) ** 2) - ((v - nose_end - 0.05) / 0.025) ** 2)
        nostrils = np.exp(
            -(((np.abs(fu) - 0.045) / 0.02) ** 2) - ((v - nose_end - 0.02) / 0.014) ** 2
        )
        fold = np.abs(fu) - 0.1 - 0.5 * (v - nose_end)
        folds = np.exp(-((fold / 0.018) ** 2)) * along * rng.uniform(0, 1)
        shade = shade + 0.1 * ridge + 5 * self.contrast * self.light[0] * fu * ridge
        shade = shade - 0.13 * sockets - 0.10 * under_lip - 0.13 * under_nose - 0.35 * nostrils
        shade = shade - 0.08 * folds
        skin = self.skin_colour(shade)
        cheeks = np.exp(-(((np.abs(fu) - 0.24) / 0.12) ** 2) - ((v - nose_end + 0.03) / 0.1) ** 2)
        flush = rgb(0.03, -0.03, -0.02) * rng.uniform(0, 1.6)
        return mix(image, skin + flush * cheeks, inside(self.head))

    def draw_eyes(self, image: Array) -> Array:
        """Both eyes and brows at once: the coordinate `eu` is mirrored."""
        rng, v = self.rng, self.v
        ex, ey = self.eye
        side = np.sign(self.fu)
        eu, ev = np.abs(self.fu) - ex, v - ey
        width, opening = rng.uniform(0.072, 0.09), rng.uniform(0.022, 0.042)
        lid = 1 - (eu / width) ** 2
        gap = np.maximum(-(ev + opening * lid), ev - 0.75 * opening * lid)
        eye = inside(gap)
        gaze = rng.uniform(-0.02, 0.02)
        centre = np.hypot(eu - gaze * side, ev + 0.004)
        iris = _IRISES[rng.integers(len(_IRISES))]
        white = rgb(0.90, 0.87, 0.85) * (1 - 0.25 * np.exp(-((gap / 0.02) ** 2)))
        ball = mix(white, iris, inside(centre - 0.036))
        ball = mix(ball, rgb(0.03, 0.02, 0.02), inside(centre - 0.015))
        ball = mix(
            ball, rgb(1, 1, 1), inside(np.hypot(eu - (gaze + 0.012) * side, ev + 0.016) - 0.007)
        )
        image = mix(image, ball, eye)
        lashes = np.exp(-(((ev + opening * lid) / 0.011) ** 2)) * (lid > 0)
        crease = np.exp(-(((ev + 0.025 + opening * (0.4 + lid)) / 0.009) ** 2)) * (lid > -0.2)
        image = mix(image, rgb(0.08, 0.05, 0.04), np.clip(rng.uniform(0.6, 0.95) * lashes, 0, 1))
        image = mix(image, self.skin * 0.45, 0.45 * crease)
        arch, slant, lift = (
            rng.uniform(0.01, 0.05),
            rng.uniform(-0.15, 0.15),
            rng.uniform(0.09, 0.13),
        )
        brow = np.abs(ev + lift + arch * (1 - (eu / 0.11) ** 2) + slant * eu)
        thick = rng.uniform(0.012, 0.025) * np.clip(1.1 - 3 * eu, 0.4, 1.4)
        mask = inside(np.maximum(brow - thick, np.abs(eu) - 0.115), 0.025)
        return mix(image, 0.75 * self.hair, mask * np.clip(0.75 + 0.2 * self.fine, 0, 1))

    def draw_mouth(self, image: Array) -> Array:
        """Lips with an expression; some mouths are open and show the teeth."""
        rng = self.rng
        width, smile = rng.uniform(0.11, 0.17), rng.uniform(-0.02, 0.06)
        t = self.fu / width
        bow = np.clip(1 - t * t, 0, None)
        mv = self.v - self.nose_end - rng.uniform(0.13, 0.16) - smile * (bow - 0.7)
        upper = rng.uniform(0.02, 0.035) * (bow - 0.3 * np.exp(-((t / 0.2) ** 2)))
        lower = rng.uniform(0.03, 0.05) * bow
        gap = max(0.0, rng.uniform(-0.04, 0.035)) * bow
        within = inside(np.abs(t) - 1, 0.1)
        lips = inside(np.maximum(-mv - upper, mv - gap - lower), 0.02) * within
        red = self.skin * rgb(0.86, 0.58, 0.62)
        gloss = 1 + 0.25 * np.exp(-(((mv - gap - 0.5 * lower) / 0.012) ** 2)) + 0.05 * self.fine
        gloss = gloss - 0.18 * inside(mv)
        image = mix(image, red * gloss, lips * rng.uniform(0.6, 0.95))
        teeth = inside(np.maximum(-mv, mv - gap)) * within
        image = mix(image, rgb(0.86, 0.83, 0.79), teeth * float(gap.max() > 0.008))
        line = np.exp(-((mv / 0.008) ** 2)) * within
        return mix(image, self.skin * 0.28, 0.8 * line)

    def draw_beard(self, image: Array) -> Array:
        """From a shadow to a full beard."""
        rng, v, fu = self.rng, self.v, self.fu
        start = self.nose_end + 0.05 - 1.2 * np.clip(np.abs(fu) - 0.2, 0, 0.3)
        lips = ellipse(fu, v - self.nose_end - 0.155, 0.13, 0.05)
        area = inside(np.maximum(start - v, -lips), 0.08) * inside(self.head, 0.04)
        texture = np.clip(0.75 + 0.22 * self.fine, 0, 1)
        return mix(image, 0.8 * self.hair_image, rng.uniform(0.2, 0.95) * area * texture)

    def draw_hair(self, image: Array) -> tuple[Array, Array]:
        """The hair in front; returns the image and the mask of the hair."""
        rng, u, v = self.rng, self.u, self.v
        curl = rng.uniform(0.005, 0.04)
        wide = self.width + self.volume * 0.8
        outer = ellipse(u, v + 0.04, wide, self.height + self.volume) + curl * self.coarse
        line = rng.uniform(-0.42, -0.26) + rng.uniform(-0.3, 0.3) * u
        edge = smoothstep(0.62, 1.0, np.abs(u / self.half_width))
        line = line + (self.length - line) * edge + 0.02 * self.strands
        mask = inside(np.maximum(outer, v - line), 0.03).astype(np.float32)
        return mix(image, self.hair_image, mask), mask

    def draw_hat(self, image: Array) -> Array:
        """A knitted cap."""
        rng, u, v = self.rng, self.u, self.v
        outer = ellipse(u, v + 0.1, self.width + 0.07, self.height)
        brim = -0.28 - 0.1 * u * u
        knit = 1 + 0.1 * np.sin(u * rng.uniform(50, 90)) + 0.05 * self.fine
        knit = knit - 0.25 * inside(np.abs(v - brim + 0.13) - 0.008, 0.02)
        shade = knit * _shade(u / 0.6, v / 0.8, self.light, self.contrast)
        return mix(image, _any_colour(rng) * shade, inside(np.maximum(outer, v - brim)))

    def draw_glasses(self, image: Array) -> Array:
        """Round or square glasses, clear or dark."""
        rng = self.rng
        ex, ey = self.eye
        eu, ev = np.abs(self.fu) - ex - 0.005, self.v - ey - 0.01
        power = float(rng.choice([2, 4]))
        ring = (np.abs(eu / 0.135) ** power + np.abs(ev / 0.105) ** power) ** (1 / power) - 1
        thick = rng.uniform(0.05, 0.12)
        dark = rng.uniform(0.03, 0.12) if rng.random() < 0.8 else rng.uniform(0.6, 0.9)
        image = mix(image, _any_colour(rng) * 0.3, dark * inside(ring, 0.1))
        bars = np.abs(ev + 0.02) - 0.008 + (np.abs(np.abs(self.fu) - ex - 0.005) < 0.135)
        bars = np.maximum(bars, np.abs(self.u) - self.width)
        frame = np.maximum(inside(np.abs(ring) - thick, 0.08), inside(bars))
        return mix(image, _any_colour(rng) * rng.uniform(0.1, 0.6), frame)


def render_portrait(rng: np.random.Generator) -> Portrait:
    """Draw a person whom nobody has seen, as a camera would record them."""
    sitter = _Sitter(rng)
    image = sitter.draw_behind(background(rng, sitter.light))
    image = sitter.draw_head(image)
    box = sitter.features()
    close = sitter.cropped(box)
    part = close.draw_mouth(close.draw_eyes(image[:, *box]))
    image[:, *box] = close.draw_beard(part) if rng.random() < 0.3 else part
    hair = np.zeros_like(X)
    if not sitter.bald:
        image, hair = sitter.draw_hair(image)
    if rng.random() < 0.1:
        image = sitter.draw_hat(image)
    if rng.random() < 0.25:
        image[:, *box] = close.draw_glasses(image[:, *box])
    face = inside(sitter.head, 0.04) * (1 - hair)
    return Portrait(_photograph(rng, image), sitter.pose, face)


def render_texture(rng: np.random.Generator) -> Array:
    """Draw a surface that fills the image: plaster, stripes, bricks, tiles, wood, grass."""
    pose = Pose(0, 0, 1, rng.uniform(-0.6, 0.6))
    u, v = pose.to_face(X, Y)
    coarse, fine, size = noise(rng, 1.5), noise(rng, 0.6), rng.uniform(5, 20)
    style = rng.integers(6)
    if style == 0:
        relief = noise(rng, rng.uniform(0.4, 2)) * 0.4 + 0.5
    elif style == 1:
        relief = 0.5 + 0.5 * np.sin(size * u + 0.3 * coarse)
    elif style == 2:
        row = np.floor(size / 3 * v)
        across, down = (size / 6 * u + 0.5 * (row % 2)) % 1, (size / 3 * v) % 1
        relief = 0.3 + smoothstep(0, 0.12, np.minimum(across * 2, down)) * (0.5 + 0.1 * fine)
    elif style == 3:
        relief = 0.5 + 0.4 * np.sign(np.sin(size / 2 * u) * np.sin(size / 2 * v)) + 0.05 * coarse
    elif style == 4:
        relief = 0.5 + 0.5 * np.sin(size * (np.hypot(u - 0.8, 0.15 * v) + 0.08 * coarse))
    else:
        blades = np.sin(3 * size * u + 4 * coarse + 3 * np.sin(size / 2 * v))
        relief = 0.5 + 0.3 * blades + 0.2 * fine
    colour = _between(rng, _SKINS) if rng.random() < 0.3 else _any_colour(rng)
    light = draw_light(rng)
    shade = 1 + 0.3 * (light[0] * X + light[1] * Y) + rng.uniform(0.01, 0.05) * fine
    surface = mix(colour * rng.uniform(0.3, 0.8), colour, relief.clip(0, 1)) * shade
    return _photograph(rng, surface)


def render_object(rng: np.random.Generator) -> Array:
    """Draw a thing in a room: a fruit, a vase, a box, a building, a clock or a leaf."""
    light = draw_light(rng)
    pose = Pose(
        rng.uniform(-0.2, 0.2), rng.uniform(-0.1, 0.2), rng.uniform(0.8, 1.3), rng.normal(0, 0.1)
    )
    u, v = pose.to_face(X, Y)
    image = background(rng, light)
    table = _any_colour(rng) * (1 + 0.05 * noise(rng, 1.0))
    image = mix(image, table, inside(rng.uniform(0.2, 0.5) - Y))
    shadow = ellipse(u + 0.3 * light[0], v - 0.52, 0.6, 0.13)
    image = image * (1 - 0.45 * inside(shadow, 0.25))
    things = (_fruit, _vase, _box, _building, _clock, _leaf)
    colour = _between(rng, _SKINS) if rng.random() < 0.4 else _any_colour(rng)
    colour = colour * (1 + 0.04 * noise(rng, 1.4) + 0.03 * noise(rng, 0.55))
    thing, mask = things[rng.integers(len(things))](rng, u, v, light, colour)
    return _photograph(rng, mix(image, thing, mask))


Thing = tuple[Array, Array]  # an image of the thing and its mask


def _fruit(rng: np.random.Generator, u: Array, v: Array, light: Array, colour: Array) -> Thing:
    a, b = rng.uniform(0.38, 0.5), rng.uniform(0.4, 0.6)
    nx, ny = u / a, v / b
    spots = smoothstep(0.7, 1.2, noise(rng, rng.uniform(0.8, 1.6))) * rng.uniform(0, 0.4)
    dimple = 0.4 * np.exp(-((u / 0.1) ** 2) - ((v + 0.8 * b) / 0.08) ** 2)
    gloss = 0.3 * np.exp(-(((nx - light[0]) / 0.25) ** 2) - ((ny - light[1]) / 0.25) ** 2)
    value = _shade(nx, ny, light, 0.6) * (1 - spots - dimple)
    stalk = np.maximum(np.abs(u - 0.15 * (v + b)) - 0.02, np.abs(v + b) - 0.12)
    fruit = mix(colour * value + gloss, rgb(0.25, 0.18, 0.08), inside(stalk))
    return fruit, np.maximum(inside(ellipse(u, v, a, b)), inside(stalk))


def _vase(rng: np.random.Generator, u: Array, v: Array, light: Array, colour: Array) -> Thing:
    waist = rng.uniform(0.2, 0.35)
    radius = waist + 0.13 * np.sin(rng.uniform(3, 6) * v + rng.uniform(0, 6))
    bands = 1 - 0.3 * inside(np.abs(v - rng.uniform(-0.3, 0.3)) - rng.uniform(0, 0.1))
    value = _shade(u / radius, 0 * v, light, 0.65) * bands
    rim = ellipse(u, v + 0.58, radius, 0.06)
    vase = mix(colour * value, colour * 0.3, inside(rim))
    body = np.maximum(np.abs(u) - radius, np.abs(v) - 0.58)
    return vase, np.maximum(inside(body), inside(rim))


def _box(rng: np.random.Generator, u: Array, v: Array, light: Array, colour: Array) -> Thing:
    edge, slant = rng.uniform(-0.3, 0.3), rng.uniform(0.15, 0.4)
    top = -0.3 + slant * np.abs(u - edge)
    value = np.where(u < edge, 0.75 - 0.3 * light[0], 0.75 + 0.3 * light[0])
    value = np.where(v < top, 1.05, value)
    tape = inside(np.abs(u - edge - 0.2) - 0.05) * rng.uniform(0, 0.4)
    lid = -0.3 - slant * (0.5 - np.abs(u - edge).clip(0, 0.5))
    body = np.maximum(np.abs(u) - 0.5, np.maximum(lid - v, v - 0.55 + slant * np.abs(u - edge)))
    return colour * value * (1 - tape), inside(body)


def _building(rng: np.random.Generator, u: Array, v: Array, light: Array, colour: Array) -> Thing:
    width, columns = rng.uniform(0.35, 0.7), rng.uniform(3, 6)
    across, down = np.abs((u * columns) % 1 - 0.5), np.abs((v * columns * 0.8) % 1 - 0.5)
    windows = inside(np.maximum(across, down) - rng.uniform(0.2, 0.35), 0.1)
    roof = -0.6 + rng.uniform(0, 0.8) * np.abs(u)
    wall = colour * (0.9 + 0.25 * light[0] * np.sign(u - 0.2 * width))
    front = mix(wall, _any_colour(rng) * 0.6, windows * inside(roof + 0.15 - v))
    return front, inside(np.maximum(np.abs(u) - width, np.maximum(roof - v, v - 0.6)))


def _clock(rng: np.random.Generator, u: Array, v: Array, light: Array, colour: Array) -> Thing:
    radius, angle = np.hypot(u, v), np.arctan2(v, u)
    ticks = np.maximum(np.abs(np.sin(6 * angle)) * radius / 6 - 0.01, np.abs(radius - 0.4) - 0.04)
    ink = inside(ticks)
    for length, thick in ((0.25, 0.022), (0.36, 0.014)):
        turn = rng.uniform(0, 6.28)
        along, aside = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
        hand = np.maximum(np.abs(aside) - thick, np.abs(along - length / 2) - length / 2)
        ink = np.maximum(ink, inside(hand))
    face = mix(colour * _shade(u, v, light, 0.4), rgb(0.08, 0.07, 0.07), ink)
    rim = inside(np.abs(radius - 0.5) - 0.03)
    return mix(face, _any_colour(rng) * _shade(-u, -v, light, 0.6), rim), inside(radius - 0.53)


def _leaf(rng: np.random.Generator, u: Array, v: Array, light: Array, colour: Array) -> Thing:
    bend = u - rng.uniform(-0.4, 0.4) * v * v
    half = rng.uniform(0.25, 0.45) * (1 - (v / 0.65) ** 2)
    veins = np.sin(rng.uniform(20, 40) * (v + rng.uniform(0.3, 1) * np.abs(bend)))
    rib = np.exp(-((bend / 0.015) ** 2))
    value = _shade(bend, 0.3 * v, light, 0.5) + 0.08 * veins - 0.25 * rib
    green = colour * rgb(0.7, 1.1, 0.5) if rng.random() < 0.6 else colour
    return green * value, inside(np.maximum(np.abs(bend) - half, np.abs(v) - 0.64))
