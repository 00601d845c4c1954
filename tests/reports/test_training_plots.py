"""The plots of training: what they say."""

import numpy as np

from faceproof.reports import training_plots as plots
from faceproof.reports.plots import Look
from tests.reports.test_score_plots import words

HISTORY = [
    row
    for epoch, (train, val, area) in enumerate([(0.7, 0.6, 0.8), (0.4, 0.5, 0.9), (0.1, 0.7, 0.85)])
    for row in (
        {"epoch": str(epoch), "train/loss": str(train), "val/loss": "", "val/roc_auc": ""},
        {"epoch": str(epoch), "train/loss": "", "val/loss": str(val), "val/roc_auc": str(area)},
    )
]


def test_training_curves_join_rows_of_an_epoch_and_mark_the_best() -> None:
    figure = plots.training_curves(HISTORY)
    upper, lower = figure.axes
    train, val, best = upper.lines
    assert (list(train.get_xdata()), list(train.get_ydata())) == ([1, 2, 3], [0.7, 0.4, 0.1])
    assert list(val.get_ydata()) == [0.6, 0.5, 0.7]
    assert best.get_xdata()[0] == 2
    assert train.get_linestyle() != val.get_linestyle()  # told apart without colour
    assert "best val ROC-AUC: 2" in words(figure)
    assert [line.get_label() for line in lower.lines] == ["val ROC-AUC", "best val ROC-AUC: 2"]


def test_training_curves_mark_the_best_epoch_if_told() -> None:
    assert "best epoch: 1" in words(plots.training_curves(HISTORY, best_epoch=0))


def test_training_curves_choose_the_lowest_loss_where_there_is_nothing_else() -> None:
    history = [{"epoch": epoch, "val/loss": loss} for epoch, loss in enumerate([3.0, 1.0, 2.0])]
    assert "best val loss: 2" in words(plots.training_curves(history))


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


def test_the_legend_covers_no_curve() -> None:
    """It names each curve once, below both axes, where nothing is drawn."""
    names = [f"{split}/{one}" for split in ("train", "val") for one in plots.LABELS]
    history = [
        {"epoch": epoch} | {name: 0.5 + 0.4 * np.sin(epoch + len(name)) for name in names}
        for epoch in range(12)
    ]
    figure = plots.training_curves(history)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert all(axes.get_legend() is None for axes in figure.axes)
    labels = [text.get_text() for text in legend.get_texts()]
    assert len(labels) == len(set(labels)) == 7
    below = min(axes.get_tightbbox().y0 for axes in figure.axes)
    assert legend.get_window_extent().y1 <= below
    assert legend.get_window_extent().x1 <= figure.bbox.x1


def test_an_axis_of_epochs_has_whole_ones_alone_even_of_one_epoch() -> None:
    for number in (1, 2, 3, 40):
        history = [{"epoch": epoch, "val/loss": 1.0, "val/roc_auc": 0.5} for epoch in range(number)]
        for figure in (
            plots.training_curves(history),
            plots.compared_training([(Look("a", 0), history)]),
        ):
            for axes in figure.axes:
                low, high = axes.get_xlim()
                ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
                assert ticks
                assert all(tick == int(tick) for tick in ticks)
