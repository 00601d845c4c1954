"""The card of a detector for people: that its sentences say what the card holds, and agree."""

import math
from dataclasses import replace

import pytest

from faceproof.artifact.artifact import read_card
from faceproof.artifact.card import EvaluationEntry, GapEntry, SubgroupsEntry
from faceproof.artifact.model_card import model_card, tabulate_evaluations
from faceproof.evaluation.calibration import Calibration

RISK = "Too many wrong answers: 26.67% of the answers on validation images are wrong."


@pytest.fixture(scope="module")
def card(exported):
    return read_card(exported)


def said(card, **changes):
    point = replace(card.detector.operating_point, **changes)
    detector = replace(card.detector, operating_point=point)
    return model_card(replace(card, detector=detector), "detector")


def test_a_band_that_keeps_its_risk_says_so(card):
    text = said(card, unsure=(0.35, 0.65), max_risk=0.05)
    band = "- Called `unsure` from 0.3500 to 0.6500"
    assert f"{band}, so that on validation at most 5.0% of the other answers were wrong." in text


@pytest.mark.parametrize(
    "warning", [RISK, "Outside of the unsure band 26.67% of the validation images are wrong."]
)
def test_a_band_that_does_not_keep_its_risk_promises_nothing(card, warning):
    text = said(card, unsure=(0.35, 0.65), max_risk=0.05, warnings=(warning,))
    assert f"- Called `unsure` from 0.3500 to 0.6500.\n- {warning}" in text
    text = said(card, unsure=(0.5, 0.5), max_risk=0.05, warnings=(warning,))
    assert f"- No unsure band: every image is answered.\n- {warning}" in text
    assert "at most 5.0%" not in text


@pytest.mark.parametrize(
    ("calibration", "threshold", "words"),
    [
        (Calibration("temperature", 2.0), 0.7, f"0.7000 (logit {2 * math.log(7 / 3):.4f}) on"),
        (Calibration("isotonic", knots=((-1.0, 0.2), (3.0, 0.6))), 0.3, "0.3000 (logit 0.0000) on"),
        (Calibration("isotonic", knots=((-1.0, 0.2), (3.0, 0.6))), 0.1, "0.1000 on"),
        (Calibration("isotonic", knots=((-1.0, 0.2), (3.0, 0.6))), 0.7, "0.7000 on"),
    ],
)
def test_the_threshold_is_told_as_a_logit_too(card, calibration, threshold, words):
    text = said(card, calibration=calibration, threshold=threshold, unsure=(threshold, threshold))
    assert f"- Called `fake` from probability {words}: " in text
    assert "positive logit" not in text


@pytest.mark.parametrize(("low", "chance"), [(-0.01, ", which may be chance"), (0.01, "")])
def test_a_gap_that_may_be_chance_is_told(low, chance):
    gap = GapEntry("dark", "light", 0.1, (low, 0.2))
    part = SubgroupsEntry("tone", (), {"roc_auc": gap})
    entry = EvaluationEntry("test", "lab", "test", 9, 0.5, True, {}, {}, subgroups=(part,))
    assert any(f"dark below light{chance}." in line for line in tabulate_evaluations([entry]))
