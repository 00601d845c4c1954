"""Counting verdicts, and the images that are least certain."""

import logging
from dataclasses import replace

import numpy as np

from faceproof.inference.output import Tally, make_console, write_verdicts
from faceproof.inference.output_parts import Results, Row
from faceproof.io import progress


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


def test_the_first_unreadable_files_are_named_with_their_reasons():
    tally = Tally()
    tally.add(row(None, path=f"{n}.jpg", error="it is cut short") for n in range(7))
    lines = tally.unreadable_lines()
    assert lines[:2] == ["unreadable:", "  0.jpg: it is cut short"]
    assert lines[5:] == ["  4.jpg: it is cut short", "  and 2 more, with the reasons in the file"]
    assert not Tally().unreadable_lines()


def test_a_log_says_now_and_then_how_many_are_judged(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    results = Results(tmp_path / "verdicts.csv", {}, False, False)

    def judge(paths):
        for path in paths:
            yield [replace(row(0.7), path=path), replace(row(0.7), path=f"{path}, frame 2")]

    with caplog.at_level(logging.INFO):
        write_verdicts(make_console(), judge, iter(["a", "b"]), Tally(), results)
    assert caplog.messages == ["images judged: 2", "images judged: 4"]
