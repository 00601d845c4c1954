"""The measures of maps as tables, sentences and plots."""

from dataclasses import replace

import numpy as np
import pytest

from faceproof.reports.trust_report import COLUMNS, draw_trust, trust_markdown, trust_sentences
from tests.reports.test_explain_page import BAD, CURVE, GOOD, PLANTED, WORSE, method, trust


def test_a_cascade_of_one_stage_is_not_drawn():
    one = method()
    measures = trust(cam=replace(one, stages=one.stages[-1:]))
    assert list(draw_trust(measures)) == ["curves"]


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


def test_the_table_tells_worse_than_random_from_unclear():
    for one, words in (
        (method(BAD, BAD), "unclear"),
        (method(WORSE, WORSE), "no, worse"),
        (method(WORSE, GOOD), "deletion no, worse, insertion yes"),
    ):
        assert f"| {words} |" in trust_markdown(trust(cam=one), "cnn3")


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (method(), "by insertion); it lies on the planted forgeries more than"),
        (method(BAD, BAD), "cannot be distinguished from chance with 24 images (by"),
        (
            method(WORSE, WORSE),
            "finds what the answer depends on worse than chance (by",
        ),
        (
            method(GOOD, BAD),
            "better than chance, by insertion cannot be distinguished",
        ),
        (
            method(WORSE, GOOD),
            "worse than chance, by insertion finds what the answer depends on better",
        ),
        (method(flagged=True, last=0.9), "do not trust it: it hardly changes when all weights"),
        (
            method(flagged=True, last=None),
            "do not trust it: it is constant, without a place that stands out; it",
        ),
        (method(num_constant=2), "2 of its maps are constant; it lies"),
        (method(replace(GOOD, interval=None, beats_random=None)), "one image is too few"),
        (
            method(planted=replace(PLANTED, gain_interval=(-0.1, 0.2))),
            "12 planted forgeries are too few to say whether it finds them",
        ),
        (
            method(planted=replace(PLANTED, gain_interval=(-0.2, -0.1))),
            "it lies on the planted forgeries less than on places forged in other images",
        ),
    ],
)
def test_a_sentence_says_what_the_measures_amount_to(one, words):
    (sentence,) = trust_sentences(trust(cam=one))
    assert sentence.startswith("Class activation: ")
    assert words in sentence


def test_the_curves_are_those_of_the_measures():
    plots = draw_trust(trust(cam=method(), occlusion=method(last=None)))
    left, right = plots["curves"].axes
    assert left.lines[0].get_ydata() == pytest.approx(CURVE)
    assert right.lines[1].get_ydata() == pytest.approx(CURVE[::-1])
    labels = [text.get_text() for text in left.get_legend().get_texts()]
    assert labels == ["random orders", "class activation", "occlusion"]
    (axes,) = plots["randomisation"].axes
    assert axes.lines[0].get_ydata() == pytest.approx([0.8, 0.1])
    assert np.isnan(axes.lines[2].get_ydata()[-1])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["head", "all weights"]
