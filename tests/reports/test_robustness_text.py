import numpy as np

from faceproof.reports.robustness_text import neutral_changes, neutral_verdict
from tests.evaluation.test_robustness import TASK, compared


def test_it_says_which_way_by_how_much_and_how_surely():
    labels = np.repeat([1, 0], 40)
    before = np.repeat([2.0, -2.0], 40)
    found = compared(before, np.where(np.arange(80) < 20, -2.0, before), labels)
    assert neutral_verdict(found).startswith("The answers depend on the encoding")
    real, fake = neutral_changes(found, TASK)
    assert real.startswith("Of 40 real images, the answer changes to real for 0 and to fake for 0")
    assert "this may be chance (p = 1.00)" in real
    assert "the answer changes to real for 20 and to fake for 0 (50.0%, 95% interval" in fake
    assert "Called fake: 100.0% before, 50.0% after; more than chance explains (p < 0.0001)" in fake
    assert "Their scores move toward real by 1.00 standard deviations" in fake


def test_it_counts_groups_and_says_where_they_are_too_few():
    labels = np.repeat([1, 0], 40)
    before = np.repeat([2.0, -2.0], 40)
    found = compared(before, np.full(80, -2.0), labels, np.repeat(["a", "b"], 40))
    assert neutral_verdict(found) == "There are too few images to say whether the answers hold."
    assert "fake images in 1 independent groups" in neutral_changes(found, TASK)[1]
    assert "scores" not in neutral_changes(found, TASK)[1]
