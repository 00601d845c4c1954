"""What happens around training: freezing, timing, printed lines and TensorBoard images."""

import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer, callbacks
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason
from pytorch_lightning.loggers import TensorBoardLogger
from rich.console import Console
from rich.table import Table
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

from faceproof.data.datasets import Batch, FeatureBatch
from faceproof.evaluation.metrics import confusion, has_both_classes
from faceproof.models.detector import Detector, parameter_blocks
from faceproof.reports.plots import confusion_heatmap, roc_plot
from faceproof.task import Task
from faceproof.training.freezing import FreezeSchedule, set_trainable
from faceproof.training.module import STEP_LOSS, DetectorModule

NUM_SAMPLES = 16
PER_SECOND = 4  # times that the progress bar is drawn; Lightning's 100 take a tenth of a core
THRESHOLD = 0.5  # of the live figures; a run's own is fitted when training has ended


class Freezing(Callback):
    """Applies a freeze schedule: at the start, at every epoch, and after a resume.

    Everything requires grad until training starts, because DDP only follows parameters that did
    when it wrapped the network.
    """

    def __init__(self, schedule: FreezeSchedule) -> None:
        self.schedule = schedule

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Freeze; a run that goes on inside an epoch has no other hook."""
        self._apply(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Freeze what this epoch freezes."""
        self._apply(trainer, pl_module)

    def _apply(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, DetectorModule)
        net = module.net
        assert isinstance(net, Detector)
        names = [name for name, _ in net.named_parameters()]
        chosen = self.schedule.trainable(parameter_blocks(net), names, trainer.current_epoch)
        set_trainable(net, chosen)


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's early stopping, of which a resumed run forgets nothing but the patience.

    Its name is Lightning's too, by which a checkpoint keeps its state.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the count of epochs; the patience may have been given anew."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop a run that had stopped: Lightning lets each that goes on train another epoch."""
        undefined = self.stopping_reason is EarlyStoppingReason.NON_FINITE_METRIC
        if undefined or self.wait_count >= max(self.patience, 1):
            trainer.should_stop = True


class ImageRate(Callback):
    """Logs `train/images_per_second`: images over the time from the first batch to the last."""

    def __init__(self) -> None:
        self.began = 0.0
        self.ended = 0.0
        self.images = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; a run that goes on inside an epoch has no start of it."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self.began, self.images = time.perf_counter(), 0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, *args: Any
    ) -> None:
        """Count a batch."""
        self.ended = time.perf_counter()
        self.images += len(batch.label)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the rate over all processes."""
        rate = self.images * trainer.world_size / max(self.ended - self.began, 1e-9)
        pl_module.log("train/images_per_second", rate, rank_zero_only=True)


class ProgressBar(callbacks.RichProgressBar):
    """Lightning's bar, brought up to date when it is drawn and not in every step.

    To show a figure is to wait for the GPU that computes it, and Lightning asks in every step for
    each that is logged for its bar; this one looks for the loss by itself.

    Args:
        console: what the bar is drawn on, as rich's console takes it.
    """

    def __init__(self, **console: Any) -> None:
        super().__init__(PER_SECOND, console_kwargs=console)
        self.pause = 1 / PER_SECOND  # seconds
        self._updated_at = -math.inf

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note how far the epoch is, if the bar is drawn now or the epoch is at its end."""
        now = time.monotonic()
        if now - self._updated_at >= self.pause or batch_idx + 1 == self.total_train_batches:
            self._updated_at = now
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what stands beside the bar."""
        items: dict[str, Any] = super().get_metrics(trainer, pl_module)
        loss = trainer.callback_metrics.get(STEP_LOSS)
        return items if loss is None else {**items, STEP_LOSS: loss.item()}


class EpochLines(Callback):
    """Prints a line an epoch, where there is no terminal for a progress bar."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print validation's figures."""
        figures = trainer.callback_metrics
        shown = ", ".join(
            f"{name} {figures[name].item():.4f}"
            for name in ("val/loss", "val/accuracy", "val/roc_auc")
            if name in figures
        )
        if trainer.is_global_zero:
            print(f"epoch {trainer.current_epoch}: {shown}", flush=True)


class BoardImages(Callback):
    """Shows in TensorBoard what training sees, and validation's confusion matrix and ROC curve."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Batch | FeatureBatch,
        batch_idx: int,
    ) -> None:
        """Show the first augmented images, once."""
        if batch_idx or isinstance(batch, FeatureBatch):  # of which there is no image to show
            return
        board = _board(trainer)
        if board is not None and trainer.global_step == 0:
            grid = make_grid(batch.image[:NUM_SAMPLES].float().cpu(), nrow=4)
            board.add_image("train/samples", grid, 0)
            names = [self.task.classes[label] for label in batch.label[:NUM_SAMPLES].tolist()]
            board.add_text("train/samples", ", ".join(names), 0)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the figures of this epoch."""
        board = _board(trainer)
        if board is None or not _is_drawn(trainer.current_epoch, trainer.max_epochs):
            return
        assert isinstance(pl_module, DetectorModule)
        logits, labels = (scores.cpu().numpy() for scores in pl_module.val_metrics.scores())
        probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
        step = trainer.current_epoch
        cells = confusion(labels, probabilities, THRESHOLD)
        board.add_figure("val/confusion", confusion_heatmap(cells, self.task), step)
        if has_both_classes(labels):
            roc = roc_plot(labels, logits.astype(np.float64), probabilities, THRESHOLD, self.task)
            board.add_figure("val/roc", roc, step)


def _is_drawn(epoch: int, max_epochs: int | None) -> bool:
    """Say whether an epoch's figures are drawn: the 1st, 2nd, 4th, 8th .. and the last.

    Drawing takes as long as an epoch of a small network.
    """
    number = epoch + 1
    return number & epoch == 0 or number == max_epochs


def _board(trainer: Trainer) -> SummaryWriter | None:
    """Return the TensorBoard writer of this process, if there is one."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger) and trainer.is_global_zero:
            writer: SummaryWriter = logger.experiment
            return writer
    return None


def print_summary(net: Detector, schedule: FreezeSchedule, console: Console) -> None:
    """Print the network block by block, and from which epoch each part trains."""
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters()}
    blocks = parameter_blocks(net)
    first = schedule.first_epoch(blocks, list(sizes))
    inside = {name for block in blocks for name in block}
    parts = [(f"backbone block {number}", block) for number, block in enumerate(blocks)]
    parts.append(("head", [name for name in sizes if name not in inside]))
    table = Table("part", "parameters", "trains", title="model")
    for part, names in parts:
        table.add_row(part, f"{sum(sizes[n] for n in names):,}", _trains([first[n] for n in names]))
    table.add_row("all", f"{sum(sizes.values()):,}", _trains(list(first.values())))
    console.print(table)


def _trains(epochs: Sequence[int | None]) -> str:
    """Say from which epoch parameters train."""
    known = {epoch for epoch in epochs if epoch is not None}
    if not known:
        return "never (frozen)"
    when = "from the start" if known == {0} else f"from epoch {min(known)}"
    return f"{when}, in part" if None in epochs or len(known) > 1 else when
