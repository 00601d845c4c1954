"""What changes an image in the loader: a function of seed, epoch and row, or of the row's pair."""

import pickle

import numpy as np
import pyarrow as pa
import pytest

from faceproof.augment.in_loader import LoaderAugment
from faceproof.augment.transforms import Augment
from faceproof.augment.web import CHANGES, WebAugment
from tests.augment.test_web import photo

WEB = WebAugment(**dict.fromkeys(CHANGES, 1.0))
NAMED = ({"name": "GaussianNoise", "sigma": 0.2},)
PAIRS = pa.chunked_array([["a", None, "a"], ["b", None]], pa.string())


@pytest.mark.parametrize("augment", [Augment(web=WEB), Augment(torchvision=NAMED)])
def test_images_of_a_pair_get_the_same_draws_and_no_others_do(augment: Augment) -> None:
    change = LoaderAugment(augment, 0, PAIRS)
    found = [change(photo(), 1, row).tobytes() for row in range(5)]
    assert found[0] == found[2]
    assert len(set(found)) == 4
    again = [change(photo(), 2, row).tobytes() for row in range(5)]
    assert not set(found) & set(again)


def test_the_same_draws_can_be_switched_off() -> None:
    change = LoaderAugment(Augment(web=WEB, same_in_pairs=False), 0, PAIRS)
    assert len({change(photo(), 0, row).tobytes() for row in range(5)}) == 5


def test_a_table_without_pairs_draws_by_the_row() -> None:
    bare = LoaderAugment(Augment(web=WEB), 0, pa.chunked_array([pa.nulls(5, pa.string())]))
    paired = LoaderAugment(Augment(web=WEB), 0, PAIRS)
    assert np.array_equal(bare(photo(), 3, 1), paired(photo(), 3, 1))
    assert not np.array_equal(bare(photo(), 3, 0), bare(photo(), 3, 2))


def test_a_seed_of_its_own_has_draws_of_its_own() -> None:
    first, second = (LoaderAugment(Augment(web=WEB), seed, PAIRS) for seed in (0, 1))
    assert not np.array_equal(first(photo(), 0, 0), second(photo(), 0, 0))


def test_another_process_makes_the_same_images() -> None:
    change = LoaderAugment(Augment(web=WEB, torchvision=NAMED), 4, PAIRS)
    sent = pickle.loads(pickle.dumps(change))
    assert np.array_equal(change(photo(), 5, 3), sent(photo(), 5, 3))
