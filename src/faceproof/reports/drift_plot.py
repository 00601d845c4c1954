"""Draws the distributions of what a detector is given, beside those of its validation."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from faceproof.evaluation.drift import Change, Reference
from faceproof.evaluation.predictions import Scores
from faceproof.reports.plots import BLUE, VERMILLION, WIDTH, dress, panels

COLUMNS = 3


def drift_plot(
    reference: Reference, columns: Mapping[str, Scores], changes: Sequence[Change]
) -> Figure:
    """Draw the share of images up to each value, (N,) a column, for each change."""
    width = 2 * WIDTH if len(changes) > 1 else WIDTH
    figure, axes = panels(len(changes), min(COLUMNS, len(changes)), width, 2.9)
    for place, change in zip(axes, changes, strict=True):
        values = columns[change.name]
        for name, known, colour in (
            ("validation", np.array(reference.columns[change.name]), BLUE),
            ("now", np.sort(values[np.isfinite(values)]), VERMILLION),
        ):
            shares = np.arange(1, len(known) + 1) / len(known)
            place.step(known, shares, where="post", color=colour, linewidth=1.8, label=name)
        if min(reference.columns[change.name]) > 0 and change.name in (
            "file size",
            "width",
            "height",
        ):
            place.set_xscale("log")
        mark = " (changed)" if change.counts else ""
        dress(place, f"{change.name}{mark}", change.name, "share of images up to it")
    return figure
