"""Training: from a data set and a network to a run folder."""

import contextlib
import logging
import math
import os
import platform
import shlex
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.loggers import Logger
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.optim import Optimizer

from faceproof import __version__
from faceproof.audit.audit import cached_audit
from faceproof.audit.file_statistics import file_statistics_of
from faceproof.audit.readable import readable_rows
from faceproof.augment.transforms import Augment
from faceproof.data.datasets import ImageGoneError
from faceproof.data.listing import DataSet
from faceproof.data.loader_config import CacheConfig, LoaderConfig
from faceproof.data.loaders import WorkerDiedError, explain_dead_workers
from faceproof.data.table import counts, describe_counts, write_table
from faceproof.errors import FaceproofError
from faceproof.evaluation.monitor import better
from faceproof.io.atomic import CannotWriteError, explain_disk_errors
from faceproof.io.run_folder import RunFolder, is_first_process, read_epochs, write_text
from faceproof.models.detector import Detector, parameter_blocks
from faceproof.performance.depthwise import quicken_depthwise
from faceproof.performance.memory import reuse_memory
from faceproof.reports.audit_page import describe, write_audit
from faceproof.training.callbacks import (
    BoardImages,
    EarlyStopping,
    EpochLines,
    Freezing,
    ImageRate,
    ProgressBar,
    print_summary,
)
from faceproof.training.checkpoints import (
    AtomicCheckpointIO,
    LastCheckpoint,
    Saving,
    StopRequestedError,
    check_batches,
    check_fit,
    num_whole_epochs,
)
from faceproof.training.datamodule import FeatureCaching, ImageDataModule
from faceproof.training.finite import NonFiniteError
from faceproof.training.freezing import FreezeSchedule
from faceproof.training.loggers import Board, EpochTable
from faceproof.training.module import DetectorModule, Scheduler
from faceproof.training.precision import Precision, choose_precision
from faceproof.workflows.evaluate import ThresholdConfig, store_operating_point

log = logging.getLogger(__name__)

MAX_NAMED = 3  # images, in a message
MIN_FITTED = 256  # images, for the operating point of a smoke test
LOST = "gloo/transport"  # in what gloo, which has no class for it, says of a connection that ended

# Lightning's warnings that hold for every run of ours and ask nothing of the user.
LIGHTNING_ADVICE = (
    r"The dirpath has changed",  # _remember_best says what the best epoch is
    r"Checkpoint directory .* exists and is not empty",  # the run folder holds config.yaml
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own use of torch
    r"You're resuming from a checkpoint that ended before the epoch ended",  # LastCheckpoint does
    r"It is recommended to use .*sync_dist",  # training gathers; every process validates all
    r"The `srun` command is available",
    r"The number of training batches .* is smaller than the logging interval",  # small data sets
    r"The '\w+_dataloader' does not have many workers",  # loader.num_workers=auto has counted cores
)


@dataclass(frozen=True)
class TrainConfig:
    """How to train, apart from what is trained and on what.

    Args:
        optimizer: makes the optimizer of a network.
        scheduler: makes the scheduler of an optimizer and a number of steps.
        freeze: which parameters train from which epoch.
        augment: the change made to training images.
        trainer: makes Lightning's trainer of loggers, callbacks and a folder.
        loader: batch size and workers.
        cache: what is computed once and cached.
        saving: when a checkpoint is written inside an epoch.
        class_weights: `none`, `balanced`, or one weight for each class.
        monitor: the figure of validation by which the best epoch is chosen.
        patience: epochs without improvement after which training stops; None for never.
        tensorboard: write TensorBoard events.
        seed: of everything random.
        compile: have torch.compile make the network's training steps.
        criterion: what the run's threshold is for, and how its probabilities are calibrated.
    """

    optimizer: Callable[[nn.Module], Optimizer]
    scheduler: Scheduler
    freeze: FreezeSchedule
    trainer: Callable[..., tuple[pl.Trainer, Precision]]
    augment: Augment = field(default_factory=Augment)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    class_weights: str | tuple[float, float] = "none"
    saving: Saving = field(default_factory=Saving)
    monitor: str = "val/loss"
    patience: int | None = None
    tensorboard: bool = True
    seed: int = 0
    compile: bool = False
    threshold: ThresholdConfig = field(default_factory=ThresholdConfig)


def seed_everything(seed: int) -> None:
    """Seed what still has a state: initial weights and dropout."""
    # What Lightning announces is said again here, in the run's own terms.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    pl.seed_everything(seed, verbose=False)


def fit(
    run: RunFolder,
    data: DataSet,
    net: Detector,
    train_config: TrainConfig,
    facts: Mapping[str, Any],
    hyperparameters: Mapping[str, Any],
    config: str = "",
    resume: bool = False,
) -> float:
    """Train a network and return the best value of the monitored figure.

    Of several processes the first alone returns it, and keeps the run folder.

    Args:
        run: where everything goes.
        data: the data set.
        net: the network, with its initial weights.
        train_config: how to train; see `dry_run`, which refuses what cannot be followed.
        facts: what the record should say beside what is known here.
        hyperparameters: what TensorBoard's HParams tab shows.
        config: the run's configuration, kept with it once nothing stands against the run.
        resume: go on from `last.ckpt`, on the images of `samples.parquet`.

    Raises:
        FaceproofError: the images, the recipe or the loss stand against it.
    """
    reuse_memory()
    mode = better(train_config.monitor)
    last = run.last
    if resume:  # a file that cannot be gone on with is refused before all else
        check_fit(last, net, train_config.optimizer)
    home = run
    if not is_first_process():  # one process keeps the run folder; the others' notes are dropped
        run = RunFolder(tempfile.mkdtemp(prefix="faceproof-"))
    # A resumed run goes on with the very same rows; one that has vanished is named when it is met.
    rows = data.table if resume else inspect(run, data)
    check_splits(rows, data)
    seen = rows.filter(
        pa.compute.is_in(rows["split"].cast(pa.string()), pa.array(["train", "val"]))
    )
    loggers: list[Logger] = [EpochTable(run.metrics)]
    if train_config.tensorboard:
        loggers.append(Board(run.path))
    trainer, precision = _make_trainer(run, data, train_config, loggers, resume)
    if resume and trainer.max_steps != -1:  # Lightning ends a whole epoch a second time then
        raise FaceproofError(
            "a run that trainer.max_steps limits cannot be gone on with exactly; use "
            "trainer.max_epochs from the start"
        )
    if resume:
        check_batches(last, train_config.loader.batch_size, trainer.world_size)
    images = ImageDataModule(
        seen, data.task, net.input, train_config.augment, train_config.loader, train_config.seed,
        train_config.cache, FeatureCaching.choose(
            never_trains_backbone(net, train_config.freeze, trainer.max_epochs),
            train_config.augment, train_config.cache,
            trainer.limit_train_batches != 1.0 or trainer.limit_val_batches != 1.0,
        ),
    )  # fmt: skip
    quicken_depthwise(net)
    weights = class_weights(images.train_rows, data, train_config.class_weights)
    module = DetectorModule(
        net.to(memory_format=torch.channels_last),
        train_config.optimizer,
        train_config.scheduler,
        weights,
        train_config.seed,
        train_config.compile,
    )
    if not resume:
        write_table(rows, run.samples)
        write_table(_contents(file_statistics_of(seen)), run.seen)
        run.update_record(unreadable=data.table.num_rows - rows.num_rows)
    write_text(run.config, config)
    for dead in run.path.glob("*.partial-*"):  # of a process that was killed while writing
        dead.unlink()
    # What was fitted to another epoch's weights must not outlive them.
    run.operating_point.unlink(missing_ok=True)
    run.validation.unlink(missing_ok=True)
    run.update_record(
        **facts,
        status="running",
        stopped_at=None,
        images=describe_counts(rows),
        class_weights=weights,
        precision=str(precision.name),
        features=images.features.reason,
        device=_device(trainer),
        versions=_versions(),
    )
    if trainer.is_global_zero:
        log.info("%s: %s", data.name, describe_counts(rows))
        log.info("computing in %s, channels last: %s", precision.name, precision.reason)
        log.info("backbone features are %s", images.features.reason)
        print_summary(net, train_config.freeze, Console())
    try:
        _train(trainer, module, images, home, last if resume else None)
    finally:
        if not trainer.is_global_zero:
            shutil.rmtree(run.path)
    if not trainer.is_global_zero:
        return math.nan
    run.update_record(features=images.features.reason)  # as it came to be
    value = _finish(run, train_config, mode, loggers, hyperparameters)
    store_operating_point(
        run, net, _validation_rows(trainer, images), data.task, train_config.threshold
    )
    run.update_record(status="finished")  # last: a run without a threshold is not
    return value


def never_trains_backbone(net: Detector, freeze: FreezeSchedule, max_epochs: int | None) -> bool:
    """Say whether a schedule trains none of the backbone's parameters within so many epochs."""
    blocks = parameter_blocks(net)
    first = freeze.first_epoch(blocks, [name for name, _ in net.named_parameters()])
    last = math.inf if max_epochs is None or max_epochs < 0 else max_epochs
    trained = (first[name] for block in blocks for name in block)
    return all(epoch is None or epoch >= last for epoch in trained)


def _make_trainer(
    run: RunFolder,
    data: DataSet,
    train_config: TrainConfig,
    loggers: list[Logger],
    resume: bool,
) -> tuple[pl.Trainer, Precision]:
    """Make the trainer of a recipe, with what goes on around training."""
    return train_config.trainer(
        logger=loggers,
        callbacks=_callbacks(run, data, train_config, better(train_config.monitor), resume),
        default_root_dir=run.path,
        enable_progress_bar=sys.stdout.isatty(),
    )


def _train(
    trainer: pl.Trainer,
    module: DetectorModule,
    images: ImageDataModule,
    run: RunFolder,
    checkpoint: Path | None,
) -> None:
    """Train, and say in the record and to the user how it ended if it did not end well."""
    try:
        with warnings.catch_warnings():
            for message in LIGHTNING_ADVICE:
                warnings.filterwarnings("ignore", message)
            with explain_dead_workers(), explain_disk_errors(run.path):
                trainer.fit(module, images, ckpt_path=checkpoint, weights_only=True)
    except NonFiniteError as error:
        files = images.train_rows["path"].take(pa.array(error.rows, pa.int64())).to_pylist()
        _note(run, f"stopped: {error}", stopped_at={"why": str(error), "images": files})
        rest = len(files) - MAX_NAMED
        more = f" and {rest} more, which {run.record} names" if rest > 0 else ""
        batch = f"The batch holds {', '.join(files[:MAX_NAMED])}{more}. " if files else ""
        raise FaceproofError(
            f"{error}. {batch}Try a lower optimizer.lr in a new run, or "
            f"trainer.precision=32-true in this one; {run.how_to_go_on()}"
        ) from error
    except torch._dynamo.exc.TorchDynamoException as error:
        _note(run, "stopped: compile")
        inner = getattr(error, "inner_exception", error)  # what the compiler itself said
        reason = next(iter(str(inner).strip().splitlines()), type(inner).__name__)
        raise FaceproofError(
            f"torch.compile cannot compile this network here: {reason}; train with compile=false"
        ) from error
    except (StopRequestedError, KeyboardInterrupt, SystemExit) as stop:
        # Lightning ends the process on a second Ctrl-C, after its own clean-up.
        if isinstance(stop, SystemExit) and not trainer.interrupted:
            raise
        if not trainer.is_global_zero:  # the first process says it
            sys.exit(1)
        run.update_record(status="interrupted")
        raise FaceproofError(f"interrupted; {run.how_to_go_on()}") from None
    except (CannotWriteError, WorkerDiedError, ImageGoneError) as error:
        _note(run, f"stopped: {error}")
        raise FaceproofError(f"{error}; {run.how_to_go_on()}") from error
    except RuntimeError as error:
        if LOST not in str(error):
            raise
        if str(run.read_record().get("status")).startswith("stopped: "):  # the other has said why
            sys.exit(1)
        _note(run, "stopped: another process of it has ended")
        raise FaceproofError(
            f"another process of this run has ended, as when memory runs out; {run.how_to_go_on()}"
        ) from error


def _note(run: RunFolder, status: str, **facts: Any) -> None:
    """Note how a run has ended, in any process that sees its folder: the first may be killed."""
    if run.record.is_file():
        with contextlib.suppress(CannotWriteError):  # a full disk may be why it has ended
            run.update_record(status=status, **facts)


def _validation_rows(trainer: pl.Trainer, images: ImageDataModule) -> pa.Table:
    """Return the validation images, as many as the trainer was allowed to look at."""
    limit = trainer.limit_val_batches
    if isinstance(limit, float):  # a share
        return images.val_rows.slice(0, max(round(limit * images.val_rows.num_rows), 2))
    return images.val_rows.slice(0, max(int(limit) * images.loader.batch_size, MIN_FITTED))


def _contents(facts: pa.Table) -> pa.Table:
    """Return what tells images again, wherever they lie: path, and digest of the bytes."""
    return facts.select(["path", "content"])


def inspect(run: RunFolder, data: DataSet) -> pa.Table:
    """Look at every file before training, and return the rows that can be read.

    What was found is in the run's `unreadable.csv`, `audit.json`, `audit.html` and record.

    Raises:
        FaceproofError: too many files are unreadable, or images leak across splits.
    """
    facts = file_statistics_of(data.table)
    rows, _ = readable_rows(data, run.unreadable, facts)
    audit = cached_audit(data, facts)
    write_audit(audit, run.path)
    run.update_record(audit=[f"{f.kind}, {f.count:,}: {f.text}" for f in audit.findings])
    if audit.leaks and not data.allow_leaks:
        raise FaceproofError(
            f"data set {data.name} leaks across its splits, so that no figure on them means "
            f"anything:\n{describe(audit)}\nSee {run.path / 'audit.html'}. Mend the splits, "
            "or train all the same with data.allow_leaks=true"
        )
    if not audit.clear:
        log.warning("the audit of %s found:\n%s", data.name, describe(audit))
    return rows


def check_splits(rows: pa.Table, data: DataSet) -> None:
    """Refuse a data set whose training or validation split lacks a class.

    Raises:
        FaceproofError: it does; the message counts the images.
    """
    present = counts(rows, "split", "label")
    for split in ("train", "val"):
        for label in data.task.classes:
            if not present.get((split, label)):
                raise FaceproofError(
                    f"data set {data.name} has no image of class {label} in its split {split}; "
                    f"found {describe_counts(rows)}; both splits need both classes: change "
                    "data.splits or data.ratios"
                )


def class_weights(
    rows: pa.Table, data: DataSet, wanted: str | tuple[float, float]
) -> tuple[float, float]:
    """Return the weights of both classes in the loss; balanced ones average 1 over the images.

    Raises:
        FaceproofError: they are neither `none`, `balanced`, nor two numbers.
    """
    if wanted == "none":
        return 1.0, 1.0
    if wanted == "balanced":
        present = counts(rows, "label")
        negative, positive = (rows.num_rows / (2 * present[(name,)]) for name in data.task.classes)
        return negative, positive
    if isinstance(wanted, tuple) and len(wanted) == 2 and min(wanted) > 0:
        return float(wanted[0]), float(wanted[1])
    raise FaceproofError(
        f"class_weights = {wanted!r} must be none, balanced, or two positive numbers: "
        f"[{data.task.negative}, {data.task.positive}]"
    )


def _callbacks(
    run: RunFolder, data: DataSet, train_config: TrainConfig, mode: str, resume: bool
) -> list[Callback]:
    """Return what goes on around training."""
    best = ModelCheckpoint(
        run.path,
        filename="best",
        monitor=train_config.monitor,
        mode=mode,
        save_weights_only=True,
        enable_version_counter=False,
    )
    if resume:
        _remember_best(best, run, train_config.monitor, mode)
    # Not `save_last=True`: since Lightning 2.6 that is a copy of the best.
    last = LastCheckpoint(run.last, train_config.saving)
    progress = ProgressBar() if sys.stdout.isatty() else EpochLines()
    callbacks: list[Callback] = [Freezing(train_config.freeze), ImageRate(), progress, best, last]
    if train_config.tensorboard:
        callbacks.append(BoardImages(data.task))
    if train_config.patience is not None:
        callbacks.append(
            EarlyStopping(train_config.monitor, patience=train_config.patience, mode=mode)
        )
    return callbacks


def _remember_best(best: ModelCheckpoint, run: RunFolder, monitor: str, mode: str) -> None:
    """Tell a checkpoint callback of the best epoch so far.

    Lightning forgets it where the run folder has been moved, and would let the next epoch, however
    bad, take its place.
    """
    if not run.best.is_file():  # as in the folder of any process but the first
        return
    behind = num_whole_epochs(run.last)  # an epoch that was begun will be judged again
    rows = [row for row in read_epochs(run.metrics) if row["epoch"] < behind]
    values = [row[monitor] for row in rows if row.get(monitor) is not None]
    if values:
        score = torch.tensor((min if mode == "min" else max)(values))
        path = str(run.best)
        best.best_model_path = best.kth_best_model_path = path
        best.best_model_score = best.kth_value = score
        best.best_k_models = {path: score}


def _finish(
    run: RunFolder,
    train_config: TrainConfig,
    mode: str,
    loggers: list[Logger],
    hyperparameters: Mapping[str, Any],
) -> float:
    """Record the best epoch, show it, and say what to do next."""
    rows = [row for row in read_epochs(run.metrics) if row.get(train_config.monitor) is not None]
    if not rows:
        raise FaceproofError(
            f"{train_config.monitor} was undefined in every epoch, so no best epoch could be chosen; "
            f"monitor one of the figures in {run.metrics}"
        )
    best = (min if mode == "min" else max)(rows, key=lambda row: row[train_config.monitor])
    value = float(best[train_config.monitor])
    run.update_record(
        monitor=train_config.monitor,
        best_epoch=best["epoch"],
        best={name: figure for name, figure in best.items() if name != "epoch"},
        epochs=len(read_epochs(run.metrics)),
    )
    for logger in loggers:
        if isinstance(logger, Board) and not logger.failed:
            logger.log_hyperparams(dict(hyperparameters), {f"best/{train_config.monitor}": value})
            logger.save()
            logger.finalize("success")
    _print_best(run, best, len(rows))
    return value


def _print_best(run: RunFolder, best: Mapping[str, Any], num_epochs: int) -> None:
    """Print the figures of the best epoch and the two commands to run next."""
    table = Table(
        "figure",
        "train",
        "validation",
        title=f"best epoch: {best['epoch']} (of {num_epochs}, from 0)",
    )
    names = [name.removeprefix("val/") for name in best if name.startswith("val/")]
    for name in sorted(names, key=lambda name: (name != "loss", name)):
        table.add_row(name, _shown(best.get(f"train/{name}")), _shown(best[f"val/{name}"]))
    console = Console()
    console.print(table)
    console.print("next:", f"  python evaluate.py {run.argument('run')}",
                  f"  tensorboard --logdir {shlex.quote(os.path.relpath(run.path))}",
                  sep="\n", soft_wrap=True, highlight=False)  # fmt: skip


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _device(trainer: pl.Trainer) -> str:
    """Name what the run computes on."""
    kind = type(trainer.accelerator).__name__.removesuffix("Accelerator")
    name = torch.cuda.get_device_name() if kind == "CUDA" else platform.machine()
    return f"{trainer.world_size} x {kind} ({name})"


def _versions() -> dict[str, str]:
    """Return the versions that a figure may depend on."""
    import timm
    import torchvision

    return {
        "faceproof": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
        "pytorch-lightning": version("pytorch-lightning"),
    }


def make_trainer(precision: Any = "auto", **options: Any) -> tuple[pl.Trainer, Precision]:
    """Make Lightning's trainer, and say what it computes in.

    Order and division among processes are the sampler's own, so Lightning's are off.

    Args:
        precision: Lightning's, or `auto`; see `choose_precision`.
        options: what else the trainer takes.
    """
    chosen = Precision(precision, "trainer.precision says so")
    if precision == "auto":
        wants_gpu = options.get("accelerator", "auto") in ("auto", "gpu", "cuda")
        on_gpu = wants_gpu and torch.cuda.is_available()
        chosen = choose_precision(on_gpu)
    trainer = pl.Trainer(
        precision=chosen.name,
        use_distributed_sampler=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        plugins=[AtomicCheckpointIO()],
        **options,
    )
    return trainer, chosen
