"""Callbacks of training: freezing, early stopping, speed, progress, and what boards show."""

import math
import time
from typing import Any

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer, callbacks
from pytorch_lightning.callbacks.early_stopping import EarlyStoppingReason
from rich.progress import ProgressColumn
from rich.progress import Task as BarTask
from rich.text import Text
from torch import nn

from faceproof.augment.mixing import Mixed
from faceproof.data.datasets import Batch, FeatureBatch
from faceproof.errors import FaceproofError
from faceproof.evaluation.metric_formulas import has_both_classes
from faceproof.evaluation.metrics import metrics_shown
from faceproof.evaluation.scores import LabelledScores, WeightedScores
from faceproof.io.progress import Pace, on_terminal, time_left
from faceproof.models.detector import Detector
from faceproof.reports.image_grid import Tile, image_grid
from faceproof.reports.score_plots import confusion_heatmap, roc_plot
from faceproof.task import Task
from faceproof.training.boards import Board
from faceproof.training.freeze_checks import parts_of
from faceproof.training.freezing import FreezeSchedule
from faceproof.training.module import STEP_LOSS, DetectorModule

NUM_SAMPLES = 16
SILENCE = 30.0  # seconds between two lines of an epoch
PER_SECOND = 4  # times that the progress bar is drawn; Lightning's 100 take a tenth of a core
THRESHOLD = 0.5  # of the live metrics; the run's own threshold is fitted after training


class Freezing(Callback):
    """Applies a freeze schedule: at the start, at every epoch, and after a resume.

    Everything requires grad until training starts, because DDP only follows parameters that did
    when it wrapped the network.
    """

    def __init__(self, schedule: FreezeSchedule) -> None:
        self.schedule = schedule

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Freeze; a run that is resumed inside an epoch has no other hook."""
        self._apply(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Freeze what this epoch freezes."""
        self._apply(trainer, pl_module)

    def _apply(self, trainer: Trainer, module: LightningModule) -> None:
        assert isinstance(module, DetectorModule)
        net = module.net
        assert isinstance(net, Detector)
        set_trainable(net, self.schedule.trainable(parts_of(net), trainer.current_epoch))


class WholeEpoch(Callback):
    """Refuses a training that would end within its first epoch, before validation judges it."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare `max_steps` with the optimizer steps of an epoch."""
        together = trainer.accumulate_grad_batches
        steps = math.ceil(trainer.num_training_batches / together)
        if 0 <= trainer.max_steps < steps:
            raise FaceproofError(
                f"trainer.max_steps={trainer.max_steps} ends the training within its first epoch, "
                f"of {steps:,} steps, and an epoch is judged at its end; use trainer.max_epochs=1 "
                f"trainer.limit_train_batches={max(trainer.max_steps, 1) * together}"
            )


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's early stopping; a resumed run keeps its count, and may be given a new patience.

    A checkpoint finds its state by the class's name, which is Lightning's too.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the count of epochs, but not the patience."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop a run that had stopped: Lightning trains each resumed run for another epoch."""
        undefined = self.stopping_reason is EarlyStoppingReason.NON_FINITE_METRIC
        if undefined or self.wait_count >= max(self.patience, 1):
            trainer.should_stop = True


class ImageRate(Callback):
    """Logs `train/images_per_second`: images over the time from the first batch to the last."""

    def __init__(self) -> None:
        self.began, self.ended, self.images = 0.0, 0.0, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; a run that is resumed inside an epoch does not start one."""
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


class EpochColumn(ProgressColumn):
    """What a bar is of; Lightning would begin the epochs with `Epoch 0`."""

    def __init__(self, trainer: Trainer, width: int) -> None:
        super().__init__()
        self.trainer, self.width = trainer, width

    def render(self, task: BarTask) -> Text:
        """Show the epoch, or what else goes on, in so many columns that bars stand in line."""
        is_epoch = task.description.startswith("Epoch ")
        return Text(f"{_epoch(self.trainer) if is_epoch else task.description:{self.width}}")


class ProgressBar(callbacks.RichProgressBar):
    """Lightning's progress bar, updated when it is drawn and not in every step.

    A value can only be shown once the GPU has computed it. Lightning waits for it in every step;
    this bar waits only when it is drawn. `console` holds arguments of rich's console.
    """

    def __init__(self, **console: Any) -> None:
        super().__init__(PER_SECOND, console_kwargs=console)
        self.pause = 1 / PER_SECOND  # seconds
        self._updated_at = -math.inf

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        """Return Lightning's columns, the first of which counts epochs from 1 as everywhere."""
        _, *others = super().configure_columns(trainer)
        return [EpochColumn(trainer, len(self.validation_description)), *others]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Update the bar if it is drawn now, or at the end of the epoch."""
        now = time.monotonic()
        if now - self._updated_at >= self.pause or batch_idx + 1 == self.total_train_batches:
            self._updated_at = now
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the values beside the bar."""
        items: dict[str, Any] = super().get_metrics(trainer, pl_module)
        loss = trainer.callback_metrics.get(STEP_LOSS)
        return items if loss is None else {**items, STEP_LOSS: loss.item()}


def _epoch(trainer: Trainer) -> str:
    """Return which epoch it is, as in `epoch 1 of 3`; of a training without an end, `epoch 1`."""
    number, last = trainer.current_epoch + 1, trainer.max_epochs or 0
    # After the last epoch the trainer counts one more.
    return f"epoch {min(number, last)} of {last}" if last > 0 else f"epoch {number}"


class EpochLines(Callback):
    """Prints a line for each epoch; without a progress bar, one now and then inside it too."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember when and with which epoch training started."""
        self._began, self._first = time.monotonic(), trainer.current_epoch
        # Here too: a training that goes on inside an epoch does not start one.
        self._said, self._pace = self._began, Pace()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember when the epoch started."""
        self._said, self._pace = time.monotonic(), Pace()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print how far the epoch is, where a log would be silent for long."""
        now, number, total = time.monotonic(), batch_idx + 1, trainer.num_training_batches
        self._pace.add(1, now)
        if now - self._said < SILENCE or on_terminal() or number == total:
            return
        self._said = now
        left = self._pace.left(total - number)
        self._print(trainer, f"step {number:,} of {total:,}{left and f', {left} of the epoch'}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print validation's metrics, and how long the epochs to come will take."""
        metrics = trainer.callback_metrics
        shown = ", ".join(
            f"{name} {metrics[name].item():.4f}"
            for name in ("val/loss", "val/accuracy", "val/roc_auc")
            if name in metrics
        )
        done = trainer.current_epoch + 1
        if (to_come := (trainer.max_epochs or 0) - done) > 0:
            each = (time.monotonic() - self._began) / (done - self._first)
            shown += f", {time_left(each * to_come)}"
        self._print(trainer, shown)

    def _print(self, trainer: Trainer, words: str) -> None:
        if trainer.is_global_zero:
            print(f"{_epoch(trainer)}: {words}", flush=True)


class BoardImages(Callback):
    """Shows on the boards of a run, such as TensorBoard, what is no single curve.

    Training images with their labels, validation's confusion matrix and ROC curve, and each metric
    of training and validation in one chart, where a board has such charts.
    """

    def __init__(self, task: Task) -> None:
        self.task = task

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say which curves belong into one chart."""
        charts = {
            metric.label: ["Multiline", [f"train/{metric.name}", f"val/{metric.name}"]]
            for metric in metrics_shown("training")
        }
        for board in _boards(trainer):
            board.add_charts(charts)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Show the first images as the network sees them, once."""
        if batch_idx or isinstance(batch, FeatureBatch):  # cached features, no images
            return
        boards = _boards(trainer)
        if boards and trainer.global_step == 0:
            assert isinstance(pl_module, DetectorModule)
            pl_module.seed_step(batch_idx)  # as for the step, so that the same is drawn
            seen, mixed = pl_module.mix(batch)
            images = (seen.image[:NUM_SAMPLES].float() * 255).round().clamp(0, 255).byte().cpu()
            tiles = map(Tile, images.permute(0, 2, 3, 1).numpy(), self._labels(batch, mixed))
            grid = image_grid(list(tiles), "As they are trained on")
            for board in boards:
                board.add_figure("train/samples", grid, 0)

    def _labels(self, batch: Batch, mixed: Mixed | None) -> list[str]:
        """Return what the first images of a batch are called; those of two classes, by shares."""
        names = [self.task.classes[label] for label in batch.label.tolist()]
        if mixed is None:
            return names[:NUM_SAMPLES]
        others = [names[place] for place in mixed.partner.tolist()]
        return [
            one if one == other else f"{mixed.share:.0%} {one}, {1 - mixed.share:.0%} {other}"
            for one, other in zip(names[:NUM_SAMPLES], others, strict=False)
        ]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the plots of the 1st, 2nd, 4th, 8th ... and the last epoch."""
        boards, step = _boards(trainer), trainer.current_epoch
        # Drawing takes as long as an epoch of a small network.
        if not boards or ((step + 1) & step and step + 1 != trainer.max_epochs):
            return
        assert isinstance(pl_module, DetectorModule)
        logits, labels = (scores.cpu().numpy() for scores in pl_module.val_metrics.scores())
        logits = logits.astype(np.float64)
        probabilities = 1 / (1 + np.exp(-logits))
        called = probabilities >= THRESHOLD
        found = LabelledScores.from_arrays(labels, logits, probabilities, called)
        cells = WeightedScores(found).confusion
        figures = {"val/confusion": confusion_heatmap(cells, self.task)}
        if has_both_classes(found):
            figures["val/roc"] = roc_plot(found, THRESHOLD, self.task)
        for board in boards:
            for name, figure in figures.items():
                board.add_figure(name, figure, step)


def _boards(trainer: Trainer) -> list[Board]:
    if not trainer.is_global_zero:
        return []
    return [logger for logger in trainer.loggers if isinstance(logger, Board)]


def set_trainable(net: nn.Module, trainable: frozenset[str]) -> None:
    """Freeze every parameter of a network but the named ones.

    Frozen means without gradient and in eval mode: a module whose parameters are all frozen is in
    eval mode with all that is in it, so that batch statistics do not move and dropout does not
    draw. Everything else is in train mode.
    """
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name in trainable)
    net.train()
    _rest_frozen(net)


def _rest_frozen(module: nn.Module) -> None:
    for child in module.children():
        parameters = list(child.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            child.eval()
        else:
            _rest_frozen(child)
