"""What images suffer on the web: each change by its own measure, and as a function of its draws."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, JpegImagePlugin

from faceproof.augment.web import CHANGES, WebAugment
from faceproof.data.image_io import Pixels
from faceproof.errors import FaceproofError

ALWAYS = WebAugment(**dict.fromkeys(CHANGES, 1.0))


def photo(height: int = 40, width: int = 56) -> Pixels:
    """Return an image with edges, slopes and colours."""
    y, x = np.mgrid[:height, :width]
    blocks = ((x // 7 + y // 5) % 2) * 90
    channels = (blocks + x, blocks + 2 * y, 200 - blocks - x // 2)
    return np.stack(channels).clip(0, 255).astype(np.uint8)


def changed(image: Pixels, seed: int = 0, **values: Any) -> Pixels:
    return WebAugment(**values)(image, np.random.default_rng(seed))


def test_without_a_probability_nothing_changes() -> None:
    assert not WebAugment(jpeg_quality=(1, 2)).changes
    assert np.array_equal(changed(photo()), photo())


@given(st.sets(st.sampled_from(CHANGES)), st.integers(1, 40), st.integers(1, 40), st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_every_change_takes_images_of_every_size(
    names: set[str], height: int, width: int, seed: int
) -> None:
    image = photo(height, width)
    before = image.copy()
    found = changed(image, seed, **dict.fromkeys(names, 1.0))
    assert found.shape == image.shape
    assert found.dtype == np.uint8
    assert found.flags.writeable  # torch wants it
    assert np.array_equal(image, before)
    assert np.array_equal(found, changed(image, seed, **dict.fromkeys(names, 1.0)))


def test_a_jpeg_is_that_of_its_quality_and_subsampling(monkeypatch: pytest.MonkeyPatch) -> None:
    encode, files = simplejpeg.encode_jpeg, []

    def noted(*words: Any, **options: Any) -> bytes:
        files.append(encode(*words, **options))
        return files[-1]

    monkeypatch.setattr(simplejpeg, "encode_jpeg", noted)
    image = Image.fromarray(photo().transpose(1, 2, 0).copy())
    for chroma, pillows in ((444, 0), (422, 1), (420, 2)):
        for quality in (30, 80):
            found = changed(photo(), jpeg=1, jpeg_quality=(quality,) * 2, jpeg_chroma=(chroma,))
            ours, theirs = io.BytesIO(files[-1]), io.BytesIO()
            image.save(theirs, "JPEG", quality=quality, subsampling=pillows)
            opened = Image.open(ours)
            assert opened.quantization == Image.open(theirs).quantization
            assert JpegImagePlugin.get_sampling(opened) == pillows
            assert np.array_equal(found, np.asarray(opened).transpose(2, 0, 1))


def test_a_webp_is_that_of_its_quality() -> None:
    file = io.BytesIO()
    image = Image.fromarray(photo().transpose(1, 2, 0).copy())
    image.save(file, "WEBP", quality=40, method=0)
    expected = np.asarray(Image.open(file).convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(changed(photo(), webp=1, webp_quality=(40, 40)), expected)


def test_noise_has_its_standard_deviation() -> None:
    grey = np.full((3, 100, 100), 128, np.uint8)
    found = changed(grey, noise=1, noise_sigma=(6, 6)).astype(float) - 128
    assert found.std() == pytest.approx(6, rel=0.03)
    assert found.mean() == pytest.approx(0, abs=0.15)


def test_a_reduction_loses_detail_and_keeps_the_size() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (3, 40, 20))
    found = changed(stripes, resize=1, resize_scale=(0.25, 0.25))
    assert found.shape == stripes.shape
    assert found.astype(float).std() < 0.2 * stripes.astype(float).std()


def test_a_blur_of_zero_is_none_and_a_strong_one_is_flat() -> None:
    assert np.array_equal(changed(photo(), blur=1, blur_sigma=(0, 0)), photo())
    inner = (slice(None), slice(10, -10), slice(10, -10))
    blurred = changed(photo(), blur=1, blur_sigma=(6, 6))[inner].astype(float)
    assert blurred.std(axis=(1, 2)).max() < photo()[inner].astype(float).std(axis=(1, 2)).max() / 2


@given(st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_a_rectangle_of_the_area_is_erased(seed: int) -> None:
    plain = np.zeros((3, 60, 60), np.uint8)
    found = changed(plain, seed, erase=1, erase_area=(0.2, 0.2)).any(0)
    rows, columns = np.flatnonzero(found.any(1)), np.flatnonzero(found.any(0))
    box = found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    assert box.mean() == 1  # three random bytes are seldom all zero: once in 16 million
    assert found.mean() == pytest.approx(0.2, rel=0.1)


def test_colours_stay_within_their_range() -> None:
    grey = np.full((3, 8, 8), 100, np.uint8)
    found = [changed(grey, seed, colour=1, colour_range=0.2).mean() for seed in range(200)]
    assert 79 <= min(found) < 84
    assert 116 < max(found) <= 121


def test_each_change_comes_as_often_as_its_probability() -> None:
    image = photo(8, 8)
    web = WebAugment(noise=0.3)
    hits = [
        not np.array_equal(web(image, np.random.default_rng((0, 0, 0, row))), image)
        for row in range(2000)
    ]
    assert np.mean(hits) == pytest.approx(0.3, abs=0.03)


def test_a_change_that_is_switched_off_moves_no_others_draws() -> None:
    """The last change after none of the others: the same as if the others had not been drawn."""
    alone = changed(photo(), 3, jpeg=1)
    nothing = changed(photo(), 3, jpeg=1, blur=1, blur_sigma=(0, 0), colour=1, colour_range=0)
    assert np.array_equal(alone, nothing)


@pytest.mark.parametrize(
    ("values", "meaning"),
    [
        ({"jpeg": 1.5}, "a share, from 0 to 1"),
        ({"jpeg_quality": (80, 30)}, "the smallest and the largest quality"),
        ({"jpeg_quality": (0, 30)}, "within 1 and 100"),
        ({"jpeg_quality": (30.5, 40.5)}, "two whole numbers"),
        ({"jpeg_chroma": (411,)}, "some of 444, 422, 420"),
        ({"resize_scale": (0.0, 0.5)}, "within 0.05 and 1"),
        ({"noise_sigma": 3}, "standard deviation in grey levels"),
    ],
)
def test_values_without_a_meaning_are_refused(values: dict[str, Any], meaning: str) -> None:
    with pytest.raises(FaceproofError, match=rf"{next(iter(values))} = .* must be .*{meaning}"):
        replace(ALWAYS, **values)
