"""The drawings: what they say, not only that they are there."""

import io
import re
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from faceproof.errors import FaceproofError
from faceproof.evaluation import metrics, reliability
from faceproof.evaluation.robustness import CorruptionRow
from faceproof.reports import plots
from faceproof.task import TASKS

TASK = TASKS["deepfake"]
LABELS = np.array([0] * 6 + [1] * 4)
LOGITS = np.array([-3.0, -2, -2, -1, -0.5, 1, -1, 0.5, 2, 3])
PROBABILITIES = 1 / (1 + np.exp(-LOGITS))
CELLS = metrics.confusion(LABELS, PROBABILITIES, 0.5)
HISTORY = [
    row
    for epoch, (train, val, area) in enumerate([(0.7, 0.6, 0.8), (0.4, 0.5, 0.9), (0.1, 0.7, 0.85)])
    for row in (
        {"epoch": str(epoch), "train/loss": str(train), "val/loss": "", "val/roc_auc": ""},
        {"epoch": str(epoch), "train/loss": "", "val/loss": str(val), "val/roc_auc": str(area)},
    )
]


def words(figure: Figure) -> list[str]:
    """Return every text of the drawing, legends among them."""
    axes = figure.axes
    legends = [axis.get_legend() for axis in axes]
    return [
        *(axis.get_title(loc="left") for axis in axes),
        *(axis.get_xlabel() for axis in axes),
        *(axis.get_ylabel() for axis in axes),
        *(text.get_text() for axis in axes for text in axis.texts),
        *(text.get_text() for legend in legends if legend for text in legend.get_texts()),
    ]


def test_confusion_heatmap_shows_counts_and_shares_of_the_true_class() -> None:
    figure = plots.confusion_heatmap(CELLS, TASK)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == [
        "5\n83.3% of real",
        "1\n16.7% of real",
        "1\n25.0% of fake",
        "3\n75.0% of fake",
    ]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["real", "fake"]
    assert axes.yaxis_inverted()  # the first class on top, as in the table of counts


def test_confusion_heatmap_says_none_for_a_class_without_images() -> None:
    figure = plots.confusion_heatmap(np.array([[0, 0], [1, 3]]), TASK)
    assert "0\nnone" in words(figure)


def test_roc_plot_shows_area_and_operating_point() -> None:
    figure = plots.roc_plot(LABELS, LOGITS, PROBABILITIES, 0.5, TASK)
    area = metrics.roc_auc(LABELS, LOGITS)
    assert f"AUC {area:.4f}" in words(figure)
    assert "threshold 0.5: 75.0% found, 16.7% false alarms" in words(figure)
    assert "false-positive rate (share of real called fake)" in words(figure)
    curve, dot, _ = figure.axes[0].lines
    assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (1 / 6, 3 / 4)
    assert np.trapezoid(curve.get_ydata(), curve.get_xdata()) == pytest.approx(area)


def test_precision_recall_plot_shows_base_rate_and_operating_point() -> None:
    figure = plots.precision_recall_plot(LABELS, LOGITS, PROBABILITIES, 0.5, TASK)
    assert f"average precision {metrics.average_precision(LABELS, LOGITS):.4f}" in words(figure)
    assert "base rate 0.4000" in words(figure)
    assert "threshold 0.5: 75.0% correct, 75.0% found" in words(figure)


def test_precision_recall_plot_marks_nothing_where_precision_is_undefined() -> None:
    figure = plots.precision_recall_plot(LABELS, LOGITS, PROBABILITIES, 1.0, TASK)
    assert not any("threshold" in text for text in words(figure))


def test_curves_refuse_one_class() -> None:
    one = LABELS[6:], LOGITS[6:], PROBABILITIES[6:], 0.5, TASK
    for draw in (plots.roc_plot, plots.precision_recall_plot):
        with pytest.raises(FaceproofError, match="both classes"):
            draw(*one)


def test_score_histogram_counts_every_image_of_each_class() -> None:
    figure = plots.score_histogram(LABELS, PROBABILITIES, 0.5, TASK)
    (axes,) = figure.axes
    assert [patch.get_data().values.sum() for patch in axes.patches] == [6, 4]
    assert {"real (6)", "fake (4)", "threshold 0.5"} <= set(words(figure))
    assert axes.get_xlabel() == "probability of fake"
    assert "images per bin of 0.025" in axes.get_ylabel()
    assert axes.patches[1].get_hatch()  # told apart without colour


def test_score_histogram_holds_probabilities_of_exactly_0_and_1() -> None:
    figure = plots.score_histogram(LABELS[:2], np.array([0.0, 1.0]), 0.5, TASK)
    assert figure.axes[0].patches[0].get_data().values[[0, -1]].tolist() == [1, 1]


def test_score_histogram_without_labels_shows_all_images_together() -> None:
    figure = plots.score_histogram(None, PROBABILITIES, 0.5, TASK)
    assert "unlabelled (10)" in words(figure)
    assert not any("true class" in text for text in words(figure))


def test_class_bars_say_share_and_counts() -> None:
    assert {"83.3% (5 of 6)", "75.0% (3 of 4)"} <= set(words(plots.class_bars(CELLS, TASK)))
    empty = plots.class_bars(np.array([[0, 0], [1, 3]]), TASK)
    assert "undefined (no images)" in words(empty)


def test_training_curves_join_rows_of_an_epoch_and_mark_the_best() -> None:
    figure = plots.training_curves(HISTORY)
    upper, lower = figure.axes
    train, val, best = upper.lines
    assert (list(train.get_xdata()), list(train.get_ydata())) == ([0, 1, 2], [0.7, 0.4, 0.1])
    assert list(val.get_ydata()) == [0.6, 0.5, 0.7]
    assert best.get_xdata()[0] == 1
    assert train.get_linestyle() != val.get_linestyle()  # told apart without colour
    assert "best val ROC-AUC: 1" in words(figure)
    assert [line.get_label() for line in lower.lines] == ["val ROC-AUC", "best val ROC-AUC: 1"]


def test_training_curves_mark_the_epoch_that_was_kept_if_told() -> None:
    assert "epoch kept: 0" in words(plots.training_curves(HISTORY, best_epoch=0))


def test_training_curves_choose_the_lowest_loss_where_there_is_nothing_else() -> None:
    history = [{"epoch": epoch, "val/loss": loss} for epoch, loss in enumerate([3.0, 1.0, 2.0])]
    assert "best val loss: 1" in words(plots.training_curves(history))


def test_by_epoch_takes_the_last_value_and_leaves_out_empty_cells() -> None:
    history = [
        {"epoch": 1, "train/loss": 0.5},
        {"epoch": "0", "train/loss": "0.9"},
        {"epoch": 0, "train/loss": 0.8},
        {"epoch": 0.0, "train/loss": float("nan")},
        {"epoch": 1, "train/loss": None},
        {"step": 3},
    ]
    assert plots.by_epoch(history, "train/loss") == {0: 0.8, 1: 0.5}


def test_long_curves_are_thinned_and_keep_their_ends() -> None:
    x = np.arange(100_000.0)
    thinned, twice = plots.thin(x, 2 * x)
    assert len(thinned) == plots.MAX_POINTS
    assert (thinned[0], thinned[-1]) == (0, 99_999)
    assert np.array_equal(twice, 2 * thinned)
    assert np.array_equal(plots.thin(x[:7])[0], x[:7])


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0.0%"), (1e-6, "under 0.1%"), (0.5, "50.0%"), (0.9999, "over 99.9%"), (1, "100.0%")],
)
def test_a_share_short_of_all_is_never_written_as_all(share: float, text: str) -> None:
    assert plots.percent(share) == text


def ids(svg: str) -> set[str]:
    return set(re.findall(r'\sid="([^"]+)"', svg))


def test_svg_is_the_same_twice_and_stands_on_a_page_with_others() -> None:
    svg = plots.plot_svg(plots.class_bars(CELLS, TASK))
    other = plots.plot_svg(plots.confusion_heatmap(CELLS, TASK))
    assert svg == plots.plot_svg(plots.class_bars(CELLS, TASK))
    assert ids(svg)
    assert not ids(svg) & ids(other)
    for drawing in (svg, other):
        ElementTree.fromstring(drawing)  # well formed
        references = re.findall(r'(?:url\(|href=")#([^")]+)', drawing)
        assert set(references) <= ids(drawing)
        assert "<style" not in drawing  # it would hold for the whole page
        assert 'viewBox="' in drawing


def test_svg_holds_its_text_as_text_and_names_itself() -> None:
    svg = plots.plot_svg(plots.class_bars(CELLS, TASK))
    assert "75.0% (3 of 4)" in "".join(ElementTree.fromstring(svg).itertext())
    assert 'role="img" aria-label="Accuracy of each class"' in svg
    assert f"var(--ink, {plots.INK})" in svg


def test_drawing_and_saving_leave_matplotlib_as_it_was(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    figure = plots.class_bars(CELLS, TASK)
    plots.plot_svg(figure)
    plots.save_png(figure, tmp_path / "classes.png")
    assert dict(matplotlib.rcParams) == before


def test_png_is_the_same_twice_and_on_white(tmp_path: Path) -> None:
    for name in ("first.png", "second.png"):
        plots.save_png(plots.class_bars(CELLS, TASK), tmp_path / name)
    written = (tmp_path / "first.png").read_bytes()
    assert written == (tmp_path / "second.png").read_bytes()
    with Image.open(io.BytesIO(written)) as image:
        assert image.width > 700
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_reliability_diagram_shows_bins_intervals_and_counts() -> None:
    after = reliability.reliability_table(LABELS, PROBABILITIES, np.arange(10))
    figure = plots.reliability_diagram(after[:2], after, PROBABILITIES, TASK)
    upper, lower = figure.axes
    diagonal, before, line = upper.lines[:3]
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata())
    assert len(before.get_xdata()) == 2
    assert list(line.get_xdata()) == [row["mean_probability"] for row in after]
    assert list(line.get_ydata()) == [row["share_positive"] for row in after]
    (bars,) = upper.collections
    ends = [tuple(segment[:, 1]) for segment in bars.get_segments()]
    assert np.allclose(ends, [row["interval"] for row in after])
    assert lower.patches[0].get_data().values.sum() == 10
    assert lower.get_xlabel() == "probability of fake"
    assert {"uncalibrated", "as reported, with 95% intervals"} <= set(words(figure))
    alone = plots.reliability_diagram([], after, PROBABILITIES, TASK)
    assert "uncalibrated" not in words(alone)
    assert 'aria-label="Reliability: fake as said and as they were"' in plots.plot_svg(alone)


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
