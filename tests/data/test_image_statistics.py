"""Hash, spectrum and border detail of an image: what changes them, and what must not."""

import io

import numpy as np
from PIL import Image

from faceproof.audit.duplicates import hamming
from faceproof.data.image_statistics import (
    border_detail,
    colours,
    grey_of,
    laplacian,
    perceptual_hash,
    radial_spectrum,
)


def portrait(seed=0, size=160):
    """An image with large and small structure, (size, size, 3) uint8."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None])
    falling = np.fft.fft2(rng.normal(size=(size, size))) / np.maximum(frequency, 1 / size)
    grey = np.fft.ifft2(falling).real  # a spectrum of 1/f, as photographs have
    grey = 128 + 45 * grey / grey.std()
    return np.stack([grey, grey * 0.8, grey * 0.9], axis=2).clip(0, 255).astype(np.uint8)


def encoded(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return np.asarray(Image.open(file))


def look(pixels):
    return perceptual_hash(pixels.mean(axis=2, dtype=np.float32))


def distance(first, second):
    return int(hamming(look(first)[None], look(second)[None])[0])


def test_a_re_encoded_resized_or_brightened_image_looks_the_same():
    original = portrait()
    half = np.asarray(Image.fromarray(original).resize((80, 80), Image.Resampling.LANCZOS))
    brighter = (original * 0.8 + 30).astype(np.uint8)
    for copy in (encoded(original, quality=50), half, brighter):
        assert distance(original, copy) <= 13


def test_other_images_look_different():
    distances = [distance(portrait(a), portrait(b)) for a in range(6) for b in range(a)]
    assert min(distances) > 60


def test_the_spectrum_shows_a_periodic_pattern_where_it_is():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 10, (128, 128)).astype(np.float32)
    wave = 20 * np.cos(2 * np.pi * 0.25 * np.arange(128))[None].astype(np.float32)
    gain = radial_spectrum(noise + wave) - radial_spectrum(noise)
    assert gain.argmax() == 8  # 0.25 cycles a pixel, in rings of 1/32


def test_white_noise_has_a_flat_spectrum():
    noise = np.random.default_rng(0).normal(0, 10, (128, 128)).astype(np.float32)
    assert np.ptp(radial_spectrum(noise)[1:]) < 0.5


def test_the_border_shows_a_mark_in_its_corner():
    rng = np.random.default_rng(0)
    plain = rng.normal(128, 4, (256, 256)).astype(np.float32)
    marked = plain.copy()
    marked[200:250:3, 200:250] += 60
    assert border_detail(laplacian(marked)).argmax() == 11  # the last outer cell: bottom right
    assert np.abs(border_detail(laplacian(plain))).max() < 0.2


def test_laplacian_of_a_slope_is_zero_and_of_a_point_is_its_stencil():
    slope = np.add.outer(np.arange(5.0), 2 * np.arange(6.0)).astype(np.float32)
    assert not laplacian(slope).any()
    point = np.zeros((5, 5), np.float32)
    point[2, 2] = 1
    assert laplacian(point).tolist() == [[0, 1, 0], [1, -4, 1], [0, 1, 0]]


def test_grey_and_colours_are_those_of_the_pixels():
    pixels = portrait().transpose(2, 0, 1)
    mean, deviation = colours(pixels)
    assert np.allclose(grey_of(pixels), pixels.mean(0), atol=1e-4)
    assert np.allclose(mean, pixels.mean((1, 2)))
    assert np.allclose(deviation, pixels.std((1, 2)))
