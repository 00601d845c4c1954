"""Logs what validation's worst source or generator reaches, where a run is chosen by that."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from faceproof.evaluation.part_metrics import PartMetric
from faceproof.task import Task
from faceproof.training.module import DetectorModule


class PartMetrics(Callback):
    """Logs metrics of sources or generators in validation, each by its monitor's name.

    Every process scores all of validation, so that all log the same.

    Args:
        monitors: their names, such as `val/worst_source_roc_auc`.
        task: of the images.
    """

    def __init__(self, monitors: Sequence[str], task: Task) -> None:
        self.monitors, self.task = monitors, task
        self.metrics: dict[str, PartMetric] = {}
        self.rows: list[Tensor] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the sources or generators of validation."""
        val = trainer.datamodule.val_rows  # type: ignore[attr-defined]
        self.metrics = {
            name: PartMetric.find(name.removeprefix("val/"), val, self.task)
            for name in self.monitors
        }

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the rows of the epoch before."""
        self.rows = []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *args: Any
    ) -> None:
        """Note which rows were scored."""
        self.rows.append(batch.row)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the metrics; undefined is NaN."""
        assert isinstance(pl_module, DetectorModule)
        logits, labels = (one.cpu().numpy() for one in pl_module.val_metrics.scores())
        rows = torch.cat(self.rows).cpu().numpy()
        for name, metric in self.metrics.items():
            value = metric(labels, logits.astype("float64"), rows)
            pl_module.log(name, math.nan if value is None else value)
