"""Portraits for the demo data set: people whom nobody has seen, drawn with numpy alone."""

from copy import copy
from dataclasses import dataclass

import numpy as np

from faceproof.data.demo.canvas import (
    PIXEL,
    SIDE,
    SKINS,
    Array,
    Pose,
    X,
    Y,
    any_colour,
    background,
    colour_between,
    draw_light,
    ellipse,
    inside,
    lambert,
    mix,
    noise,
    palette,
    photograph,
    rgb,
    smoothstep,
)

_HAIRS = palette("12100f 332014 5c3821 b3874f 85401f a8a6a3")
_IRISES = palette("3d2414 614521 456b85 4d6b45")
_SHADOW = rgb(0.52, 0.42, 0.38)


@dataclass(frozen=True)
class Portrait:
    """An image of a head, with what a forger needs to know about it."""

    image: Array
    pose: Pose
    face: Array  # mask of the skin of the face, without hair


class _Sitter:
    """Everything that is drawn of one person, part by part, from the back to the front."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        x, y = rng.uniform(-0.1, 0.1), rng.uniform(-0.16, -0.02)
        self.pose = Pose(x, y, scale=rng.uniform(1.08, 1.3), tilt=rng.normal(0, 0.09))
        self.light = draw_light(rng)
        self.contrast = rng.uniform(0.35, 0.7)
        self.skin = colour_between(rng, SKINS)
        self.hair = _HAIRS[rng.integers(len(_HAIRS))] * rng.uniform(0.8, 1.2)
        self.cloth = any_colour(rng)
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
        shade = lambert(self.u, self.v, self.light, self.contrast) + sheen
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
        rows = (pose.y - 0.38 * pose.scale, pose.y + 0.7 * pose.scale)
        columns = (pose.x - 0.58 * pose.scale, pose.x + 0.58 * pose.scale)
        edges = (np.array([rows, columns]) + 1) / PIXEL
        (top, bottom), (left, right) = edges.clip(0, SIDE).astype(int)
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
        shade = lambert(across / neck_width * 0.8, 0 * Y, self.light, self.contrast)
        shade = shade * (0.62 + 0.38 * smoothstep(self.height - 0.08, self.height + 0.22, v))
        image = mix(image, self.skin_colour(shade), inside(neck))
        return self.draw_clothes(image, across)

    def draw_clothes(self, image: Array, across: Array) -> Array:
        """Shoulders with a round or a pointed neckline, plain, striped or woven."""
        rng = self.rng
        top = rng.uniform(0.66, 0.78) + 0.3 * across**2 + 0.25 * smoothstep(0.6, 1, np.abs(across))
        deep = rng.uniform(0.1, 0.3)
        aside = np.abs(across)
        opening = deep * inside(aside - 0.3, 0.4) if rng.random() < 0.5 else deep - aside
        pattern = 0.05 * self.fine + 0.05 * self.coarse
        if rng.random() < 0.4:
            wave = X * rng.uniform(-40, 40) + Y * rng.uniform(20, 50)
            pattern = pattern + 0.12 * np.sin(wave)
        shade = lambert(0.6 * across, 0.1 * Y, self.light, self.contrast) * (1 + pattern)
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

        nx, ny = 0.95 * u / self.half_width, 0.9 * v / self.height
        shade = lambert(nx, ny, self.light, self.contrast)
        ex, ey = self.eye
        nose_end = self.nose_end = ey + rng.uniform(0.25, 0.30)
        along = smoothstep(ey - 0.06, nose_end, v) * smoothstep(nose_end + 0.07, nose_end, v)
        width = 0.035 + 0.04 * smoothstep(ey, nose_end, v)
        ridge = np.exp(-((fu / width) ** 2)) * along
        sockets = np.exp(-(((np.abs(fu) - ex) / 0.12) ** 2) - ((v - ey + 0.02) / 0.07) ** 2)
        under_lip = np.exp(-((fu / 0.1) ** 2) - ((v - nose_end - 0.24) / 0.025) ** 2)
        under_nose = np.exp(-((fu / 0.08) ** 2) - ((v - nose_end - 0.05) / 0.025) ** 2)
        aside, down = np.abs(fu) - 0.045, v - nose_end - 0.02
        nostrils = np.exp(-((aside / 0.02) ** 2) - (down / 0.014) ** 2)
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
        glint = np.hypot(eu - (gaze + 0.012) * side, ev + 0.016)
        ball = mix(ball, rgb(1, 1, 1), inside(glint - 0.007))
        image = mix(image, ball, eye)
        lashes = np.exp(-(((ev + opening * lid) / 0.011) ** 2)) * (lid > 0)
        crease = np.exp(-(((ev + 0.025 + opening * (0.4 + lid)) / 0.009) ** 2)) * (lid > -0.2)
        image = mix(image, rgb(0.08, 0.05, 0.04), np.clip(rng.uniform(0.6, 0.95) * lashes, 0, 1))
        image = mix(image, self.skin * 0.45, 0.45 * crease)
        arch, slant = rng.uniform(0.01, 0.05), rng.uniform(-0.15, 0.15)
        lift = rng.uniform(0.09, 0.13)
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
        shade = knit * lambert(u / 0.6, v / 0.8, self.light, self.contrast)
        return mix(image, any_colour(rng) * shade, inside(np.maximum(outer, v - brim)))

    def draw_glasses(self, image: Array) -> Array:
        """Round or square glasses, clear or dark."""
        rng = self.rng
        ex, ey = self.eye
        eu, ev = np.abs(self.fu) - ex - 0.005, self.v - ey - 0.01
        power = float(rng.choice([2, 4]))
        ring = (np.abs(eu / 0.135) ** power + np.abs(ev / 0.105) ** power) ** (1 / power) - 1
        thick = rng.uniform(0.05, 0.12)
        dark = rng.uniform(0.03, 0.12) if rng.random() < 0.8 else rng.uniform(0.6, 0.9)
        image = mix(image, any_colour(rng) * 0.3, dark * inside(ring, 0.1))
        bars = np.abs(ev + 0.02) - 0.008 + (np.abs(np.abs(self.fu) - ex - 0.005) < 0.135)
        bars = np.maximum(bars, np.abs(self.u) - self.width)
        frame = np.maximum(inside(np.abs(ring) - thick, 0.08), inside(bars))
        return mix(image, any_colour(rng) * rng.uniform(0.1, 0.6), frame)


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
    return Portrait(photograph(rng, image), sitter.pose, face)
