"""Plots of training: loss and metrics by epoch, of one run or of several."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from faceproof.evaluation.metrics import better
from faceproof.reports.plots import (
    BLUE,
    INK,
    VERMILLION,
    Look,
    dress,
    labels_below,
    legend_below,
    new_figure,
    two_panels,
)

TRAINED: dict[str, Any] = {"linestyle": "--", "linewidth": 1.3}
VALIDATED: dict[str, Any] = {"linestyle": "-", "linewidth": 2.0, "marker": "o", "markersize": 4}

LABELS = {"roc_auc": "ROC-AUC", "accuracy": "accuracy", "loss": "loss"}  # the first chooses

History = Sequence[Mapping[str, Any]]  # the rows of a run's metrics.csv


def training_curves(history: History, best_epoch: int | None = None) -> Figure:
    """Draw loss, accuracy and ROC-AUC by epoch, training against validation.

    Args:
        history: the rows of a run's `metrics.csv`. A row may hold some of the columns only:
            Lightning writes training and validation metrics in rows of their own. The last value
            of an epoch counts. Epochs are numbered as there, from 0.
        best_epoch: whose weights are the run's. None marks the one with the best validation
            ROC-AUC, else accuracy, else loss.

    The axis counts epochs from 1, as people do.
    """
    figure, (upper, lower) = new_figure(6.6, num_rows=2)
    names = {name for row in history for name in row if "/" in name}
    columns = {name: by_epoch(history, name) for name in names}
    _draw_series(upper, columns, {"loss": INK})
    _draw_series(lower, columns, {"accuracy": BLUE, "roc_auc": VERMILLION})
    best, label = _best_epoch(columns) if best_epoch is None else (best_epoch, "best epoch")
    for axes in (upper, lower):
        if best is not None:
            axes.axvline(
                best + 1, color=INK, linewidth=1.2, linestyle=":", label=f"{label}: {best + 1}"
            )
        axes.xaxis.set_major_locator(whole_epochs())
    dress(upper, "Loss by epoch", "", "loss (nats)", legend=False)
    dress(lower, "Accuracy and ROC-AUC by epoch", "epoch", "share", legend=False)
    labels_below(figure)
    return figure


def whole_epochs() -> MaxNLocator:
    """Return what places the ticks of an axis of epochs: on whole ones, of one epoch on that."""
    return MaxNLocator(integer=True, min_n_ticks=1)


def by_epoch(history: History, column: str) -> dict[int, float]:
    """Return the last value of a column in each epoch that has one, in order of epochs."""
    found: dict[int, float] = {}
    for row in history:
        value, epoch = row.get(column), row.get("epoch")
        if value in (None, "") or epoch in (None, "") or math.isnan(float(str(value))):
            continue  # an empty cell of the CSV, as csv or pandas reads it
        found[int(float(str(epoch)))] = float(str(value))
    return dict(sorted(found.items()))


def _counted(epochs: Iterable[int]) -> list[int]:
    """Return epochs as people count them, from 1."""
    return [epoch + 1 for epoch in epochs]


def _draw_series(
    axes: Axes, columns: Mapping[str, Mapping[int, float]], colours: Mapping[str, str]
) -> None:
    """Draw each metric for both splits: training dashed and thin, validation solid with dots."""
    for name, colour in colours.items():
        for split, style in (("train", TRAINED), ("val", VALIDATED)):
            if values := columns.get(f"{split}/{name}", {}):
                label = f"{split} {LABELS[name]}"
                axes.plot(
                    _counted(values), list(values.values()), color=colour, label=label, **style
                )


def _best_epoch(columns: Mapping[str, Mapping[int, float]]) -> tuple[int | None, str]:
    """Return the best epoch by validation and the words that say by what."""
    for name, words in LABELS.items():
        values = columns.get(column := f"val/{name}")
        if values:
            best = max if better(column) == "max" else min
            return best(values, key=lambda epoch: values[epoch]), f"best val {words}"
    return None, ""


def compared_training(histories: Sequence[tuple[Look, History]]) -> Figure:
    """Draw validation's loss and ROC-AUC by epoch, of several runs over one another."""
    figure, panels = two_panels(len({look.name for look, _ in histories}))
    for axes, column in zip(panels, ("val/loss", "val/roc_auc"), strict=True):
        for look, history in histories:
            values = by_epoch(history, column)
            style = {"marker": look.marker, "markersize": 4, "linewidth": 1.4, **look.line}
            axes.plot(_counted(values), list(values.values()), **style)
        axes.xaxis.set_major_locator(whole_epochs())
    dress(panels[0], "Validation loss by epoch", "epoch", "loss (nats)")
    dress(panels[1], "Validation ROC-AUC by epoch", "epoch", "ROC-AUC")
    legend_below(figure, [look for look, _ in histories])
    return figure
