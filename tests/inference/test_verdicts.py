"""Scores of networks become verdicts, and what is no score is refused."""

import numpy as np
import pytest
import torch

from faceproof.data.model_input import Fit
from faceproof.evaluation.calibration import Calibration
from faceproof.evaluation.novelty import NoveltyPoint
from faceproof.evaluation.operating_point import OperatingPoint
from faceproof.evaluation.predictions import ScoreError
from faceproof.inference.verdicts import Member, Scorer
from faceproof.task import get_task

FIT = Fit(4, "bilinear")
FITTED = {FIT: torch.zeros(2, 3, 4, 4, dtype=torch.uint8)}
LIMIT = NoveltyPoint(2.0, 0.05, 99, 99)


class Gives:
    """A network that gives the same whatever it is shown."""

    fit = FIT

    def __init__(self, values):
        self.values = np.array(values, np.float32)

    def __call__(self, images):
        return self.values


def scorer(*networks, novelty=None):
    members = [Member(one, 1 / len(networks)) for one in networks]
    average = "logit" if len(networks) > 1 else None
    point = OperatingPoint(Calibration(), 0.5)
    return Scorer(get_task("deepfake"), point, members, average, novelty=novelty)


def test_a_novelty_that_nobody_asks_for_is_not_looked_at():
    """An ensemble does not know novelty where one of its members does not."""
    broken = Gives([[1.0, np.nan], [3.0, np.inf]])
    logits, novelties = scorer(broken, Gives([1.0, 1.0])).score(FITTED)
    assert logits.tolist() == [1, 2]
    assert novelties is None
    with pytest.raises(ScoreError, match="the distance from the training images gave 2 of 2"):
        scorer(broken, novelty=LIMIT).score(FITTED)


def test_a_strange_image_is_unsure():
    one = scorer(Gives([[9.0, 1.0], [9.0, 3.0]]), novelty=LIMIT)
    usual, strange = one.judge(*one.score(FITTED))
    assert (usual.verdict, usual.is_strange) == ("fake", False)
    assert (strange.verdict, strange.called, strange.is_strange) == ("unsure", "fake", True)


@pytest.mark.parametrize("shape", [(), (3,), (2, 1), (2, 3), (3, 2), (2, 2, 1)])
def test_scores_of_another_shape_are_refused(shape):
    for novelty in (None, LIMIT):
        with pytest.raises(ScoreError, match="of shape"):
            scorer(Gives(np.ones(shape)), novelty=novelty).score(FITTED)
