"""Blended images: another face lies where the face was, in its colours; nothing else changes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceproof.augment.blending import blend
from faceproof.augment.self_blending import Oval
from tests.augment.test_self_blending import distances
from tests.augment.test_web import photo

GREY = np.full((3, 100, 120), 128, np.uint8)


@pytest.mark.parametrize("oval", [Oval(), Oval((0.4, 0.6), (0.15, 0), (0, 0.2))])
def test_only_the_face_changes(oval: Oval) -> None:
    image, radii = photo(100, 120), distances(100, 120, oval)
    inside = []
    for seed in range(40):
        made = blend(image, np.random.default_rng(seed), photo(80, 80), oval)
        changed = (image != made).any(0)
        assert not changed[radii > 1.75].any()  # the oval's largest scale, shift, bends and border
        inside.append(changed[radii < 0.4].mean())
    assert np.mean(inside) > 0.75


def test_the_other_face_is_brought_to_the_oval() -> None:
    """A face whose lower half is light comes to lie with its lower half below, however it lay."""
    other = np.zeros((3, 60, 200), np.uint8)
    other[:, :, 100:] = 255  # its face lies on the right, with the chin at the right end
    turned = Oval((0.5, 0.5), (0, 0.3), (0.3, 0))
    here = Oval((0.5, 0.5), (0.3, 0), (0, 0.3))
    upper, lower = [], []
    for seed in range(20):
        made = blend(GREY, np.random.default_rng(seed), other, here, turned).astype(float)
        upper.append(made[:, 44:49, 50:70].mean())
        lower.append(made[:, 55:65, 50:70].mean())
    assert np.mean(upper) < 110 < 146 < np.mean(lower)


def test_colours_are_brought_to_those_of_the_face() -> None:
    light = np.full((3, 50, 50), 220, np.uint8)
    dark = np.full((3, 100, 120), 60, np.uint8)
    middles = [
        blend(dark, np.random.default_rng(seed), light)[:, 52:58, 55:65].mean()
        for seed in range(40)
    ]
    # Half way at least: the middle between 60 and 220, and 30 levels that colours are changed by.
    assert max(middles) < 140 + 45
    assert min(middles) < 75


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 50), st.integers(0, 99))
@settings(max_examples=50)
def test_images_of_every_size_are_functions_of_the_draws(
    height: int, width: int, side: int, seed: int
) -> None:
    image, other = photo(height, width), photo(side, 60)
    before = image.copy(), other.copy()
    made, again = (blend(image, np.random.default_rng(seed), other) for _ in range(2))
    assert made.shape == image.shape
    assert made.dtype == np.uint8
    assert made.flags.writeable  # torch wants it
    assert np.array_equal(made, again)
    assert np.array_equal(image, before[0])
    assert np.array_equal(other, before[1])


def test_a_grey_image_stays_grey() -> None:
    draw = np.random.default_rng(0)
    image = np.repeat(draw.integers(0, 256, (1, 64, 64), dtype=np.uint8), 3, 0)
    other = draw.integers(0, 256, (3, 64, 64), dtype=np.uint8)
    found = [blend(image, np.random.default_rng(seed), other) for seed in range(8)]
    assert all((one == one[:1]).all() for one in found)
    assert any((one != image).any() for one in found)
