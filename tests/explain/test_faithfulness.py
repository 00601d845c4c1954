"""Deletion and insertion on a network of which it is known what it goes by."""

import numpy as np
import pytest
import torch
from scipy import special, stats

from faceproof.errors import FaceproofError
from faceproof.explain.attribution import attribute, removed
from faceproof.explain.config import METHODS
from faceproof.explain.faithfulness import (
    GRID,
    NUM_STEPS,
    area,
    cells_of,
    judge_curves,
    map_orders,
    mean_interval,
    random_orders,
    removal_curves,
    reversed_as_insertion,
)
from tests.known_networks import SIDE, patch_images, patch_mask, patch_network

IMAGES = patch_images(6)
EMPTY = removed(torch.from_numpy(IMAGES), "blur").numpy()
FAKE = np.ones(6, bool)


def probability(images):
    with torch.no_grad():
        return special.expit(patch_network()(torch.from_numpy(images)).double().numpy())


def test_cells_cover_the_image_and_are_alike():
    for side in (28, 48, 150, 224):
        sizes = np.bincount(cells_of(side).ravel())
        assert len(sizes) == GRID**2
        assert sizes.max() <= np.ceil(side / GRID) ** 2
        assert sizes.min() >= (side // GRID) ** 2
    assert len(np.unique(cells_of(8))) == 64  # an image of fewer pixels than cells


def test_the_order_of_a_map_is_by_its_cells_means():
    values = np.random.default_rng(0).permutation(GRID**2)
    maps = values.reshape(1, GRID, GRID).repeat(2, axis=1).repeat(2, axis=2).astype(np.float32)
    assert (values[map_orders(maps)[0]] == np.arange(GRID**2)[::-1]).all()


def test_the_curve_is_what_the_network_says_of_each_step():
    order = random_orders(1, SIDE, seed=3, num_orders=1)
    curve = removal_curves(probability, IMAGES[:1], EMPTY[:1], FAKE[:1], order)[0, 0]
    cells, taken = cells_of(SIDE), np.round(np.linspace(0, GRID**2, NUM_STEPS + 1)).astype(int)
    for step, number in enumerate(taken):
        gone = np.isin(cells, order[0, 0, :number])
        changed = np.where(gone, EMPTY[0], IMAGES[0])
        assert curve[step] == pytest.approx(probability(changed[None])[0], abs=1e-6)


def test_it_is_the_probability_of_the_called_class():
    order = random_orders(1, SIDE, seed=3, num_orders=2)
    scored = probability, IMAGES[:1], EMPTY[:1]
    as_fake = removal_curves(*scored, np.array([True]), order)
    as_real = removal_curves(*scored, np.array([False]), order)
    assert as_real == pytest.approx(1 - as_fake)


def test_a_reversed_order_inserted_is_the_same_images_backwards():
    orders = random_orders(6, SIDE, seed=1)
    scored = probability, IMAGES, EMPTY, FAKE
    deletion = removal_curves(*scored, orders)
    insertion = removal_curves(*scored, orders[..., ::-1], insert=True)
    assert reversed_as_insertion(deletion) == pytest.approx(insertion, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_map_that_shows_what_decides_beats_random(method):
    maps = attribute(patch_network(), torch.from_numpy(IMAGES), method)
    scored = probability, IMAGES, EMPTY, FAKE
    random = removal_curves(*scored, random_orders(6, SIDE, seed=0))
    deletion = removal_curves(*scored, map_orders(maps)[None])[0]
    insertion = removal_curves(*scored, map_orders(maps)[None], insert=True)[0]
    # The patch is 8 % of the image, so that the first step of a tenth may remove all of it.
    assert judge_curves(deletion, random, insert=False).beats_random
    assert judge_curves(insertion, reversed_as_insertion(random), insert=True).beats_random


def test_a_map_of_what_does_not_matter_is_worse_than_random():
    wrong = np.where(patch_mask(), -1, 1).astype(np.float32)[None].repeat(6, axis=0)
    scored = probability, IMAGES, EMPTY, FAKE
    random = removal_curves(*scored, random_orders(6, SIDE, seed=0))
    figures = judge_curves(removal_curves(*scored, map_orders(wrong)[None])[0], random, False)
    assert figures.gain < 0
    assert figures.beats_random is False


def test_random_orders_do_not_beat_random():
    scored = probability, IMAGES, EMPTY, FAKE
    random = removal_curves(*scored, random_orders(6, SIDE, seed=0))
    other = removal_curves(*scored, random_orders(6, SIDE, seed=9, num_orders=1))[0]
    figures = judge_curves(other, random, insert=False)
    assert figures.interval is not None
    assert figures.interval[0] < 0 < figures.interval[1]


def test_areas_and_intervals_against_references():
    line = np.linspace(1, 0, 11)
    assert area(line) == pytest.approx(0.5)
    assert area(line**2) == pytest.approx(np.trapezoid(line**2, np.linspace(0, 1, 11)))
    values = np.random.default_rng(0).normal(size=9)
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((wanted.low, wanted.high))
    assert mean_interval([1.0]) is None
    assert mean_interval([-0.3, 1.0]) == (-1.0, 1.0)  # a difference of shares is no larger


def test_what_is_undefined_says_so():
    one = judge_curves(np.linspace(1, 0, 11)[None], np.ones((2, 1, 11)), insert=False)
    assert (one.gain, one.interval, one.beats_random) == (pytest.approx(0.5), None, None)
    assert one.random_spread == 0
    with pytest.raises(FaceproofError, match="no images to judge"):
        judge_curves(np.empty((0, 11)), np.empty((2, 0, 11)), insert=False)


def test_orders_are_a_function_of_the_seed():
    assert (random_orders(3, SIDE, 5) == random_orders(3, SIDE, 5)).all()
    assert (random_orders(3, SIDE, 5) != random_orders(3, SIDE, 6)).any()
    assert (np.sort(random_orders(3, SIDE, 5), axis=2) == np.arange(GRID**2)).all()
