"""Self-blended images: only the face changes, within the range of colours, by the draws alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceproof.augment.self_blending import Oval, self_blend, target_of
from faceproof.data.image_io import Pixels
from tests.augment.test_web import photo


def blended(image: Pixels, seed: int, **words: Oval) -> tuple[Pixels, Pixels]:
    """Return the image beside it, and the self-blended one."""
    first, second = (np.random.default_rng(seed) for _ in range(2))
    return target_of(image, first), self_blend(image, second, **words)


def distances(height: int, width: int, oval: Oval) -> np.ndarray:
    """Return how many radii of an upright oval each pixel is from its middle, (H, W)."""
    y, x = np.mgrid[:height, :width]
    across = ((x + 0.5) / width - oval.centre[0]) / oval.right[0]
    along = ((y + 0.5) / height - oval.centre[1]) / oval.down[1]
    return np.hypot(across, along)


@pytest.mark.parametrize("oval", [Oval(), Oval((0.4, 0.6), (0.15, 0), (0, 0.2))])
def test_only_the_face_changes(oval: Oval) -> None:
    image, radii = photo(100, 120), distances(100, 120, oval)
    changed_inside = 0
    for seed in range(40):
        target, made = blended(image, seed, oval=oval)
        changed = (target != made).any(0)
        assert not changed[radii > 1.75].any()  # the oval's largest scale, shift, bends and border
        changed_inside += changed[radii < 0.4].mean() / 40
    assert changed_inside > 0.75


def test_one_of_source_and_target_is_the_image_itself() -> None:
    image = photo(64, 64)
    as_they_are = [np.array_equal(blended(image, seed)[0], image) for seed in range(60)]
    assert 18 <= sum(as_they_are) <= 42


def test_what_is_blended_follows_the_oval_when_it_is_turned() -> None:
    turned = Oval((0.5, 0.5), (0.05, 0.05), (-0.3, 0.3))  # long from upper right to lower left
    hits = np.zeros((80, 80))
    for seed in range(60):  # half of them end at the brows, and have no upper end
        target, made = blended(photo(80, 80), seed, oval=turned)
        hits += (target != made).any(0)
    assert hits[20, 60] > 10
    assert hits[60, 20] > 10
    assert hits[20, 20] == hits[60, 60] == 0


@pytest.mark.parametrize("level", [0, 255])
def test_colours_stay_in_their_range(level: int) -> None:
    image = np.full((3, 48, 48), level, np.uint8)
    for seed in range(20):
        for one in blended(image, seed):  # what wrapped around would be far from the others
            assert np.abs(one.astype(int) - level).max() <= 80


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 99))
@settings(max_examples=50)
def test_images_of_every_size_are_functions_of_the_draws(
    height: int, width: int, seed: int
) -> None:
    image = photo(height, width)
    before = image.copy()
    found, again = blended(image, seed), blended(image, seed)
    for one, other in zip(found, again, strict=True):
        assert one.shape == image.shape
        assert one.dtype == np.uint8
        assert one.flags.writeable  # torch wants it
        assert np.array_equal(one, other)
    assert np.array_equal(image, before)


def test_half_of_the_masks_end_at_the_brows() -> None:
    """There the border is a line across the face, and the forehead stays as it is."""
    image, oval = photo(128, 128), Oval()
    _, y = np.meshgrid(*[(np.arange(128) + 0.5) / 128] * 2)
    along = (y - oval.centre[1]) / oval.down[1]
    middle = np.abs(np.arange(128) - 64) < 12
    ends = []
    for seed in range(80):
        target, made = blended(image, seed, oval=oval)
        changed = (target != made).any(0)[:, middle].mean(1) > 0.5
        ends.append(along[np.argmax(changed), 0])
    assert 25 <= sum(end > -0.62 for end in ends) <= 55
    assert max(ends) < 0.15


def test_a_border_may_be_soft_or_nearly_sharp() -> None:
    image = np.full((3, 224, 224), 128, np.uint8)
    steepest = []
    for seed in range(100):
        target, made = blended(image, seed)
        change = np.abs(made.astype(int) - target).max(0).astype(float)
        if change.max() >= 16:
            # Over two pixels, because the levels of a small change are few.
            steps = np.abs(change[:, 2:] - change[:, :-2]) / 2
            steepest.append(steps.max() / change.max())
    assert max(steepest) > 0.15  # over at most 7 of 224 pixels
    assert min(steepest) < 0.09  # over at least 11
