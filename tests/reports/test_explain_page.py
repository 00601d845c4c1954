"""The page of an explanation, its numbers, and the sentences about the measures."""

import errno
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from faceproof.errors import FaceproofError
from faceproof.explain.effort import LEAST
from faceproof.explain.explanation import ExplainConfig, MethodTrust, Trust
from faceproof.explain.faithfulness import CurveMetrics
from faceproof.explain.gallery import Explained
from faceproof.explain.planted import PlantedMetrics
from faceproof.explain.randomisation import Stage
from faceproof.io.atomic import CannotWriteError
from faceproof.reports.explain_page import (
    COLUMNS,
    Explanation,
    draw_trust,
    trust_markdown,
    trust_sentences,
    write_explanation,
)
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
    return Explained(
        "/x/<b>&.jpg", image, -2.0, 0.12, "real", "real", maps, "fake", "face_swap", section
    )


def explanation(images, measures=None):
    config = ExplainConfig(("cam", "occlusion"))
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
    assert text.count("<svg") == 2


def test_the_numbers_hold_everything_but_pixels(tmp_path):
    measures = trust(cam=method())
    write_explanation(tmp_path / "out", explanation([explained()], measures))
    found = json.loads((tmp_path / "out" / "explanation.json").read_text())
    (one,) = found["images"]
    assert (one["logit"], one["probability"], one["called"]) == (-2.0, 0.12, "real")
    assert (tmp_path / "out" / one["figure"]).is_file()
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
    least = replace(found, config=ExplainConfig(("integrated_gradients",), effort=LEAST))
    text = write_explanation(tmp_path / "b", least).read_text()
    assert "integrated gradients in 4 steps" in text
    assert "--effort thorough" in text
    assert "large" not in text.split("</style>")[-1]  # it may be that little was asked for
    asked = write_explanation(tmp_path / "c", replace(least, effort_asked=True)).read_text()
    assert "The effort was asked for; <code>--effort thorough</code>" in asked
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
        assert text.count("<table") == (3 if shown else 2)


def test_a_cascade_of_one_stage_is_not_drawn():
    one = method()
    measures = trust(cam=replace(one, stages=one.stages[-1:]))
    assert list(draw_trust(measures)) == ["curves"]


def test_an_explanation_without_measures_or_images_is_one_too(tmp_path):
    text = write_explanation(tmp_path / "a", explanation([explained()])).read_text()
    assert "How far these maps can be trusted" not in text
    text = write_explanation(tmp_path / "b", explanation([], trust(cam=method()))).read_text()
    assert "How far these maps can be trusted" in text


def test_an_earlier_explanation_is_replaced_and_nothing_else(tmp_path):
    write_explanation(tmp_path / "out", explanation([explained(), explained()]))
    write_explanation(tmp_path / "out", explanation([explained()]))
    assert len(list((tmp_path / "out" / "figures").iterdir())) == 1
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(FaceproofError, match="holds something else"):
        write_explanation(tmp_path / "mine", explanation([explained()]))
    assert (tmp_path / "mine" / "thesis.txt").is_file()
    (tmp_path / "out" / "thesis.txt").write_text("x")
    with pytest.raises(FaceproofError, match=r"has not written there: thesis\.txt; move that away"):
        write_explanation(tmp_path / "out", explanation([explained()]))
    assert (tmp_path / "out" / "thesis.txt").is_file()


@pytest.mark.parametrize("before", [True, False])
def test_an_explanation_that_finds_no_room_leaves_the_earlier_one(tmp_path, monkeypatch, before):
    out = tmp_path / "out"
    if before:
        write_explanation(out, explanation([explained()]))
    there = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    def fail(*given, **more):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(CannotWriteError, match="could not be written: the disk is full") as told:
        write_explanation(out, explanation([explained()]))
    assert "partial" not in str(told.value)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == there
    assert list(tmp_path.iterdir()) == ([out] if before else [])


def test_an_image_may_have_a_long_name(tmp_path):
    one = replace(explained(), path=f"/x/{'ä' * 120}.jpg")
    write_explanation(tmp_path / "out", explanation([one]))
    (drawing,) = (tmp_path / "out" / "figures").iterdir()
    assert drawing.name == f"00_{'ä' * 40}.png"


def test_the_table_can_be_copied_as_markdown():
    measures = trust(cam=method(), occlusion=method(planted=None))
    lines = trust_markdown(measures, "cnn3").splitlines()
    assert len(lines) == 4
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["detector", *COLUMNS]
    assert all(len(row) == 1 + len(COLUMNS) for row in cells)
    assert cells[2][0] == cells[3][0] == "cnn3"
    assert cells[2][1:4] == [
        "class activation",
        "0.310 (0.520 ± 0.010)",
        "+0.210 (+0.100 to +0.320)",
    ]
    assert cells[2][6:] == [
        *("yes", "0.10", "0.20"),
        *("12", "75%, 50% to 90% (50%)", "+0.250 (-0.050 to +0.550)"),
        *("40% (25%)", "+0.150 (+0.050 to +0.250)", "20%"),
        *("0.310 (0.520 ± 0.010; 0.250)", "+0.210 (+0.100 to +0.320)"),
    ]
    assert cells[3][9:] == ["-"] * 8


def test_the_table_tells_worse_than_random_from_not_told():
    for one, words in (
        (method(BAD, BAD), "not told"),
        (method(WORSE, WORSE), "no, worse"),
        (method(WORSE, GOOD), "deletion no, worse, insertion yes"),
    ):
        assert f"| {words} |" in trust_markdown(trust(cam=one), "cnn3")


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (method(), "works better than random orders; it lies on the planted forgeries"),
        (method(BAD, BAD), "names is not told from random orders by 24 images"),
        (method(WORSE, WORSE), "removing and inserting what it names works worse than random"),
        (
            method(GOOD, BAD),
            "removing what it names works better than random orders, inserting it is not told",
        ),
        (method(WORSE, GOOD), "worse than random orders, inserting it works better than random"),
        (method(flagged=True, last=0.9), "DISTRUST IT: it hardly changes when all weights"),
        (method(flagged=True, last=None), "DISTRUST IT: it is constant, and names no place; it"),
        (method(num_constant=2), "2 of its maps are constant, and name no place; it lies"),
        (method(replace(GOOD, interval=None, beats_random=None)), "one image is too few"),
        (
            method(planted=replace(PLANTED, gain_interval=(-0.1, 0.2))),
            "12 planted forgeries do not tell whether it lies on them more than on those of other",
        ),
        (
            method(planted=replace(PLANTED, gain_interval=(-0.2, -0.1))),
            "it lies on the planted forgeries less than on those of other images",
        ),
    ],
)
def test_a_sentence_says_what_the_measures_amount_to(one, words):
    (sentence,) = trust_sentences(trust(cam=one))
    assert sentence.startswith("Class activation: ")
    assert words in sentence


def test_the_curves_are_those_of_the_measures():
    figures = draw_trust(trust(cam=method(), occlusion=method(last=None)))
    left, right = figures["curves"].axes
    assert left.lines[0].get_ydata() == pytest.approx(CURVE)
    assert right.lines[1].get_ydata() == pytest.approx(CURVE[::-1])
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert labels == ["random orders", "class activation", "occlusion"]
    (axes,) = figures["randomisation"].axes
    assert axes.lines[0].get_ydata() == pytest.approx([0.8, 0.1])
    assert np.isnan(axes.lines[2].get_ydata()[-1])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["head", "all weights"]
