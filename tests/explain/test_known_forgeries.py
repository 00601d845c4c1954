"""Maps against the known places of forgeries."""

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from faceproof.data.demo.make import make_demo
from faceproof.explain.explanation_results import CurveMetrics
from faceproof.explain.known_forgeries import (
    local_mask,
    mask_path,
    mass_inside,
    planted_metrics,
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


CURVES = CurveMetrics(0.3, 0.5, 0.01, 0.2, (0.1, 0.3), True)
APART = masks_of((0, 0), (0, 4), (4, 0), (4, 4))


def test_maps_that_are_the_masks_find_every_forgery_and_no_other():
    found = planted_metrics(APART.astype(float), APART, CURVES)
    assert (found.num_images, found.hits, found.inside, found.area) == (4, 1, 1, 0.25)
    assert (found.hits_elsewhere, found.inside_elsewhere) == (0, 0)
    assert (found.hits_gain, found.hits_gain_interval) == (
        1,
        None,
    )  # four that agree have no spread
    assert found.gain_interval == (pytest.approx(1), pytest.approx(1))
    assert found.deletion is CURVES


def test_knowing_where_forgeries_usually_lie_is_no_gain():
    same = masks_of((2, 2), (2, 2), (2, 2))
    middle = same.astype(float)
    found = planted_metrics(middle, same, CURVES)
    assert found.hits == found.hits_elsewhere == 1
    assert (found.gain, found.hits_gain) == (0, 0)


def test_an_even_map_has_its_masks_share_inside_and_points_nowhere():
    even = np.ones((4, SIDE, SIDE))
    assert mass_inside(even, APART) == pytest.approx([0.25] * 4)
    assert not pointing_hits(even, APART).any()


def test_places_that_are_strongest_together_hit_by_their_share():
    """A window of occlusion: its corner lies outside a round forgery that its middle lies in."""
    window = np.zeros((1, SIDE, SIDE), np.float32)
    window[0, :4, :4] = 1
    window[0, 2, 2] += 1e-7  # rounding is no reason to look at one place alone
    inner = np.zeros((1, SIDE, SIDE), bool)
    inner[0, 1:4, 1:4] = True
    assert pointing_hits(window, inner) == pytest.approx([9 / 16])
    window[0, 2, 2] += 1e-3
    assert pointing_hits(window, inner) == pytest.approx([1])


def test_hits_are_set_against_other_masks_image_by_image():
    maps = APART[[0, 1, 2, 0]].astype(float)  # the last points at another's forgery
    found = planted_metrics(maps, APART, CURVES)
    gains = np.array([1, 1, 1, -1 / 3])
    assert found.hits == 0.75
    assert found.hits_gain == pytest.approx(gains.mean())
    half = stats.t.ppf(0.975, 3) * gains.std(ddof=1) / 2
    assert gains.mean() + half > 1  # more than a gain can be
    assert found.hits_gain_interval == pytest.approx((gains.mean() - half, 1))
    assert found.hits_interval[0] < 0.75 < found.hits_interval[1]


def test_only_what_speaks_for_the_forgery_counts():
    maps = np.where(APART, 1.0, -5.0)
    assert mass_inside(maps, APART) == pytest.approx(np.ones(4))
    assert mass_inside(-np.abs(maps), APART) == pytest.approx(np.zeros(4))


def test_a_single_image_has_no_others():
    found = planted_metrics(APART[:1].astype(float), APART[:1], CURVES)
    assert found.hits == 1
    assert (found.hits_elsewhere, found.inside_elsewhere, found.gain) == (None, None, None)
    assert (found.hits_gain, found.hits_gain_interval) == (None, None)


def test_the_demo_set_keeps_its_masks(tmp_path):
    make_demo(tmp_path / "demo", get_task("deepfake"), num_per_class=4)
    images = sorted((tmp_path / "demo" / "pictures").glob("*/*/*.jpg"))
    by_kind = {path.parent.name: path for path in images}
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


def test_other_images_have_no_mask(tmp_path):
    assert mask_path("a.jpg") is None
    assert mask_path(tmp_path / "pictures" / "fake" / "x" / "a.jpg") is None
