"""Drawn people in photographs and videos: still, moving, turned, two at a time, with cuts."""

import functools

import numpy as np
from PIL import Image

from faceproof.data.demo.portraits import render_portrait
from tests.small_videos import write_video

SIDE = 256  # pixels, of a scene
GREY = (90, 100, 110)


@functools.cache
def portrait(number: int) -> np.ndarray:
    """Return a drawn portrait, (H, W, 3) uint8; each number is another person."""
    drawn = render_portrait(np.random.default_rng(101 + number)).image
    return np.ascontiguousarray(np.clip(drawn * 255, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def scene(people, side=SIDE):
    """Return a scene, (side, side, 3) uint8, of people: (number, x, y, size) or with an angle."""
    canvas = Image.new("RGB", (side, side), GREY)
    for number, x, y, size, *angle in people:
        image = Image.fromarray(portrait(number)).resize((size, size), Image.Resampling.BICUBIC)
        if angle:
            image = image.rotate(angle[0], Image.Resampling.BICUBIC, fillcolor=GREY)
        canvas.paste(image, (x - size // 2, y - size // 2))
    return np.asarray(canvas)


def write_photograph(file, people, side=SIDE):
    """Write a photograph of people as PNG, and return its path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(scene(people, side)).save(file)
    return file


def moving(number, frame, size=140):
    """Return a person who walks from left to right."""
    return (number, 90 + 6 * frame, 128 + frame % 3, size)


def write_clip(file, people_at, num_frames=12, **options):
    """Write a video; `people_at` returns who is where in a frame of some number."""
    times = [number / 10 for number in range(num_frames)]
    draw = functools.cache(lambda number: scene(people_at(number)))
    return write_video(file, times, side=SIDE, image=draw, **options)
