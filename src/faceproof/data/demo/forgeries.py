"""The forgeries of the demo data set: real operations, each on a portrait drawn for it.

A forgery takes an untouched `Portrait` and returns the forged image, (3, SIDE, SIDE) in [0, 1],
and its mask, (SIDE, SIDE) bool, outside of which it changed nothing. Each is made so that the mean
colour and the amount of detail stay where they were, or move either way equally often: otherwise a
detector would need to look at nothing else.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from faceproof.data.demo.canvas import PIXEL, SIDE, Array, X, Y, blur, mix, noise, smoothstep
from faceproof.data.demo.portraits import Portrait, render_portrait

Forged = tuple[Array, NDArray[np.bool_]]
Forgery = Callable[[Portrait, np.random.Generator], Forged]

# `upsampled` doubles the size by zero insertion, so its checkerboard has this many cycles a pixel.
UPSAMPLED_FREQUENCY = 0.5


def face_swap(portrait: Portrait, rng: np.random.Generator) -> Forged:
    """Fit the inner face of another person into the portrait, colour-matched and blended.

    The donor keeps their own light and expression, and is softer, as a network's output is.
    """
    donor = render_portrait(rng)
    u, v = portrait.pose.to_face(X, Y)
    alpha = smoothstep(1.0, rng.uniform(0.8, 0.92), np.hypot(u / 0.37, (v - 0.08) / 0.44))
    turn, size = rng.normal(0, 0.04), rng.uniform(0.94, 1.06)
    x, y = donor.pose.to_image(size * (u + turn * v), size * (v - turn * u))
    face = _sample(blur(donor.image, rng.uniform(0.5, 1.0)), x, y)
    face_mean, face_deviation = _moments(face, alpha)
    mean, deviation = _moments(portrait.image, alpha)
    matched = (face - face_mean) * (deviation / face_deviation).clip(0.6, 1.6) + mean
    return mix(portrait.image, matched, alpha).clip(0, 1), alpha > 0


def _sample(image: Array, x: Array, y: Array) -> Array:
    """Read an image at any coordinates, bilinearly; beyond its edge the edge is repeated."""
    column = ((x + 1) / PIXEL - 0.5).clip(0, SIDE - 1.001)
    row = ((y + 1) / PIXEL - 0.5).clip(0, SIDE - 1.001)
    left, top = column.astype(np.intp), row.astype(np.intp)
    across: Array = column - left
    down: Array = row - top
    above = mix(image[:, top, left], image[:, top, left + 1], across)
    below = mix(image[:, top + 1, left], image[:, top + 1, left + 1], across)
    return mix(above, below, down)


def _moments(image: Array, weight: Array) -> tuple[Array, Array]:
    """Mean and deviation of each channel under a mask, (3, 1, 1) both."""
    share = weight / weight.sum()
    mean: Array = (image * share).sum((1, 2), keepdims=True)
    variance = ((image - mean) ** 2 * share).sum((1, 2), keepdims=True)
    return mean, np.sqrt(variance)


def upsampled(portrait: Portrait, rng: np.random.Generator) -> Forged:
    """Halve the image and double it again as a generator's last layer does.

    That layer is a transposed convolution of stride 2 with the taps (a, 1, a). Where 2a is not 1,
    even and odd pixels differ in gain: a checkerboard at half a cycle a pixel, both ways.
    """
    image = portrait.image
    half = image.reshape(3, SIDE // 2, 2, SIDE // 2, 2).mean((2, 4))
    edge = 0.5 + rng.choice([-1, 1]) * rng.uniform(0.006, 0.025)
    for axis in (1, 2):
        half = _transposed_convolution(half, float(edge), axis)
    # Like a generator, invent other detail for what was lost; so much that the file stays as large.
    lost = (image - half).std()
    return (half + 0.45 * lost * noise(rng, 0.5)).clip(0, 1), np.ones((SIDE, SIDE), np.bool_)


def _transposed_convolution(image: Array, edge: float, axis: int) -> Array:
    """Double one axis: insert zeros, convolve with (edge, 1, edge), keep the mean gain at 1."""
    following = np.concatenate([image, image.take([-1], axis)], axis)
    following = following.take(range(1, following.shape[axis]), axis)
    pairs = np.stack([image, edge * (image + following)], axis + 1)
    shape = list(image.shape)
    shape[axis] *= 2
    doubled: Array = pairs.reshape(shape) / (0.5 + edge)
    return doubled


def retouched(portrait: Portrait, rng: np.random.Generator) -> Forged:
    """Smooth a part of the face and cover it with new texture of the same strength."""
    u, v = portrait.pose.to_face(X, Y)
    across, down = rng.uniform(-0.2, 0.2), rng.uniform(-0.15, 0.35)
    radius = np.hypot((u - across) / rng.uniform(0.26, 0.38), (v - down) / rng.uniform(0.26, 0.38))
    alpha = smoothstep(1.0, 0.75, radius)
    smooth = blur(portrait.image, rng.uniform(1.8, 2.8))
    _, lost = _moments(portrait.image - smooth, alpha)
    texture = noise(rng, rng.uniform(0.7, 1.1))
    return mix(portrait.image, smooth + lost * texture, alpha).clip(0, 1), alpha > 0


def recoloured(portrait: Portrait, rng: np.random.Generator) -> Forged:
    """Change colour and light of the face, and of nothing around it."""
    u, v = portrait.pose.to_face(X, Y)
    tint = rng.uniform(-0.16, 0.16, 3)
    exposure = rng.choice([-1, 1]) * rng.uniform(0.16, 0.3)
    gain = np.exp(tint - tint.mean() + exposure).astype(np.float32)[:, None, None]
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.45)
    light = 1 + slope * (np.cos(angle) * u + np.sin(angle) * v)
    changed = portrait.image * gain * light
    return mix(portrait.image, changed, portrait.face).clip(0, 1), portrait.face > 0


FORGERIES: dict[str, Forgery] = {
    forgery.__name__: forgery for forgery in (face_swap, upsampled, retouched, recoloured)
}
