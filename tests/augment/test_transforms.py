"""Augmentation: a function of (seed, epoch, row) alone, and torchvision's operations."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from faceproof.augment import transforms as augments
from faceproof.augment.transforms import GREY, IN_LOADER, Augment, uniforms
from faceproof.errors import FaceproofError

EVERYTHING = Augment(0.5, 0.5, 30, 0.2, 0.2, 0.3, 0.3, 0.3, 0.2)
ROWS = torch.arange(64)
NUMBER = 20_000


def noise(number: int = 64, side: int = 12, low: float = 0, high: float = 1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(number, 3, side, side, generator=generator) * (high - low) + low


def smooth(side: int = 64) -> Tensor:
    """Return an image (1, 3, H, W) on which methods of interpolation agree."""
    y, x = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    return torch.stack([(4 * x).sin() * y, (3 * y).cos() * x, (x + 2 * y).sin()])[None] / 4 + 0.5


def inside(images: Tensor) -> Tensor:
    quarter = images.shape[-1] // 4
    return images[..., quarter:-quarter, quarter:-quarter]


@pytest.fixture
def strongest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every draw be 1, so that a change is by the whole of its range."""
    monkeypatch.setattr(augments, "uniforms", lambda *_: torch.ones(len(_[2]), _[3]))


def changed(images: Tensor, **ranges: float) -> Tensor:
    return Augment(**ranges)(images, 0, 0, torch.arange(len(images)))


def test_zero_ranges_change_nothing() -> None:
    images = noise()
    assert torch.equal(changed(images), images)


@given(st.permutations(range(64)), st.integers(1, 64), st.integers(0, 3))
@settings(max_examples=20)
def test_order_and_company_in_the_batch_are_of_no_account(
    rows: list[int], number: int, epoch: int
) -> None:
    chosen, images = torch.tensor(rows[:number]), noise()
    expected = EVERYTHING(images, 7, epoch, ROWS)[chosen]
    found = EVERYTHING(images[chosen], 7, epoch, ROWS[chosen])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_the_processs_random_state_is_neither_used_nor_moved() -> None:
    torch.manual_seed(1)
    first, state = EVERYTHING(noise(), 0, 0, ROWS), torch.get_rng_state()
    torch.manual_seed(2)
    assert torch.equal(EVERYTHING(noise(), 0, 0, ROWS), first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("other", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 2**32)])
def test_another_seed_epoch_or_row_is_another_change(other: tuple[int, int, int]) -> None:
    seed, epoch, shift = other
    images = noise()
    first, second = EVERYTHING(images, 0, 0, ROWS), EVERYTHING(images, seed, epoch, ROWS + shift)
    differ = ((first - second).abs().amax((1, 2, 3)) > 1e-3).float()
    assert differ.mean() > 0.95


def streams() -> dict[str, tuple[Tensor, Tensor]]:
    """Return pairs of numbers that stand near one another."""
    rows = torch.arange(NUMBER)
    here = uniforms(0, 0, rows, 2)
    return {
        "draws": (here[:, 0], here[:, 1]),
        "rows": (here[:, 0], uniforms(0, 0, rows + 1, 1)[:, 0]),
        "epochs": (here[:, 0], uniforms(0, 1, rows, 1)[:, 0]),
        "seeds": (here[:, 0], uniforms(1, 0, rows, 1)[:, 0]),
        "seed and epoch": (uniforms(0, 1, rows, 1)[:, 0], uniforms(1, 0, rows, 1)[:, 0]),
        "epoch and row": (uniforms(0, 1, rows, 1)[:, 0], uniforms(0, 0, rows + 1, 1)[:, 0]),
    }


@pytest.mark.parametrize("name", streams())
def test_draws_are_uniform_and_independent_of_their_neighbours(name: str) -> None:
    first, second = streams()[name]
    for draws in (first, second):
        assert draws.min() >= 0
        assert draws.max() < 1
        assert scipy.stats.kstest(draws.numpy(), "uniform").pvalue > 1e-3
    squares = torch.bincount((first * 10).long() * 10 + (second * 10).long(), minlength=100)
    assert scipy.stats.chisquare(squares.numpy()).pvalue > 1e-3
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 4 / math.sqrt(NUMBER)


def test_epochs_of_one_image_are_uniform_too() -> None:
    draws = torch.cat([uniforms(0, epoch, torch.tensor([5]), 4) for epoch in range(1000)])
    for column in draws.T:
        assert scipy.stats.kstest(column.numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("name", "flip"), [("horizontal_flip", F.horizontal_flip), ("vertical_flip", F.vertical_flip)]
)
def test_flips_are_exact_and_as_often_as_asked(name: str, flip: Callable[[Tensor], Tensor]) -> None:
    images = noise(4000, 4)
    turned = flip(images)
    assert torch.equal(changed(images, **{name: 1.0}), turned)
    found = changed(images, **{name: 0.3})
    flipped = (found == turned).all(3).all(2).all(1)
    assert torch.equal(found[~flipped], images[~flipped])
    assert flipped.float().mean() == pytest.approx(0.3, abs=0.03)


@pytest.mark.usefixtures("strongest")
def test_a_quarter_turn_is_exact() -> None:
    images = noise()
    torch.testing.assert_close(changed(images, rotation=90), images.rot90(1, (2, 3)))


@pytest.mark.usefixtures("strongest")
@pytest.mark.parametrize("angle", [5, 15, 40])
def test_rotation_is_torchvisions(angle: float) -> None:
    expected = F.rotate(smooth(), angle, InterpolationMode.BILINEAR)
    found = changed(smooth(), rotation=angle)
    torch.testing.assert_close(inside(found), inside(expected), rtol=0, atol=1e-3)


@pytest.mark.usefixtures("strongest")
def test_zoom_and_translation_are_torchvisions() -> None:
    for ranges, translate, scale in (
        ({"zoom": 0.25}, [0, 0], 1.25),
        ({"translation": 0.125}, [-8, -8], 1.0),
    ):
        expected = F.affine(smooth(), 0, translate, scale, [0, 0], InterpolationMode.BILINEAR)
        found = changed(smooth(), **ranges)
        torch.testing.assert_close(inside(found), inside(expected), rtol=0, atol=1e-3)


def test_a_rotation_is_drawn_from_its_whole_range() -> None:
    images = smooth(32).expand(200, -1, -1, -1)
    found = changed(images, rotation=20)
    signed = uniforms(0, 0, torch.arange(200), augments.NUM_DRAWS)[:, 2] * 2 - 1
    assert signed.min() < -0.95
    assert signed.max() > 0.95
    for row in (0, 50, 199):
        expected = F.rotate(images[row], float(signed[row]) * 20, InterpolationMode.BILINEAR)
        torch.testing.assert_close(inside(found[row]), inside(expected), rtol=0, atol=2e-3)


@pytest.mark.usefixtures("strongest")
@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("brightness", F.adjust_brightness),
        ("contrast", F.adjust_contrast),
        ("saturation", F.adjust_saturation),
    ],
)
def test_colour_is_torchvisions(
    name: str, reference: Callable[[Tensor, float], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = noise()
    found = changed(images, **{name: 0.4})
    torch.testing.assert_close(found, reference(images, 1.4), rtol=0, atol=1e-3)
    monkeypatch.setattr(augments, "uniforms", lambda *_: torch.zeros(len(_[2]), _[3]))
    for extent in (0.4, 1.0):
        found = changed(images, **{name: extent})
        torch.testing.assert_close(found, reference(images, 1 - extent), rtol=0, atol=1e-3)


@pytest.mark.usefixtures("strongest")
def test_hue_turns_the_chroma_and_keeps_the_luma() -> None:
    images = noise(low=0.4, high=0.6)
    luma = (images * GREY.view(3, 1, 1)).sum(1, keepdim=True)
    third = changed(images, hue=1 / 3)
    torch.testing.assert_close((third * GREY.view(3, 1, 1)).sum(1, keepdim=True), luma)
    assert (third - images).abs().max() > 0.05
    torch.testing.assert_close(changed(images, hue=1), images)
    torch.testing.assert_close(changed(changed(third, hue=1 / 3), hue=1 / 3), images)
    torch.testing.assert_close(changed(images, hue=0.5), 2 * luma - images)


@given(
    st.fixed_dictionaries(
        {name: st.floats(0, 0.99) for name in vars(Augment()) if name not in IN_LOADER}
        | {"rotation": st.floats(0, 180)}
    )
)
@settings(max_examples=25, deadline=None)
def test_every_change_stays_within_zero_and_one(ranges: dict[str, Any]) -> None:
    for images in (noise(8), noise(8).round()):
        found = changed(images, **ranges)
        assert found.shape == images.shape
        assert found.isfinite().all()
        assert found.min() >= -1e-5
        assert found.max() <= 1 + 1e-5


def test_no_border_is_invented() -> None:
    """A warp of one colour is that colour: there is no black corner to learn from."""
    images = torch.full((64, 3, 16, 16), 0.7)
    found = changed(images, rotation=45, translation=0.3, zoom=0.5)
    torch.testing.assert_close(found, images)


@pytest.mark.parametrize(
    "ranges", [{"zoom": 1}, {"contrast": 1.5}, {"rotation": -1}, {"hue": math.nan}]
)
def test_ranges_without_a_meaning_are_refused(ranges: dict[str, float]) -> None:
    with pytest.raises(
        FaceproofError, match=rf"augment\.{next(iter(ranges))} = .* between 0 and 1"
    ):
        Augment(**ranges)


RANGES = {
    "rotation": 20, "translation": 0.1, "zoom": 0.2, "brightness": 0.2, "contrast": 0.3,
    "saturation": 0.3, "hue": 0.1,
}  # fmt: skip


@pytest.mark.parametrize("strength", [0.0, 0.5, 2.0])
def test_strength_scales_every_range_and_no_probability(strength: float) -> None:
    images = noise()
    flips = {"horizontal_flip": 0.5, "vertical_flip": 0.3}
    found = changed(images, **RANGES, **flips, strength=strength)
    scaled = {name: extent * strength for name, extent in RANGES.items()}
    torch.testing.assert_close(found, changed(images, **scaled, **flips))


def test_a_range_that_its_strength_takes_too_far_is_refused() -> None:
    Augment(zoom=0.3, rotation=90, horizontal_flip=1, strength=3)
    for ranges in ({"zoom": 0.5}, {"hue": 0.6}):
        with pytest.raises(FaceproofError, match=r"augment.strength = 2"):
            Augment(**ranges, strength=2)
    with pytest.raises(FaceproofError, match=r"augment.strength = -1"):
        Augment(strength=-1)
