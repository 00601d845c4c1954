"""Where a run's metrics go: metrics.csv, with a row for each epoch, and TensorBoard."""

import logging
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from matplotlib.figure import Figure
from pytorch_lightning.loggers import Logger, TensorBoardLogger
from tensorboard.summary.writer.record_writer import RecordWriter

from faceproof.io.run_folder import flatten, read_epochs, write_epochs
from faceproof.training.boards import Board

log = logging.getLogger(__name__)

# What people vary, in the order in which the HParams table shows it first.
GROUPS = ("model", "data", "freeze", "optimizer", "scheduler", "augment", "synthesis")
VARIED = (
    "optimizer.lr", "optimizer.backbone_lr", "optimizer.weight_decay", "trainer.max_epochs",
    "loader.batch_size", "seed",
)  # fmt: skip


class EpochTable(Logger):
    """A logger that writes what is logged once an epoch to a CSV file, a row for each epoch.

    An existing file is continued; an epoch that is trained again replaces its row.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.rows = {int(row["epoch"]): row for row in read_epochs(path)}

    @property
    def name(self) -> str:
        """Return the logger's name."""
        return "epochs"

    @property
    def version(self) -> str:
        """Return an empty version: there is one file a run."""
        return ""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add metrics to the row of their epoch; those of single steps go to TensorBoard alone."""
        row = {name: value for name, value in metrics.items() if not name.endswith("_step")}
        epoch = row.pop("epoch", None)
        if epoch is None or not row:
            return
        self.rows.setdefault(int(epoch), {"epoch": int(epoch)}).update(row)
        write_epochs(self.path, list(self.rows.values()))

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kw: Any) -> None:
        """Leave hyperparameters to the run's config.yaml."""


class EventFile:
    """A file of TensorBoard events that is continued, in place of tensorboard's own writer.

    That one writes from a thread, in which a full disk ends with a traceback. This one warns once,
    and writes nothing more: what follows half a record could not be read.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.failed = path, False

    def get_logdir(self) -> str:
        """Return the folder of the file."""
        return str(self.path.parent)

    def add_event(self, event: Any) -> None:
        """Write an `Event` of TensorBoard's."""
        if self.failed:
            return
        try:
            with self.path.open("ab") as file:
                RecordWriter(file).write(event.SerializeToString())
        except OSError as error:
            self.failed = True
            log.warning("no more TensorBoard events of this run are written: %s", error)

    def flush(self) -> None:
        """Do nothing: every event is written at once."""

    def close(self) -> None:
        """Do nothing: the file is open while an event is written."""


class TensorBoard(Board, TensorBoardLogger):
    """TensorBoard events right in the run folder.

    Where the disk is full, a warning is logged and training continues.
    """

    kind = "tensorboard"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.parent, name=folder.name, version="", default_hp_metric=False)
        self._events: EventFile | None = None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Return torch's SummaryWriter, with an `EventFile` in place of its own."""
        if self._events is not None:
            return super().experiment
        folder = Path(self.log_dir)
        before = set(folder.glob("events.*"))
        writer: Any = super().experiment
        (begun,) = set(folder.glob("events.*")) - before
        writer.file_writer.event_writer.close()
        self._events = writer.file_writer.event_writer = EventFile(begun)
        return writer

    def save(self) -> None:
        """Do nothing: events are written at once, and config.yaml has what hparams.yaml would."""

    def finalize(self, status: str) -> None:
        """Leave the writer open: the operating point is logged after the epochs."""

    def add_charts(self, charts: Mapping[str, Any]) -> None:
        """Say which curves belong into one chart, in the tab Custom Scalars."""
        self.experiment.add_custom_scalars({"training and validation": dict(charts)})

    def add_figure(self, name: str, figure: Figure, step: int) -> None:
        """Show a figure among the images."""
        self.experiment.add_figure(name, figure, step)

    def log_settings(
        self, values: Mapping[str, Any], choices: Mapping[str, str], best: Mapping[str, Any]
    ) -> None:
        """Log a run's settings with its best metrics for the HParams tab.

        Args:
            values: the settings, in the structure of `conf/train.yaml`.
            choices: which file of `conf/` each group was taken from.
            best: the metrics of the best epoch, such as `val/loss`.
        """
        metrics = {f"best/{name}": value for name, value in best.items() if value is not None}
        self.log_hyperparams(hyperparameters(values, choices), metrics)


def hyperparameters(
    values: Mapping[str, Any], choices: Mapping[str, str]
) -> dict[str, str | int | float | bool]:
    """Return the settings on one level, in the order of the HParams table.

    It begins with what people vary: the groups' choices, then learning rate, epochs and the like.
    """
    flat = {
        key: value if isinstance(value, str | int | float | bool) else str(value)
        for key, value in flatten(values).items()
        if value is not None
    }
    first = {group: choices[group] for group in GROUPS if group in choices}
    varied = {key: flat[key] for key in VARIED if key in flat}
    return first | varied | flat
