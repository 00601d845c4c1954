"""An evaluation: a run's best epoch, scored on one split of a data set, as a report."""

import logging
import os
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from faceproof.data.readable import readable_rows
from faceproof.data.sets import DataSet
from faceproof.data.table import describe_counts, select
from faceproof.errors import FaceproofError
from faceproof.evaluation.report import ReportContext, write_report
from faceproof.evaluation.scoring import load_best, score
from faceproof.models.detector import Detector
from faceproof.run import RunFolder, read_epochs

THRESHOLD = 0.5
SHOWN = ("accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "jaccard", "eer")

log = logging.getLogger(__name__)


def evaluate_run(
    run: RunFolder,
    net: Detector,
    own: DataSet,
    other: DataSet | None = None,
    split: str = "test",
    name: str | None = None,
    batch_size: int = 64,
    num_workers: int | str = "auto",
    device: str = "auto",
) -> Path:
    """Score a run and write `evaluations/<name>/`; return that folder.

    Args:
        run: the run.
        net: its network, without weights.
        own: the data set it was trained on, as the run recorded it.
        other: another data set to score; None for its own.
        split: the split to score, or `all`.
        name: the folder's name; by default the data set's and the split's.
        batch_size: pictures at a time.
        num_workers: loading processes, or `auto`.
        device: a torch device, or `auto`.

    Raises:
        FaceproofError: the other set is of another task, or the split has no pictures.
    """
    data = own if other is None else other
    if data.task != own.task:
        raise FaceproofError(
            f"{run.path} was trained for the task {own.task.name} and data set {data.name} is of "
            f"the task {data.task.name}"
        )
    rows = data.table if split == "all" else select(data.table, split)
    if rows.num_rows == 0:
        raise FaceproofError(
            f"data set {data.name} has no pictures in the split {split!r}; found "
            f"{describe_counts(data.table)}; set split=train, val, test, unlabelled or all"
        )
    chosen = DataSet(data.name, data.task, rows, data.max_unreadable)
    rows, unreadable = readable_rows(chosen)
    load_best(run, net)
    console = Console()
    predictions = score(
        net, rows, data.task, batch_size, num_workers, device, progress=console.is_terminal
    )
    folder = run.evaluations / (name or f"{data.name}-{split}")
    figures = write_report(folder, predictions, _context(run, data, split, unreadable))
    _print_figures(console, folder, figures["figures"])
    return folder


def _context(run: RunFolder, data: DataSet, split: str, unreadable: pa.Table) -> ReportContext:
    """Gather what a report says beside its figures."""
    record = run.read_record()
    versions = record.get("versions", {})
    facts = {
        "initial weights": record.get("weights"),
        "trained on": f"{record.get('data')} ({record.get('pictures')})",
        "epochs trained": record.get("epochs"),
        "best epoch": record.get("best_epoch"),
        "chosen by": record.get("monitor"),
        "device": record.get("device"),
        "precision": record.get("precision"),
        **{f"trained with {package}": version for package, version in versions.items()},
    }
    return ReportContext(
        title=f"{record.get('model')} on {data.name}",
        task=data.task,
        run=os.path.relpath(run.path),
        model=str(record.get("model")),
        data=data.name,
        split=split,
        threshold=THRESHOLD,
        threshold_origin=f"{THRESHOLD}, the default: not tuned on anything",
        history=read_epochs(run.metrics),
        record=facts,
        unreadable=[(row["path"], row["reason"]) for row in unreadable.to_pylist()],
        best_epoch=record.get("best_epoch"),
    )


def _print_figures(console: Console, folder: Path, figures: dict[str, float | None]) -> None:
    """Print the figures and where the report is."""
    table = Table("figure", "value", title=str(os.path.relpath(folder)))
    for name in SHOWN:
        value = figures[name]
        table.add_row(name, "undefined" if value is None else f"{value:.4f}")
    console.print(table)
    report = os.path.relpath(folder / "report.html")
    console.print(f"report: {report}", soft_wrap=True, highlight=False)
