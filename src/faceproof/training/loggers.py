"""What a run logs to: metrics.csv, a row an epoch, and TensorBoard."""

import functools
import logging
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import Logger, TensorBoardLogger

from faceproof.io.run_folder import read_epochs, write_epochs

log = logging.getLogger(__name__)


class EpochTable(Logger):
    """A logger that keeps what is logged once an epoch, one row each.

    An existing file is gone on with: rows of epochs that are trained again are replaced.

    Args:
        path: the CSV file.
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
        """Put figures into the row of their epoch; those of single steps are TensorBoard's."""
        figures = {name: value for name, value in metrics.items() if not name.endswith("_step")}
        epoch = figures.pop("epoch", None)
        if epoch is None or not figures:
            return
        self.rows.setdefault(int(epoch), {"epoch": int(epoch)}).update(figures)
        write_epochs(self.path, list(self.rows.values()))

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kw: Any) -> None:
        """Leave hyperparameters to the run's config.yaml."""


class Board(TensorBoardLogger):
    """TensorBoard events right in the run folder.

    A disk that takes no more of them is said once; they stop, and the run goes on.

    Args:
        folder: the run folder.
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
        """Write a record; none follows one that may be half there, which nothing could read."""
        if self.failed:
            return
        try:
            write(record)
        except OSError as error:
            self.failed = True
            log.warning("TensorBoard has no more events of this run: %s", error)

    def save(self) -> None:
        """Write what is buffered, without Lightning's hparams.yaml: config.yaml has it all."""
        self.experiment.flush()
