"""Images without a face for the demo data set: textures and objects, drawn with numpy alone."""

import numpy as np

from faceproof.data.demo.canvas import (
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
    photograph,
    rgb,
    smoothstep,
)


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
    colour = colour_between(rng, SKINS) if rng.random() < 0.3 else any_colour(rng)
    light = draw_light(rng)
    shade = 1 + 0.3 * (light[0] * X + light[1] * Y) + rng.uniform(0.01, 0.05) * fine
    surface = mix(colour * rng.uniform(0.3, 0.8), colour, relief.clip(0, 1)) * shade
    return photograph(rng, surface)


def render_object(rng: np.random.Generator) -> Array:
    """Draw a thing in a room: a fruit, a vase, a box, a building, a clock or a leaf."""
    light = draw_light(rng)
    x, y = rng.uniform(-0.2, 0.2), rng.uniform(-0.1, 0.2)
    pose = Pose(x, y, rng.uniform(0.8, 1.3), rng.normal(0, 0.1))
    u, v = pose.to_face(X, Y)
    image = background(rng, light)
    table = any_colour(rng) * (1 + 0.05 * noise(rng, 1.0))
    image = mix(image, table, inside(rng.uniform(0.2, 0.5) - Y))
    shadow = ellipse(u + 0.3 * light[0], v - 0.52, 0.6, 0.13)
    image = image * (1 - 0.45 * inside(shadow, 0.25))
    things = (_fruit, _vase, _box, _building, _clock, _leaf)
    colour = colour_between(rng, SKINS) if rng.random() < 0.4 else any_colour(rng)
    colour = colour * (1 + 0.04 * noise(rng, 1.4) + 0.03 * noise(rng, 0.55))
    thing, mask = things[rng.integers(len(things))](rng, u, v, light, colour)
    return photograph(rng, mix(image, thing, mask))


Thing = tuple[Array, Array]  # an image of the thing and its mask


def _fruit(rng: np.random.Generator, u: Array, v: Array, light: Array, colour: Array) -> Thing:
    a, b = rng.uniform(0.38, 0.5), rng.uniform(0.4, 0.6)
    nx, ny = u / a, v / b
    spots = smoothstep(0.7, 1.2, noise(rng, rng.uniform(0.8, 1.6))) * rng.uniform(0, 0.4)
    dimple = 0.4 * np.exp(-((u / 0.1) ** 2) - ((v + 0.8 * b) / 0.08) ** 2)
    gloss = 0.3 * np.exp(-(((nx - light[0]) / 0.25) ** 2) - ((ny - light[1]) / 0.25) ** 2)
    value = lambert(nx, ny, light, 0.6) * (1 - spots - dimple)
    stalk = np.maximum(np.abs(u - 0.15 * (v + b)) - 0.02, np.abs(v + b) - 0.12)
    fruit = mix(colour * value + gloss, rgb(0.25, 0.18, 0.08), inside(stalk))
    return fruit, np.maximum(inside(ellipse(u, v, a, b)), inside(stalk))


def _vase(rng: np.random.Generator, u: Array, v: Array, light: Array, colour: Array) -> Thing:
    waist = rng.uniform(0.2, 0.35)
    radius = waist + 0.13 * np.sin(rng.uniform(3, 6) * v + rng.uniform(0, 6))
    bands = 1 - 0.3 * inside(np.abs(v - rng.uniform(-0.3, 0.3)) - rng.uniform(0, 0.1))
    value = lambert(u / radius, 0 * v, light, 0.65) * bands
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
    front = mix(wall, any_colour(rng) * 0.6, windows * inside(roof + 0.15 - v))
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
    face = mix(colour * lambert(u, v, light, 0.4), rgb(0.08, 0.07, 0.07), ink)
    rim = inside(np.abs(radius - 0.5) - 0.03)
    return mix(face, any_colour(rng) * lambert(-u, -v, light, 0.6), rim), inside(radius - 0.53)


def _leaf(rng: np.random.Generator, u: Array, v: Array, light: Array, colour: Array) -> Thing:
    bend = u - rng.uniform(-0.4, 0.4) * v * v
    half = rng.uniform(0.25, 0.45) * (1 - (v / 0.65) ** 2)
    veins = np.sin(rng.uniform(20, 40) * (v + rng.uniform(0.3, 1) * np.abs(bend)))
    rib = np.exp(-((bend / 0.015) ** 2))
    value = lambert(bend, 0.3 * v, light, 0.5) + 0.08 * veins - 0.25 * rib
    green = colour * rgb(0.7, 1.1, 0.5) if rng.random() < 0.6 else colour
    return green * value, inside(np.maximum(np.abs(bend) - half, np.abs(v) - 0.64))
