"""The pictures of images and their maps: what they hold."""

import numpy as np
import pytest
from matplotlib.image import AxesImage

from faceproof.explain.explanation_results import Explained
from faceproof.reports.gallery import (
    map_pixels,
    overlay_pixels,
    plot_pixels,
    strength,
    strip,
    to_pixels,
    verdict_words,
)
from faceproof.task import get_task

TASK = get_task("deepfake")
SIDE = 32
RAMP = np.linspace(-1, 1, SIDE, dtype=np.float32)[None].repeat(SIDE, axis=0)


def explained(**changes):
    image = np.random.default_rng(0).random((3, SIDE, SIDE)).astype(np.float32)
    values = {
        "path": "some/where/a.jpg", "image": image, "logit": 2.0, "probability": 0.88,
        "called": "fake", "maps": {"cam": RAMP, "occlusion": -RAMP},
    }  # fmt: skip
    return Explained(**(values | changes))


def test_for_is_vermillion_against_is_blue_and_nothing_is_white():
    pixels = map_pixels(RAMP, "cam").astype(int)
    left, right, middle = pixels[0, 0], pixels[0, -1], pixels[0, SIDE // 2]
    assert left[2] > left[0] + 50
    assert right[0] > right[2] + 100
    assert (middle > 230).all()


def test_the_overlay_keeps_the_image_in_grey_where_the_map_is_weak():
    image = np.random.default_rng(0).random((3, SIDE, SIDE)).astype(np.float32)
    values = np.zeros((SIDE, SIDE), np.float32)
    values[:4, :4] = 1
    laid = overlay_pixels(image, values, "cam").astype(int)
    grey = to_pixels(image).mean(2)
    assert np.abs(laid[8:, 8:] - grey[8:, 8:, None]).max() <= 1
    assert (laid[:4, :4, 0] > laid[:4, :4, 2] + 50).all()


def test_a_map_of_nothing_is_drawn_as_nothing():
    nothing = np.zeros((SIDE, SIDE), np.float32)
    assert (strength(nothing, "integrated_gradients") == 0).all()
    assert (map_pixels(nothing, "cam") >= 254).all()


def test_strength_is_relative():
    assert strength(RAMP * 1e-6, "cam") == pytest.approx(strength(RAMP, "cam"), abs=1e-4)


def test_the_verdict_says_what_was_called_how_surely_and_the_truth():
    assert verdict_words(explained(), TASK) == "called fake (88.0%)"
    missed = explained(called="real", probability=0.1, label="fake", generator="face_swap")
    assert verdict_words(missed, TASK) == "called real (90.0%), wrongly: it is fake, face_swap"
    assert (
        verdict_words(explained(label="fake"), TASK) == "called fake (88.0%), rightly: it is fake"
    )


def test_a_strip_holds_image_overlays_and_maps():
    figure = strip(explained(), TASK)
    drawn = [image.get_array() for axes in figure.axes for image in axes.get_images()]
    assert all(isinstance(i, AxesImage) for axes in figure.axes for i in axes.get_images())
    one = explained()
    wanted = [
        to_pixels(one.image),
        *(overlay_pixels(one.image, values, name) for name, values in one.maps.items()),
        *(map_pixels(values, name) for name, values in one.maps.items()),
    ]
    assert len(drawn) == len(wanted) == 5
    assert all((a == b).all() for a, b in zip(drawn, wanted, strict=True))
    assert figure.get_suptitle().startswith("a.jpg\ncalled fake (88.0%)")
    assert plot_pixels(figure).std() > 10
