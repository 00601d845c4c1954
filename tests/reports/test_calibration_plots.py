"""The plots of reliability, risk and robustness: what they say."""

import numpy as np
import pytest

from faceproof.evaluation import reliability
from faceproof.evaluation.robustness import CorruptionRow
from faceproof.reports import calibration_plots as plots
from faceproof.reports.plots import plot_html
from faceproof.task import TASKS
from tests.reports.test_score_plots import words

TASK = TASKS["deepfake"]
LABELS = np.array([0] * 6 + [1] * 4)
LOGITS = np.array([-3.0, -2, -2, -1, -0.5, 1, -1, 0.5, 2, 3])
PROBABILITIES = 1 / (1 + np.exp(-LOGITS))


def test_reliability_diagram_shows_bins_intervals_and_counts() -> None:
    after = reliability.reliability_table(LABELS, PROBABILITIES, np.arange(10))
    figure = plots.reliability_diagram(after[:2], after, PROBABILITIES, TASK)
    upper, lower = figure.axes
    diagonal, before, line = upper.lines[:3]
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
    assert len(before.get_xdata()) == 2
    assert list(line.get_xdata()) == [row.mean_probability for row in after]
    assert list(line.get_ydata()) == [row.share_positive for row in after]
    (bars,) = upper.collections
    ends = [tuple(segment[:, 1]) for segment in bars.get_segments()]
    assert np.allclose(ends, [row.interval for row in after])
    assert lower.patches[0].get_data().values.sum() == 10
    assert lower.get_xlabel() == "probability of fake"
    assert {"uncalibrated", "as reported, with 95% intervals"} <= set(words(figure))
    alone = plots.reliability_diagram([], after, PROBABILITIES, TASK)
    assert "uncalibrated" not in words(alone)


def test_risk_coverage_plot_marks_the_unsure_band() -> None:
    figure = plots.risk_coverage_plot(LABELS, PROBABILITIES, 0.5, TASK, (0.3, 0.7))
    line = figure.axes[0].lines[0]
    assert (line.get_xdata()[-1], line.get_ydata()[-1]) == (1.0, 0.2)
    # Of ten images two lie in the band, one on either side and one of them wrong.
    assert {"all answered: 20.0% wrong", "unsure: 20.0% of the images"} <= set(words(figure))
    assert "without them: 25.0% wrong" in words(figure)
    plain = plots.risk_coverage_plot(LABELS, PROBABILITIES, 0.5, TASK)
    assert not any("unsure" in text for text in words(plain))
    everything = plots.risk_coverage_plot(LABELS, PROBABILITIES, 0.5, TASK, (0.0, 1.0))
    assert "unsure: 100.0% of the images" in words(everything)


@pytest.mark.parametrize(("worst", "lowest"), [(0.1, 0.08), (0.7, 0.4), (None, 0.4)])
def test_robustness_hides_no_value_below_its_axis(worst: float | None, lowest: float) -> None:
    rows = [
        CorruptionRow("none", 0, 0.9, 0.9, 0.9, 0.95),
        CorruptionRow("jpeg", 50, 0.8, 0.8, 0.8, worst),
        CorruptionRow("blur", 2, 0.8, 0.8, 0.8, 0.9),
    ]
    jpeg, blur = plots.robustness_plot(rows).axes
    assert jpeg.get_ylim() == blur.get_ylim() == (pytest.approx(lowest), 1.02)


def test_the_reliability_diagram_names_itself() -> None:
    after = reliability.reliability_table(LABELS, PROBABILITIES, np.arange(10))
    drawn = plot_html(plots.reliability_diagram([], after, PROBABILITIES, TASK))
    assert 'alt="Reliability: probability of fake against observed share"' in drawn
