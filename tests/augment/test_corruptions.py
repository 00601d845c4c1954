import io

import numpy as np
import pytest
import torch
from PIL import Image

from faceproof.augment.corruptions import (
    CHANGES,
    LEVELS,
    Condition,
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
    return torch.from_numpy(detailed).permute(2, 0, 1).contiguous()


def change(condition, name="a.jpg", of=None):
    return condition(image() if of is None else of, name)


def damage(condition):
    return (change(condition).float() - image().float()).square().mean().item()


@pytest.mark.parametrize("condition", robustness_corruptions("standard"), ids=str)
def test_a_condition_keeps_size_and_type_and_is_the_same_every_time(condition):
    first = change(condition)
    assert first.shape == (3, 60, 80)
    assert first.dtype == torch.uint8
    assert torch.equal(first, change(condition))


@pytest.mark.parametrize("kind", ["jpeg", "resize", "blur", "noise", "screenshot"])
def test_later_levels_damage_more(kind):
    levels = [damage(Condition(kind, level)) for level in LEVELS["standard"][kind]]
    assert levels == sorted(levels)
    assert levels[-1] > levels[0] > 0


def test_nothing_changes_nothing():
    assert torch.equal(change(Condition("none", 0)), image())


def test_noise_has_its_level_and_differs_between_images():
    grey = torch.full((3, 200, 200), 128, dtype=torch.uint8)
    noisy = change(Condition("noise", 10), of=grey).float()
    assert noisy.std().item() == pytest.approx(10, rel=0.03)
    assert not torch.equal(
        change(Condition("noise", 10), "a.jpg"), change(Condition("noise", 10), "b")
    )


def test_jpeg_is_pillow_s():
    file = io.BytesIO()
    pixels = image().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=60)
    expected = np.asarray(Image.open(file))
    assert np.array_equal(change(Condition("jpeg", 60)).permute(1, 2, 0).numpy(), expected)


def test_brightness_is_a_factor():
    dark = change(Condition("brightness", 0.5)).float()
    assert (dark - image().float() * 0.5).abs().max() <= 0.5


def test_neutral_gives_all_images_one_wrapping():
    neutral = neutral_corruption("jpeg")
    for height, width in ((60, 80), (300, 200)):
        assert change(neutral, of=image(height, width)).shape == (3, 256, 256)


def test_an_image_of_one_pixel_survives_everything():
    dot = torch.zeros(3, 1, 1, dtype=torch.uint8)
    for condition in robustness_corruptions("standard"):
        assert condition(dot, "dot").shape == (3, 1, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Condition("rain", 1),
        lambda: robustness_corruptions("all"),
        lambda: neutral_corruption("png"),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(make):
    with pytest.raises(FaceproofError, match=r"there are none, neutral|standard, quick|jpeg"):
        make()


def test_every_kind_is_described():
    assert all(f"| {kind} " in Condition.__doc__ for kind in CHANGES)
