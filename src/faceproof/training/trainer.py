"""Lightning's trainer, with the callbacks and loggers of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies import DDPStrategy, FSDPStrategy

from faceproof.errors import FaceproofError
from faceproof.evaluation.metrics import better
from faceproof.io.progress import on_terminal
from faceproof.io.run_folder import RunFolder, read_epochs
from faceproof.lookup import find
from faceproof.task import Task
from faceproof.training.averaging import WeightAverage
from faceproof.training.boards import Board, wanted_trackers
from faceproof.training.callbacks import (
    BoardImages,
    EarlyStopping,
    EpochLines,
    Freezing,
    ImageRate,
    ProgressBar,
    WholeEpoch,
)
from faceproof.training.checkpoints import AtomicCheckpointIO, LastCheckpoint, num_whole_epochs
from faceproof.training.config import TrainConfig
from faceproof.training.epoch_average import EpochAverage
from faceproof.training.loggers import EpochTable, TensorBoard
from faceproof.training.part_metrics import PartMetrics
from faceproof.training.precision import Precision, choose_precision

STRATEGIES = {"ddp": DDPStrategy, "fsdp": FSDPStrategy}
# What makes the trainer impossible, by Lightning, torch or Python.
REFUSALS = (
    MisconfigurationException, ArithmeticError, AssertionError, TypeError, ValueError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class MadeTrainer:
    """A trainer, what it computes in, and its loggers."""

    trainer: pl.Trainer
    precision: Precision
    loggers: tuple[Logger, ...] = ()

    @property
    def boards(self) -> list[Board]:
        """The loggers that show more than curves."""
        return [logger for logger in self.loggers if isinstance(logger, Board)]


def make_trainer(options: Mapping[str, Any], **of_the_run: Any) -> tuple[pl.Trainer, Precision]:
    """Make Lightning's trainer, and say what it computes in.

    Order and division among processes are the sampler's own, so Lightning's are off. The option
    `precision` may be `auto` (see `choose_precision`), and `strategy` a mapping with a `name` from
    `STRATEGIES` and its arguments.
    """
    settings = dict(options)
    chosen = Precision(settings.pop("precision", "auto"), "trainer.precision sets it")
    if chosen.name == "auto":
        wants_gpu = settings.get("accelerator", "auto") in ("auto", "gpu", "cuda")
        chosen = choose_precision(wants_gpu and torch.cuda.is_available())
    if isinstance(strategy := settings.get("strategy"), Mapping):
        arguments = dict(strategy)
        name = arguments.pop("name", "")
        settings["strategy"] = find(name, STRATEGIES, "trainer.strategy.name")(**arguments)
    try:
        trainer = pl.Trainer(
            precision=chosen.name, plugins=[AtomicCheckpointIO()], use_distributed_sampler=False,
            enable_model_summary=False, num_sanity_val_steps=0, **settings, **of_the_run,
        )  # fmt: skip
    except REFUSALS as error:
        reason = f"the trainer cannot be made: {str(error) or type(error).__name__}"
        raise FaceproofError(f"{reason}; look at the settings trainer.*") from error
    return trainer, chosen


def divides_weights(trainer: pl.Trainer) -> bool:
    """Say whether each process has a part of every weight only."""
    return isinstance(trainer.strategy, FSDPStrategy)


def make_run_trainer(run: RunFolder, task: Task, config: TrainConfig, resume: bool) -> MadeTrainer:
    """Make the trainer of a run, which logs, writes checkpoints and freezes as configured."""
    loggers: list[Logger] = [EpochTable(run.metrics)]
    if config.logger.tensorboard:
        loggers.append(TensorBoard(run.path))
    if wanted_trackers(config.logger):
        from faceproof.training.trackers import make_trackers

        loggers += make_trackers(run, config.logger, resume)
    trainer, precision = make_trainer(
        config.trainer,
        logger=loggers,
        callbacks=_callbacks(run, task, config, resume),
        default_root_dir=run.path,
        enable_progress_bar=on_terminal(),
    )
    return MadeTrainer(trainer, precision, tuple(loggers))


def _callbacks(run: RunFolder, task: Task, config: TrainConfig, resume: bool) -> list[Callback]:
    """Return what freezes, times, shows and stores a training."""
    mode = better(config.monitor)
    best = ModelCheckpoint(
        run.path, "best", config.monitor, mode=mode, save_weights_only=True,
        enable_version_counter=False,
    )  # fmt: skip
    if resume:
        _restore_best(best, run, config.monitor)
    # Not `save_last=True`: since Lightning 2.6 that is a copy of the best.
    last = LastCheckpoint(run.last, config.checkpoint)
    callbacks: list[Callback] = [WholeEpoch(), Freezing(config.freeze), ImageRate(), EpochLines()]
    callbacks += [best, last]
    if config.part_monitors:
        callbacks.append(PartMetrics(config.part_monitors, task))
    if config.ema is not None:
        callbacks.append(WeightAverage(config.ema))
    if config.swa is not None:
        callbacks.append(EpochAverage(config.swa))
    if on_terminal():
        callbacks.append(ProgressBar())
    if config.logger.tensorboard or wanted_trackers(config.logger):
        callbacks.append(BoardImages(task))
    if config.patience is not None:
        callbacks.append(EarlyStopping(config.monitor, patience=config.patience, mode=mode))
    return callbacks


def _restore_best(best: ModelCheckpoint, run: RunFolder, monitor: str) -> None:
    """Restore the best epoch so far in a checkpoint callback.

    Lightning loses it where the run folder has been moved, and would let the next epoch, however
    bad, take its place.
    """
    if not run.best.is_file():  # as in the folder of any process but the first
        return
    num_epochs = num_whole_epochs(run.last)  # the epoch that was begun is validated again
    rows = [row for row in read_epochs(run.metrics) if row["epoch"] < num_epochs]
    values = [row[monitor] for row in rows if row.get(monitor) is not None]
    if values:
        score = torch.tensor((min if better(monitor) == "min" else max)(values))
        path = str(run.best)
        best.best_model_path = best.kth_best_model_path = path
        best.best_model_score = best.kth_value = score
        best.best_k_models = {path: score}
