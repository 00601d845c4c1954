"""Maps against the known places of forgeries."""

import numpy as np
import pytest
from PIL import Image

from faceproof.data.demo import make_demo
from faceproof.explain.planted import (
    local_mask,
    mask_path,
    mass_inside,
    planted_figures,
    pointing_hits,
    read_mask,
)
from faceproof.task import get_task

SIDE = 8


def masks_of(*corners):
    masks = np.zeros((len(corners), SIDE, SIDE), bool)
    for mask, (row, column) in zip(masks, corners, strict=True):
        mask[row : row + 4, column : column + 4] = True
    return masks


APART = masks_of((0, 0), (0, 4), (4, 0), (4, 4))


def test_maps_that_are_the_masks_find_every_forgery_and_no_other():
    found = planted_figures(APART.astype(float), APART)
    assert (found.num_pictures, found.hits, found.inside, found.area) == (4, 1, 1, 0.25)
    assert (found.hits_elsewhere, found.inside_elsewhere) == (0, 0)
    assert found.gain_interval == (pytest.approx(1), pytest.approx(1))


def test_knowing_where_forgeries_usually_lie_is_no_gain():
    same = masks_of((2, 2), (2, 2), (2, 2))
    middle = same.astype(float)
    found = planted_figures(middle, same)
    assert found.hits == found.hits_elsewhere == 1
    assert found.gain == 0


def test_an_even_map_has_its_masks_share_inside_and_points_nowhere():
    even = np.ones((4, SIDE, SIDE))
    assert mass_inside(even, APART) == pytest.approx([0.25] * 4)
    assert not pointing_hits(even, APART).any()


def test_only_what_speaks_for_the_forgery_counts():
    maps = np.where(APART, 1.0, -5.0)
    assert mass_inside(maps, APART) == pytest.approx(np.ones(4))
    assert mass_inside(-np.abs(maps), APART) == pytest.approx(np.zeros(4))


def test_a_single_picture_has_no_others():
    found = planted_figures(APART[:1].astype(float), APART[:1])
    assert found.hits == 1
    assert (found.hits_elsewhere, found.inside_elsewhere, found.gain) == (None, None, None)


def test_the_demo_set_keeps_its_masks(tmp_path):
    make_demo(tmp_path / "demo", get_task("deepfake"), num_per_class=4)
    pictures = sorted((tmp_path / "demo" / "pictures").glob("*/*/*.jpg"))
    by_kind = {path.parent.name: path for path in pictures}
    assert mask_path(by_kind["camera"]) is None
    path = mask_path(by_kind["face_swap"])
    assert path is not None
    with Image.open(path) as mask:
        whole = np.asarray(mask) > 0
    assert read_mask(path, 144).tolist() == whole.tolist()
    small = local_mask(by_kind["face_swap"], 36)
    assert small is not None
    assert small.mean() == pytest.approx(whole.mean(), abs=0.02)
    assert local_mask(by_kind["upsampled"], 36) is None  # it is everywhere


def test_other_pictures_have_no_mask(tmp_path):
    assert mask_path("a.jpg") is None
    assert mask_path(tmp_path / "pictures" / "fake" / "x" / "a.jpg") is None
