"""What a run logs to: metrics.csv, a row an epoch, and TensorBoard."""

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, TensorBoardLogger

from faceproof.run import read_epochs, write_epochs


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

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.parent, name=folder.name, version="", default_hp_metric=False)

    def save(self) -> None:
        """Write what is buffered, without Lightning's hparams.yaml: config.yaml has it all."""
        self.experiment.flush()
