import io

import numpy as np
import pytest
from PIL import Image

from faceproof.augment.corruptions import (
    CHANGES,
    LEVELS,
    Corruption,
    neutral_corruption,
    robustness_corruptions,
)
from faceproof.errors import FaceproofError


def image(height=60, width=80, seed=0):
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(40, 200, (6, 8, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    grain = rng.normal(0, 8, pixels.shape)
    detailed = (pixels + grain).clip(0, 255).astype(np.uint8)
    return detailed.transpose(2, 0, 1)


def change(corruption, name="a.jpg", of=None):
    return corruption(image() if of is None else of, name)


def squared_change(corruption):
    return np.square(change(corruption).astype(float) - image()).mean()


@pytest.mark.parametrize("corruption", robustness_corruptions("standard"), ids=str)
def test_a_corruption_keeps_size_and_type_and_is_the_same_every_time(corruption):
    first = change(corruption)
    assert first.shape == (3, 60, 80)
    assert first.dtype == np.uint8
    assert np.array_equal(first, change(corruption))


@pytest.mark.parametrize("kind", ["jpeg", "resize", "blur", "noise", "screenshot"])
def test_later_levels_change_more(kind):
    levels = [squared_change(Corruption(kind, level)) for level in LEVELS["standard"][kind]]
    assert levels == sorted(levels)
    assert levels[-1] > levels[0] > 0


def test_nothing_changes_nothing():
    assert np.array_equal(change(Corruption("none", 0)), image())


def test_noise_has_its_level_and_differs_between_images():
    grey = np.full((3, 200, 200), 128, np.uint8)
    noisy = change(Corruption("noise", 10), of=grey)
    assert noisy.std() == pytest.approx(10, rel=0.03)
    assert not np.array_equal(
        change(Corruption("noise", 10), "a.jpg"), change(Corruption("noise", 10), "b")
    )


def test_jpeg_is_pillow_s():
    file = io.BytesIO()
    pixels = image().transpose(1, 2, 0)
    Image.fromarray(pixels).save(file, "JPEG", quality=60)
    expected = np.asarray(Image.open(file))
    assert np.array_equal(change(Corruption("jpeg", 60)).transpose(1, 2, 0), expected)


def test_brightness_is_a_factor():
    dark = change(Corruption("brightness", 0.5))
    assert np.abs(dark - image() * 0.5).max() <= 0.5


def test_neutral_gives_all_images_one_wrapping():
    neutral = neutral_corruption("jpeg")
    for height, width in ((60, 80), (300, 200)):
        assert change(neutral, of=image(height, width)).shape == (3, 256, 256)


def test_an_image_of_one_pixel_survives_everything():
    dot = np.zeros((3, 1, 1), np.uint8)
    for corruption in robustness_corruptions("standard"):
        assert corruption(dot, "dot").shape == (3, 1, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Corruption("rain", 1),
        lambda: robustness_corruptions("all"),
        lambda: neutral_corruption("png"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(make):
    with pytest.raises(FaceproofError, match=r"choose one of none, neutral|standard, quick|jpeg"):
        make()


def test_every_kind_is_described():
    assert all(f"| {kind} " in Corruption.__doc__ for kind in CHANGES)
