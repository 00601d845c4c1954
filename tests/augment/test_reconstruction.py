"""Reconstructed images: the same picture, with an up-sampler's grid in its spectrum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from faceproof.augment.reconstruction import ENLARGEMENTS, reconstruct
from tests.augment.test_web import photo


def grid(grey: np.ndarray) -> float:
    """Return the share of the spectrum's energy at half a turn a pixel, along either axis."""
    window = np.hanning(len(grey))
    spectrum = np.abs(np.fft.fft2((grey - grey.mean()) * np.outer(window, window))) ** 2
    middle = len(grey) // 2
    near = slice(middle - 1, middle + 2)
    return float((spectrum[near, :3].sum() + spectrum[:3, near].sum()) / spectrum.sum())


def smooth() -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal((128, 128))
    soft = ndimage.gaussian_filter(noise, 2)
    return np.asarray(128 + 40 * soft / soft.std())


@pytest.mark.parametrize("enlarge", ENLARGEMENTS, ids=lambda one: one.__name__.strip("_"))
def test_an_enlarged_image_is_the_image(enlarge) -> None:
    image = Image.fromarray(photo(64, 80).transpose(1, 2, 0))
    small = image.resize((40, 32), Image.Resampling.BOX)
    large = enlarge(small, np.random.default_rng(0))
    assert large.size == image.size
    difference = np.asarray(large, float) - np.asarray(image, float)
    assert np.abs(difference.mean((0, 1))).max() < 3
    assert np.abs(difference).mean() < 25


@pytest.mark.parametrize("place", [0, 3], ids=["nearest", "transposed convolution"])
def test_the_spectrum_has_the_grid_of_the_up_sampler(place: int) -> None:
    grey = smooth()
    pixels = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    small = Image.fromarray(pixels).resize((64, 64), Image.Resampling.BOX)
    large = np.asarray(ENLARGEMENTS[place](small, np.random.default_rng(1)), float)[..., 0]
    assert grid(large) > 20 * grid(pixels[..., 0].astype(float))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
@settings(max_examples=50)
def test_images_of_every_size_are_functions_of_the_draws(
    height: int, width: int, seed: int
) -> None:
    image = photo(height, width)
    found, again = (reconstruct(image, np.random.default_rng(seed)) for _ in range(2))
    assert found.shape == image.shape
    assert found.dtype == np.uint8
    assert found.flags.writeable
    assert np.array_equal(found, again)


def test_an_even_image_stays_as_it_is() -> None:
    """Nothing dark comes in from the border, and no gain but a transposed convolution's changes."""
    image = np.full((3, 31, 20), 200, np.uint8)
    for seed in range(40):
        made = reconstruct(image, np.random.default_rng(seed)).astype(int)
        assert abs(made.mean() - 200) < 3
        assert np.abs(made - 200).max() <= 100
