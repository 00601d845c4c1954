"""Turning faces upright: landmarks come to lie where the template has them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceproof.prepare.alignment import TEMPLATE, aligned, similarity, template_side

numbers = st.floats(-3, 3)


def placed(angle, size, x, y):
    """Return the template's landmarks, turned, enlarged and moved to a place."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return tuple(map(tuple, (TEMPLATE - 0.5) @ turn.T * size + (x, y)))


def with_dots(points, height=300, width=400):
    """Return an image with a white dot at each point."""
    image = np.zeros((3, height, width), np.uint8)
    for x, y in points:
        image[:, round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3] = 255
    return image


@pytest.mark.parametrize("angle", [0, 0.4, -1.5, 3.1])
@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_landmarks_come_to_lie_on_the_template(angle, margin):
    points = placed(angle, 100, 200, 150)
    found = aligned(with_dots(points), points, margin)
    side = round(100 * (1 + 2 * margin))
    assert found.shape == (3, side, side)
    for x, y in ((TEMPLATE - 0.5) / (1 + 2 * margin) + 0.5) * side:
        assert found[0, int(y), int(x)] > 200


def test_an_upright_face_is_cut_out_pixel_by_pixel():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (3, 200, 200), np.uint8)
    points = placed(0, 100, 100, 100)
    found = aligned(image, points, 0.0)
    assert np.array_equal(found, image[:, 50:150, 50:150])


def test_beyond_the_border_its_pixels_are_repeated():
    image = np.full((3, 100, 100), 77, np.uint8)
    found = aligned(image, placed(0.7, 40, 5, 95), 0.5)
    assert found.shape == (3, 80, 80)
    assert (found == 77).all()


@given(st.floats(0.1, 5), numbers, numbers, numbers)
def test_a_similarity_transform_is_found_again(scale, angle, x, y):
    points = placed(angle, scale, x, y)
    found = similarity(tuple(map(tuple, TEMPLATE)), points)
    assert found.scale == pytest.approx(scale)
    moved = [(found.a * u - found.b * v + found.c, found.b * u + found.a * v + found.d)
             for u, v in TEMPLATE]  # fmt: skip
    assert np.allclose(moved, points)


def test_a_crop_is_no_larger_than_the_image():
    image = np.full((3, 100, 120), 77, np.uint8)
    assert aligned(image, placed(0.0, 5000, 50, 50), 0.3).shape == (3, 120, 120)


def test_landmarks_in_one_point_have_no_side():
    assert template_side(((3.0, 4.0),) * 5) == 0
    assert template_side(placed(0.3, 80, 9, 9)) == pytest.approx(80)
