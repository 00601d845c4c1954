"""Counting verdicts, and the images that are least certain."""

from dataclasses import replace

import numpy as np

from faceproof.inference.output import Tally
from faceproof.inference.output_parts import Row


def row(probability, threshold=0.5, **changes):
    known = Row(str(probability), verdict="fake", probability=probability, threshold=threshold)
    return replace(known, **changes)


def test_the_least_certain_are_those_nearest_to_the_threshold():
    rng = np.random.default_rng(0)
    probabilities = rng.random(500).tolist()
    tally = Tally(least_certain=7)
    tally.add(row(p) for p in [*probabilities, 0.25])
    tally.add([row(None, verdict="no face"), row(0.5, error="unreadable")])
    wanted = sorted(probabilities, key=lambda p: abs(p - 0.5))[:7]
    assert [one.probability for one in tally.nearest] == wanted
    assert str(tally) == "501 fake, 1 no face, 1 unreadable"
