"""The page of an explanation, its numbers, and the sentences about the measures."""

import json
import re
from dataclasses import replace

import numpy as np

from faceproof.explain.config import LEAST, MapConfig
from faceproof.explain.explanation_results import (
    CurveMetrics,
    Explained,
    Explanation,
    MethodTrust,
    PlantedMetrics,
    Stage,
    Trust,
)
from faceproof.reports.explain_page import write_explanation
from faceproof.task import get_task

TASK = get_task("deepfake")
GOOD = CurveMetrics(0.31, 0.52, 0.01, 0.21, (0.1, 0.32), True)
BAD = CurveMetrics(0.55, 0.52, 0.01, -0.03, (-0.1, 0.04), False)
WORSE = CurveMetrics(0.6, 0.52, 0.01, -0.08, (-0.1, -0.06), False)
MASK = CurveMetrics(0.25, 0.52, 0.01, 0.27, (0.2, 0.34), True)
PLANTED = PlantedMetrics(
    num_images=12, hits=0.75, hits_interval=(0.5, 0.9), hits_elsewhere=0.5, hits_gain=0.25,
    hits_gain_interval=(-0.05, 0.55), inside=0.4, inside_elsewhere=0.25, area=0.2, gain=0.15,
    gain_interval=(0.05, 0.25), deletion=GOOD,
)  # fmt: skip
CURVE = np.linspace(0.9, 0.5, 11).tolist()


def method(deletion=GOOD, insertion=GOOD, last=0.1, flagged=False, planted=PLANTED, num_constant=0):
    stages = [Stage("head", 0.1, 0.8, 0.7), Stage("all weights", 1.0, last, 0.2, num_constant)]
    return MethodTrust(deletion, insertion, CURVE, CURVE[::-1], stages, flagged, planted)


def trust(**methods):
    return Trust("a sample", 24, 6, 16, 12, CURVE, CURVE[::-1], MASK, methods)


def explained(section="fake called real"):
    image = np.random.default_rng(0).random((3, 16, 16)).astype(np.float32)
    maps = {"cam": image[0] - 0.5, "occlusion": image[1] - 0.5}
    return Explained("/x/<b>&.jpg", image, -2.0, 0.12, "real", maps, "fake", "face_swap", section)


def explanation(images, measures=None):
    config = MapConfig(("cam", "occlusion"))
    return Explanation(
        "run", TASK, 0.5, config, "backbone.layer4", images, measures, "its mistakes"
    )


def test_the_page_stands_alone_and_holds_every_image(tmp_path):
    images = [explained(), explained("real called fake")]
    page = write_explanation(tmp_path / "out", explanation(images, trust(cam=method())))
    text = page.read_text()
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    assert text.count("data:image/jpeg") == 2 * (1 + 2 * 2)
    assert "<b>&" not in text
    assert "&lt;b&gt;&amp;.jpg" in text
    assert "called real (88.0%), wrongly: it is fake, face_swap" in text
    assert "Fake called real" in text
    assert "a Gaussian of an eighth of the side" in text
    assert "backbone.layer4" in text
    assert text.count("data:image/svg+xml") == 2


def test_the_numbers_hold_everything_but_pixels(tmp_path):
    measures = trust(cam=method())
    write_explanation(tmp_path / "out", explanation([explained()], measures))
    found = json.loads((tmp_path / "out" / "explanation.json").read_text())
    (one,) = found["images"]
    assert (one["logit"], one["probability"], one["called"]) == (-2.0, 0.12, "real")
    assert (tmp_path / "out" / one["plot"]).is_file()
    assert found["trust"] == json.loads(json.dumps(measures.to_json()))
    assert found["trust"]["methods"]["cam"]["deletion"]["gain"] == 0.21


def test_the_page_says_what_was_computed(tmp_path):
    text = write_explanation(tmp_path / "a", explanation([], trust(cam=method()))).read_text()
    text = re.sub(r"\s+", " ", text)
    assert "effort <code>thorough</code>: occlusion by 8 x 8 windows; curves of 10 steps" in text
    assert "for 24 images against 5 random orders" in text
    assert "--effort thorough" not in text
    found = explanation([explained()], trust(cam=method()))
    assert "The effort was chosen by the size of the network and by the device." in text
    least = replace(found, config=MapConfig(("integrated_gradients",), effort=LEAST))
    text = write_explanation(tmp_path / "b", least).read_text()
    assert "integrated gradients in 4 steps" in text
    assert "--effort thorough" in text
    assert "large" not in text.split("</style>")[-1]  # it may be that little was asked for
    asked = write_explanation(tmp_path / "c", replace(least, effort_chosen=True)).read_text()
    assert "The effort was chosen by you; <code>--effort thorough</code>" in asked
    numbers = json.loads((tmp_path / "b" / "explanation.json").read_text())["effort"]
    assert numbers["grain"] == {"num_windows": 4, "num_steps": 4}
    assert (numbers["name"], numbers["sample"]) == ("least", 4)


def test_without_known_places_the_page_has_no_columns_for_them(tmp_path):
    known = trust(cam=method())
    unknown = replace(trust(cam=method(planted=None)), num_planted=0, num_found=0)
    for name, measures, shown in (("a", known, True), ("b", unknown, False)):
        text = write_explanation(tmp_path / name, explanation([], measures)).read_text()
        assert ("pointing hits" in text) == ("Pointing hits" in text) == shown
        assert "rank correlation, all weights shuffled" in text
        assert text.count('<table class="words"') == (3 if shown else 2)


def test_an_explanation_without_measures_or_images_is_one_too(tmp_path):
    text = write_explanation(tmp_path / "a", explanation([explained()])).read_text()
    assert "How far these maps can be trusted" not in text
    text = write_explanation(tmp_path / "b", explanation([], trust(cam=method()))).read_text()
    assert "How far these maps can be trusted" in text


def test_an_image_may_have_a_long_name(tmp_path):
    one = replace(explained(), path=f"/x/{'ä' * 120}.jpg")
    write_explanation(tmp_path / "out", explanation([one]))
    (drawing,) = (tmp_path / "out" / "plots").iterdir()
    assert drawing.name == f"00_{'ä' * 40}.png"
