"""The most confident mistakes in each direction: which they are, and what a page says of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.figure import Figure

from faceproof.evaluation.predictions import (
    is_positive,
    label_numbers,
    labelled_rows,
    probabilities_of,
)
from faceproof.reports.image_grid import Pixels, Tile, image_grid
from faceproof.reports.plots import percent
from faceproof.task import Task

NUM_SHOWN = 12  # of each direction; a thumbnail takes some 5 kB of the page
COLUMNS = 6

Told = dict[str, Any]


def mistakes(predictions: pa.Table, task: Task, threshold: float) -> dict[str, pa.Table]:
    """Return the mistakes in each direction, the most confident first.

    Args:
        predictions: a predictions table; rows without a label are left out.
        task: names the classes.
        threshold: an image is called positive from this probability on.

    Returns:
        Rows of the table under "POSITIVE called NEGATIVE" and "NEGATIVE called POSITIVE".
    """
    known = labelled_rows(predictions)
    labels = label_numbers(known, task)
    called = is_positive(probabilities_of(known), threshold)
    found = {}
    for true, order in ((1, "ascending"), (0, "descending")):
        wrong = known.filter(pa.array((labels == true) & (called != bool(true))))
        # By the logit: calibrated probabilities may be equal. By path, so that ties have an order.
        ranked = wrong.take(pc.sort_indices(wrong, [("logit", order), ("path", "ascending")]))
        found[f"{task.classes[true]} called {task.classes[1 - true]}"] = ranked
    return found


def told_mistakes(
    predictions: pa.Table, task: Task, threshold: float, number: int = NUM_SHOWN
) -> dict[str, Told]:
    """Return for each direction how many mistakes there are, `num`, and the first, `shown`.

    All are plain values; `certainty` is the probability that was given to the class called.
    """
    return {
        direction: {
            "num": rows.num_rows,
            "shown": [_told(row, task) for row in rows.slice(0, number).to_pylist()],
        }
        for direction, rows in mistakes(predictions, task, threshold).items()
    }


def _told(row: Told, task: Task) -> Told:
    missed = row["label"] == task.positive
    names = ("path", "label", "source", "generator", "logit", "probability")
    return {name: row[name] for name in names} | {
        "called": task.negative if missed else task.positive,
        "certainty": 1 - row["probability"] if missed else row["probability"],
    }


def shown_paths(told: Mapping[str, Told]) -> list[str]:
    """Return the files of all mistakes that are shown."""
    return [row["path"] for direction in told.values() for row in direction["shown"]]


def mistakes_plot(
    direction: str, told: Told, images: Mapping[str, Pixels], columns: int = COLUMNS
) -> Figure | None:
    """Draw the mistakes of a direction whose images there are; None where there are none."""
    there = [row for row in told["shown"] if row["path"] in images]
    if not there:
        return None
    tiles = [Tile(images[row["path"]], _caption(row)) for row in there]
    title = f"{direction}: {len(there)} of {told['num']:,}, the most confident first"
    return image_grid(tiles, title, columns)


def _caption(row: Told) -> str:
    name = Path(row["path"]).name
    short = name if len(name) <= 18 else f"{name[:8]}…{name[-9:]}"
    maker = row["generator"] or row["source"] or ""
    return f"{percent(row['certainty'])} {row['called']}\n{maker[:20]}\n{short}"


def common_folder(paths: Sequence[str]) -> str:
    """Return the folder below which all of these lie, with its slash; empty if they share none."""
    folders = [path.split("/")[:-1] for path in paths]
    shared: list[str] = []
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return "/".join(shared) + "/" if any(shared) else ""
