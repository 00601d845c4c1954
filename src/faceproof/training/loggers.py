"""Where a run's metrics go: metrics.csv, with a row for each epoch, and TensorBoard."""

import functools
import logging
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import Logger, TensorBoardLogger

from faceproof.io.run_folder import flatten, read_epochs, write_epochs

log = logging.getLogger(__name__)

# What people vary, in the order in which the HParams table shows it first.
GROUPS = ("model", "data", "freeze", "optimizer", "scheduler", "augment")
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


class TensorBoard(TensorBoardLogger):
    """TensorBoard events right in the run folder.

    Where the disk is full, a warning is logged and training continues.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.parent, name=folder.name, version="", default_hp_metric=False)
        self.failed = False
        self._file: Any = None

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Return TensorBoard's writer, which writes from a thread of its own."""
        writer: Any = super().experiment
        file = writer._get_file_writer().event_writer._general_file_writer
        if file is not self._file:  # the first, or one that was opened after the last was closed
            self._file, file.write = file, functools.partial(self._write, file.write)
        return writer

    def _write(self, write: Callable[[bytes], None], record: bytes) -> None:
        """Write a record, unless one before it may be half written: what follows is unreadable."""
        if self.failed:
            return
        try:
            write(record)
        except OSError as error:
            self.failed = True
            log.warning("no more TensorBoard events of this run are written: %s", error)

    def save(self) -> None:
        """Write what is buffered, without Lightning's hparams.yaml: config.yaml has it all."""
        self.experiment.flush()

    def finalize(self, status: str) -> None:
        """Write what is buffered at the end of the epochs; `close` closes the file.

        What is logged after that would else begin another file.
        """
        self.save()

    def log_settings(
        self, values: Mapping[str, Any], choices: Mapping[str, str], best: Mapping[str, Any]
    ) -> None:
        """Log a run's settings with its best metrics for the HParams tab.

        Args:
            values: the settings, in the structure of `conf/train.yaml`.
            choices: which file of `conf/` each group was taken from.
            best: the metrics of the best epoch, such as `val/loss`.
        """
        if self.failed:
            return
        metrics = {f"best/{name}": value for name, value in best.items() if value is not None}
        self.log_hyperparams(hyperparameters(values, choices), metrics)

    def close(self) -> None:
        """Write what is buffered, and close the file."""
        self.experiment.close()


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
