"""The plots of training: what they say."""

from faceproof.reports import training_plots as plots
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
