"""The story of faceproof train: from settings to a run folder with a threshold.

check the settings -> build the network -> dry run -> list and audit the images -> train -> record
the best epoch -> fit calibration and threshold on validation
"""

import contextlib
import functools
import logging
import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytorch_lightning as pl
import torch
from rich.console import Console

from faceproof.audit.unchanged import refuse_changed_images
from faceproof.data.leave_out import leave_out
from faceproof.data.listing import DataSet
from faceproof.data.sources import check_both_classes, check_splits
from faceproof.data.table import describe_counts, select, write_table
from faceproof.errors import FaceproofError
from faceproof.evaluation.json_values import plain
from faceproof.evaluation.metrics import better
from faceproof.evaluation.part_metrics import check_parts
from faceproof.io.atomic import explain_disk_errors, remove_partial_files, write_text
from faceproof.io.plain_files import yaml_text
from faceproof.io.run_folder import RunFolder, is_first_process, read_epochs
from faceproof.models.adapters import add_adapters, merge_adapters
from faceproof.models.build import build_network, build_of_file
from faceproof.models.detector import Detector
from faceproof.models.weights import load_initial_weights
from faceproof.performance.depthwise import quicken_depthwise
from faceproof.performance.memory import reuse_memory
from faceproof.prepare.cropping import read_crop
from faceproof.training.boards import begun, check_boards
from faceproof.training.checkpoints import check_best, check_fit
from faceproof.training.config import TrainConfig, make_train_config
from faceproof.training.datamodule import FeatureCaching, ImageDataModule
from faceproof.training.dry_run import check_single_images, dry_run
from faceproof.training.face_checks import check_faces
from faceproof.training.failures import explain_failures
from faceproof.training.freeze_checks import (
    check_random_backbone,
    never_trains_backbone,
    warn_of_late_stages,
    warn_of_unused_rates,
)
from faceproof.training.loss_config import OF_FEATURES, ClassBalancedConfig
from faceproof.training.losses import make_loss
from faceproof.training.module import DetectorModule
from faceproof.training.optimizers import make_optimizer
from faceproof.training.schedulers import Cycles, make_scheduler
from faceproof.training.summary import print_best, print_end, print_network
from faceproof.training.surroundings import describe_device, package_versions
from faceproof.training.trainer import MadeTrainer, divides_weights, make_run_trainer
from faceproof.workflows.audited_data import audited_rows
from faceproof.workflows.calibrate import store_operating_point
from faceproof.workflows.methods import (
    Teacher,
    check_autoencoder,
    check_teacher,
    check_unseen,
    make_methods,
    read_teacher,
)
from faceproof.workflows.novelty import check_enough
from faceproof.workflows.recipe import recipe, told
from faceproof.workflows.resuming import (
    RecordedData,
    check_resumable,
    plan_schedule,
    restore_faces,
    store_faces,
)
from faceproof.workflows.synthesis_sheet import write_synthesis_sheet
from faceproof.workflows.training_record import commands_of, recorded_time

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """A training that is ready to start.

    Attributes:
        run: the folder of this process: the run's own in the first one, a temporary one in others.
        home: the run's own folder.
        rows: the image table, unreadable files left out.
        class_weights: of the negative and the positive class, in the loss.
        cycles: of the learning-rate schedule, in epochs; see `training.schedulers`.
    """

    run: RunFolder
    home: RunFolder
    config: TrainConfig
    net: Detector
    rows: pa.Table
    images: ImageDataModule
    class_weights: tuple[float, float]
    module: DetectorModule
    made: MadeTrainer
    cycles: Cycles

    @property
    def trainer(self) -> pl.Trainer:
        """Lightning's trainer."""
        return self.made.trainer


def train(
    run: RunFolder,
    values: Mapping[str, Any],
    choices: Mapping[str, str] | None = None,
    resume: bool = False,
    overrides: Sequence[str] | None = None,
    wants_random: bool = True,
) -> float:
    """Train a detector and return the best value of the monitored metric.

    Of several processes the first alone returns it and writes into the run folder.

    Args:
        run: where everything goes.
        values: the settings as plain values, in the structure of `conf/train.yaml`.
        choices: which file of `conf/` each group of settings was taken from, for the record.
        resume: resume from `last.ckpt`, on the images of `samples.parquet`.
        overrides: the words of the command line, for the record.
        wants_random: whether `model.weights=none` is a wish, and not the default of a model.

    Raises:
        FaceproofError: the settings, the images or the training are at fault; the message says
            what to change.
    """
    config = make_train_config(values, RecordedData(run) if resume else None)
    check_both_classes(config.data)
    if is_first_process():
        check_boards(config.logger)
    seed_everything(config.seed)
    net, weights = _network(run, config, resume)
    dry_run(config, net)  # before the images, which may take long to list
    teacher = None if config.distill is None else read_teacher(config.distill)
    _check_freeze(net, config, weights, wants_random)
    data, held_out = config.data.list(), None
    check_splits(data.table, data)
    listed = data.table
    if not resume:  # its images are recorded without what was left out
        data, held_out = leave_out(data, config.leave_out)
    record: dict[str, Any] = {"commands": commands_of(run, overrides, resume)}
    if not resume:
        record |= {"model": config.model.name, "weights": weights, "choices": dict(choices or {})}
    record |= _sources(config, data, run.read_record() if resume else {})
    if teacher is not None:
        check_teacher(teacher, data.task, run.read_record().get("teacher") if resume else None)
        record |= {"teacher": teacher.digest, **check_unseen(teacher, listed, data.table)}
    lock = run.locked() if is_first_process() else contextlib.nullcontext()
    with explain_disk_errors(run.path), lock:
        if not resume:
            run.refuse_begun()  # another process may have begun it meanwhile
        training = _prepare(run, data, net, config, resume, teacher)
        if not resume and training.trainer.is_global_zero:
            _record_held_out(run, held_out)
            run.synthesis.unlink(missing_ok=True)  # of an earlier start
        size = training.images.batch_size
        values = {**values, "loader": {**values.get("loader", {}), "batch_size": size}}
        _start_record(training, data, record, values)
        first = training.trainer.is_global_zero
        with begun(training.made.boards if first else [], run, values, _choices(run)):
            _fit(training, resume)
            return _finish(training, data, values) if first else math.nan


def _check_freeze(
    net: Detector, config: TrainConfig, weights: str | None, wants_random: bool
) -> None:
    """Refuse or warn of what will not train; `weights` are None where a run is resumed."""
    if weights is not None:
        check_random_backbone(net, config, weights, wants_random)
    if is_first_process():
        warn_of_unused_rates(net, config)
        warn_of_late_stages(config.freeze, config.trainer.get("max_epochs"))


def _sources(config: TrainConfig, data: DataSet, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the record says of what the images come from, and go through.

    `before` is the record of a run to resume; empty for a new one.

    Raises:
        FaceproofError: the autoencoder is missing, or another than before.
    """
    found = {} if before else {"data": data.name, "crop": plain(read_crop(data.crop))}
    found |= check_autoencoder(config.synthesis.autoencoder, before.get("autoencoder"))
    if data.coverage:
        found["protocols"] = [one.to_json() for one in data.coverage]
    return found


def _choices(run: RunFolder) -> dict[str, str]:
    """Return which file of `conf/` each group of a run's settings was taken from."""
    found: dict[str, str] = run.read_record().get("choices", {})
    return found


def seed_everything(seed: int) -> None:
    """Seed what draws from process state: initial weights and dropout."""
    # What Lightning announces, faceproof says itself.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    pl.seed_everything(seed, verbose=False)


def _network(run: RunFolder, config: TrainConfig, resume: bool) -> tuple[Detector, Any]:
    """Build the network, and say what its initial weights are; None of a run that is resumed."""
    model, weights = config.model, None
    net = build_of_file(model, run.last) if resume else build_network(model)
    if not resume:
        weights = load_initial_weights(net, model.weights, model.swap_classes)
    if (lora := config.adapter) is not None:
        add_adapters(net, lora.rank, lora.alpha, lora.layers)
    return net, weights


def _prepare(
    run: RunFolder,
    data: DataSet,
    net: Detector,
    config: TrainConfig,
    resume: bool,
    teacher: Teacher | None,
) -> Training:
    """Audit the images, and build all that trains."""
    reuse_memory()
    last, home = run.last, run
    if resume:  # a checkpoint that does not fit is refused first
        check_fit(last, net, functools.partial(make_optimizer, config.optimizer))
    else:
        check_faces(config.synthesis, data.table, data.task.negative)
    if not is_first_process():  # one process writes the run folder; the others' files are dropped
        run = RunFolder(tempfile.mkdtemp(prefix="faceproof-"))
    # A resumed run takes the very same rows; a file that has vanished is named when it is read.
    rows, statistics = (data.table, None) if resume else audited_rows(run, data)
    if resume:
        refuse_changed_images(home, rows)
    check_splits(rows, data)
    check_enough(select(rows, "train"), config.novelty.rate)
    for monitor in config.part_monitors:
        check_parts(monitor, select(rows, "val"), data.task)
    if not resume:
        write_table(rows, run.samples)
        run.update_record(unreadable=data.table.num_rows - rows.num_rows)
    made = make_run_trainer(run, data.task, config, resume)
    table = rows if statistics is None else rows.append_column("content", statistics["content"])
    images = _datamodule(table, data, net, config, made.trainer)
    if resume:
        check_resumable(last, made.trainer, images)
        restore_faces(home, images)
    else:
        run.update_record(faces=store_faces(run, images))
    of_process = -(-images.train_rows.num_rows // made.trainer.world_size)
    if 1 in (of_process, images.batch_size):
        check_single_images(net, config.freeze)
    quicken_depthwise(net)
    own = config.loss if isinstance(config.loss, ClassBalancedConfig) else None
    weights = images.class_weights(own or config.class_weights)
    num_epochs = max(made.trainer.max_epochs or 1, 1)
    now = {"loader.batch_size": images.batch_size, "trainer.max_epochs": num_epochs}
    cycles = plan_schedule(home, last, config, now) if resume else ((0, num_epochs),)
    shares = [(first / num_epochs, end / num_epochs) for first, end in cycles]
    module = DetectorModule(
        net.to(memory_format=torch.channels_last),
        functools.partial(make_optimizer, config.optimizer),
        functools.partial(make_scheduler, config.scheduler, cycles=shares),
        weights,
        config.seed,
        config.compile,
        getattr(config.scheduler, "monitor", "val/loss"),
        make_loss(config.loss),
    )
    module.methods = make_methods(net, config, teacher)
    return Training(run, home, config, net, rows, images, weights, module, made, cycles)


def _datamodule(
    rows: pa.Table, data: DataSet, net: Detector, config: TrainConfig, trainer: pl.Trainer
) -> ImageDataModule:
    augment, cache = config.augment, config.cache
    limited = trainer.limit_train_batches != 1.0 or trainer.limit_val_batches != 1.0
    frozen = never_trains_backbone(net, config.freeze, trainer.max_epochs)
    if frozen and isinstance(config.loss, OF_FEATURES):
        raise FaceproofError(
            "this loss has a term of the backbone's features, and the backbone never trains, so "
            "that the term changes nothing; let the backbone train (freeze=none), or take another "
            "loss, such as loss=bce"
        )
    images = ImageDataModule(
        rows, data.task, net.input, augment, config.loader, config.seed, cache, config.synthesis
    )
    against = images.against_caching
    if config.mix is not None or config.distill is not None:
        against = "mix and distill want the images"
    images.features = FeatureCaching.choose(frozen, augment, cache, limited, against)
    return images


def _start_record(
    training: Training, data: DataSet, record: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    """Write configuration and record, and remove what an earlier start left behind."""
    run, made, images = training.run, training.made, training.images
    write_text(run.config, yaml_text(dict(values)))
    remove_partial_files(run.path)
    # What was fitted to another epoch's weights must not outlive them.
    run.operating_point.unlink(missing_ok=True)
    run.validation.unlink(missing_ok=True)
    run.novelty.unlink(missing_ok=True)
    record = {
        **record,
        "input": training.net.input.to_json(),
        "synthesis": images.synthesised and images.synthesised.words,
    }
    run.update_record(
        **record,
        recipe=told(recipe(values, run.read_record() | record)),
        status="running",
        stopped_at=None,
        images=describe_counts(training.rows),
        class_weights=training.class_weights,
        precision=str(made.precision.name),
        schedule=[list(cycle) for cycle in training.cycles],
        features=images.features.reason,
        device=describe_device(training.trainer),
        versions=package_versions(),
    )
    if training.trainer.is_global_zero:
        log.info("%s: %s", data.name, describe_counts(training.rows))
        log.info("precision %s (%s)", made.precision.words, made.precision.reason)
        log.info("features are %s", images.features.reason)
        write_synthesis_sheet(run, images)
        print_network(training.net, training.config.freeze, Console(), training.trainer.max_epochs)


def _record_held_out(run: RunFolder, held_out: pa.Table | None) -> None:
    """Store the images to judge of what was left out; an earlier start may have left others."""
    run.held_out.unlink(missing_ok=True)
    if held_out is not None:
        write_table(held_out, run.held_out)


def _fit(training: Training, resume: bool) -> None:
    """Train, and keep of every process but the first nothing on disk."""
    trainer, home = training.trainer, training.home
    checkpoint = home.last if resume else None
    try:
        with explain_failures(home, trainer, training.images), recorded_time(training.run):
            trainer.fit(training.module, training.images, ckpt_path=checkpoint, weights_only=True)
    finally:
        if not trainer.is_global_zero:
            shutil.rmtree(training.run.path)


def _finish(training: Training, data: DataSet, values: Mapping[str, Any]) -> float:
    """Record the best epoch, fit the operating point on validation, and say what to do next."""
    run, config = training.run, training.config
    run.update_record(features=training.images.features.reason)  # there may have been no room
    epochs = read_epochs(run.metrics)
    rows = [row for row in epochs if row.get(config.monitor) is not None]
    if not rows:
        raise FaceproofError(
            f"{config.monitor} was undefined in every epoch, so no best epoch could be chosen; "
            f"monitor one of the metrics in {run.metrics}"
        )
    choose = min if better(config.monitor) == "min" else max
    best = choose(rows, key=lambda row: row[config.monitor])
    check_best(run.best, best["epoch"])
    value = float(best[config.monitor])
    run.update_record(
        monitor=config.monitor,
        best_epoch=best["epoch"],
        best={name: metric for name, metric in best.items() if name != "epoch"},
        epochs=len(epochs),
    )
    boards = training.made.boards
    measured = {name: metric for name, metric in best.items() if name.startswith("val/")}
    for board in boards:
        board.log_settings(values, _choices(run), measured)
    print_best(best, len(rows))
    val = training.images.looked_at(training.trainer.limit_val_batches)
    train = training.images.shown_rows
    divided = divides_weights(training.trainer)
    net = build_of_file(config.model, run.best) if divided else merge_adapters(training.net)
    verdict, warnings = store_operating_point(run, net, train, val, data.task, config, boards)
    run.update_record(status="finished")  # last: a run without a threshold is not finished
    print_end(run, verdict, warnings)
    return value
