"""Every setting of a training, checked before anything is built. Nothing here imports torch."""

import functools
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceproof.augment.synthesis_config import SynthesisConfig, check_input_fits
from faceproof.data.leave_out import LeaveOutConfig
from faceproof.data.listing import Source
from faceproof.data.loader_config import CacheConfig, LoaderConfig
from faceproof.data.sources import make_source
from faceproof.evaluation.metrics import better
from faceproof.evaluation.novelty import NoveltyConfig
from faceproof.evaluation.operating_point import THRESHOLD, ThresholdConfig
from faceproof.evaluation.part_metrics import is_of_parts
from faceproof.evaluation.video_point import VideoConfig
from faceproof.lookup import INITIAL_WEIGHTS, check_weights_file, find
from faceproof.settings import (
    ABOVE_ZERO,
    AMOUNT,
    COUNT,
    RATE,
    SEED,
    SHARE,
    SWITCH,
    TEXT,
    Rule,
    SettingError,
    UnknownSettingError,
    check,
    is_count,
    is_number,
    make,
    one_of,
    optional,
)
from faceproof.training.cache_checks import check_cache
from faceproof.training.freezing import FreezeSchedule
from faceproof.training.loss_config import (
    OF_FEATURES,
    BceConfig,
    check_class_weights,
    check_class_weights_fit,
    check_synthesis_fits,
    make_loss_config,
)
from faceproof.training.method_config import (
    METHODS,
    OFF,
    DistillConfig,
    LoraConfig,
    MixConfig,
    make_method,
)
from faceproof.training.optimizer_config import BY_NAME, OptimizerConfig, check_name
from faceproof.training.timm_names import check_timm_name
from faceproof.training.trainer_options import check_options

if TYPE_CHECKING:
    from faceproof.augment.transforms import Augment
    from faceproof.models.build import ModelConfig

log = logging.getLogger(__name__)

EPOCHS = Rule(is_count, "a count of epochs, from 0 on")
FACTOR = Rule(lambda value: is_number(value) and 0 <= value < 1, "a number from 0 on, below 1")
# Of settings that stand in no group's dataclass.
PLAIN = {
    "trainer": BY_NAME, "patience": optional(EPOCHS), "seed": SEED, "compile": SWITCH,
    "ema": optional(RATE), "swa": optional(RATE),
    "monitor": Rule(lambda name: isinstance(name, str), "the name of a metric, as val/loss"),
}  # fmt: skip


@dataclass(frozen=True)
class PlateauConfig:
    """Multiply the learning rate by `factor` when the monitored metric stops improving.

    Attributes:
        factor: the multiplier, below 1.
        patience: epochs without improvement that change nothing.
        min_lr: the lowest learning rate.
        monitor: a metric of validation, such as `val/loss`.
    """

    factor: float = 0.1
    patience: int = 3
    min_lr: float = 0.0
    monitor: str = "val/loss"

    def __post_init__(self) -> None:
        check(self, factor=FACTOR, patience=EPOCHS, min_lr=AMOUNT, monitor=TEXT)
        better(self.monitor)


@dataclass(frozen=True)
class CosineConfig:
    """Raise the learning rate linearly, then lower it along half a cosine, step by step.

    Attributes:
        warmup: the share of all steps in which it rises.
        floor: the last learning rate as a share of the highest.
        more_epochs: what becomes of the schedule when a run is resumed with other epochs than it
            was planned for; see `schedulers.plan_cycles`.
    """

    warmup: float = 0.1
    floor: float = 0.0
    more_epochs: str = "keep"

    def __post_init__(self) -> None:
        check(self, warmup=SHARE, floor=SHARE, more_epochs=one_of("keep", "restart", "stretch"))


@dataclass(frozen=True)
class ConstantConfig:
    """Leave the learning rate as it is."""


SCHEDULERS: dict[str, Any] = {
    "cosine": CosineConfig, "plateau": PlateauConfig, "none": ConstantConfig
}  # fmt: skip


@dataclass(frozen=True)
class CheckpointConfig:
    """When `last.ckpt` is written inside an epoch; at the end of an epoch it always is.

    Attributes:
        minutes: at most so long after the one before; None for never.
        steps: after so many optimizer steps; None for never.
    """

    minutes: float | None = 10.0
    steps: int | None = None

    def __post_init__(self) -> None:
        check(self, minutes=optional(ABOVE_ZERO), steps=optional(COUNT))


PROJECT = Rule(
    lambda value: isinstance(value, str) and bool(re.fullmatch(r"(?a)\w[\w.-]{0,99}", value)),
    "a name of letters, digits, dots, dashes and underscores",
)


@dataclass(frozen=True)
class LoggerConfig:
    """Where metrics, images, plots and reports go beside the run folder's files.

    Attributes:
        tensorboard: write TensorBoard events into the run folder.
        mlflow: log to MLflow: to MLFLOW_TRACKING_URI, else to mlflow.db in the working folder;
            needs pip install 'faceproof[mlflow]'.
        wandb: log to Weights & Biases, by the account of wandb login; WANDB_MODE=offline stores it
            in the folder wandb instead; needs pip install 'faceproof[wandb]'.
        project: the experiment of MLflow, or the project of Weights & Biases.
    """

    tensorboard: bool = False
    mlflow: bool = False
    wandb: bool = False
    project: str = "faceproof"

    def __post_init__(self) -> None:
        check(self, tensorboard=SWITCH, mlflow=SWITCH, wandb=SWITCH, project=PROJECT)


@dataclass(frozen=True)
class TrainConfig:
    """How to train what on which images.

    Attributes:
        data: the data set, not listed yet.
        model: the network and its initial weights.
        optimizer: the optimizer.
        scheduler: the learning-rate schedule.
        freeze: which parameters train from which epoch.
        adapter: what trains in the place of the backbone; None for itself.
        mix: how training images are mixed with one another; None for not at all.
        distill: who teaches; None for nobody.
        augment: the random change of training images.
        synthesis: pseudo-fakes made from the real training images.
        trainer: options of Lightning's trainer, and `precision`, which may be `auto`.
        loss: the training loss, one of `loss_config.LOSSES` or a function of one's own.
        loader: batch size and worker processes.
        cache: what is computed once.
        checkpoint: when a checkpoint is written inside an epoch.
        logger: where metrics go.
        threshold: what the threshold is for, and how probabilities are calibrated.
        video: how a verdict on a video is made of its frames.
        novelty: whether images are called unsure that are unlike the training images.
        class_weights: `none`, `balanced`, or the weights of the negative and the positive class.
        ema: keep an exponential moving average of the weights, of which at most this share stays
            in a step, such as 0.999; None for the weights themselves. Validation and `best.ckpt`
            then have the average; see `training.averaging`.
        swa: average the weights at the ends of the epochs after this share of the training, such as
            0.75, all alike; None for the weights themselves. Validation and `best.ckpt` then have
            the average; see `training.epoch_average`.
        monitor: the metric of validation by which the best epoch is chosen: of all images, or of
            the worst or mean source or generator, as `val/worst_source_roc_auc`.
        patience: epochs without improvement after which training stops; None for never.
        leave_out: sources and generators that training must not see.
        seed: of everything random.
        compile: have torch.compile compile the training steps.
    """

    data: Source
    model: "ModelConfig"
    optimizer: OptimizerConfig
    scheduler: PlateauConfig | CosineConfig | ConstantConfig
    freeze: FreezeSchedule
    augment: "Augment"
    trainer: Mapping[str, Any]
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    loss: Any = field(default_factory=BceConfig)
    adapter: LoraConfig | None = None
    mix: MixConfig | None = None
    distill: DistillConfig | None = None
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    logger: LoggerConfig = field(default_factory=lambda: LoggerConfig(tensorboard=True))
    threshold: ThresholdConfig = field(default_factory=ThresholdConfig)
    video: VideoConfig = field(default_factory=VideoConfig)
    novelty: NoveltyConfig = field(default_factory=NoveltyConfig)
    class_weights: str | tuple[float, float] = "none"
    ema: float | None = None
    swa: float | None = None
    monitor: str = "val/loss"
    patience: int | None = None
    leave_out: LeaveOutConfig = field(default_factory=LeaveOutConfig)
    seed: int = 0
    compile: bool = False

    def __post_init__(self) -> None:
        if self.cache.views is not None and not self.augment.changes:
            raise SettingError(
                "cache.views",
                f"= {self.cache.views} changes nothing: nothing is augmented, so that all views of "
                "an image are the same; leave it out, or choose an augmentation",
            )
        check_cache(self.cache, self.augment, self.synthesis, self.model.input.mode)
        check_input_fits(self.synthesis, self.model.input.mode, self.model.input.resize_to)
        check_class_weights_fit(self.loss, self.class_weights, self.loader.sampler)
        check_synthesis_fits(self.synthesis.share, self.loader.sampler, self.loss)
        if self.mix is not None and isinstance(self.loss, OF_FEATURES):
            raise SettingError(
                "mix",
                "makes each image one of two, and this loss draws the features of one class "
                "together; leave one of them out (mix=none, or loss=bce)",
            )

    @property
    def part_monitors(self) -> tuple[str, ...]:
        """The monitored metrics that are of sources or generators of validation."""
        monitors = (self.monitor, getattr(self.scheduler, "monitor", self.monitor))
        return tuple(dict.fromkeys(filter(is_of_parts, monitors)))


def make_train_config(values: Mapping[str, Any], data: Source | None = None) -> TrainConfig:
    """Return the settings of a training from the plain values of a configuration.

    They have the structure of `conf/train.yaml`, composed and resolved; `data` takes the place of
    the data set that they describe.

    Raises:
        FaceproofError: a setting is misspelt, missing, or has a value that makes no sense.
    """
    settings, made = _light_parts(values, data)

    from faceproof.augment.transforms import Augment
    from faceproof.models.build import ModelConfig

    made["augment"] = make(Augment, settings.pop("augment", {}), "augment")
    if made["augment"].strength != 1 and not made["augment"].has_range:
        log.warning(
            "augment.strength = %g changes nothing: every range, from rotation to hue, is 0",
            made["augment"].strength,
        )
    made["model"] = make(ModelConfig, settings.pop("model"), "model")
    return TrainConfig(**(settings | made))


def check_settings(values: Mapping[str, Any]) -> tuple[Source, SynthesisConfig]:
    """Refuse what `make_train_config` would, as far as that takes no torch.

    Returns:
        The data set and the pseudo-fakes, of which more can be checked.

    Raises:
        FaceproofError: as `make_train_config`.
    """
    settings, made = _light_parts(values, None)
    _check_weights(settings["model"])
    check_timm_name(settings["model"])
    check_name(made["optimizer"].name)
    return made["data"], made["synthesis"]


def _light_parts(
    values: Mapping[str, Any], data: Source | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings that are left as they are, and the parts that are made without torch."""
    known = [*TrainConfig.__dataclass_fields__, "calibration"]
    for name in values:
        if name not in known:
            raise UnknownSettingError(name, known)
    for name in ("data", "model", "optimizer", "scheduler", "freeze", "trainer"):
        if name not in values:
            raise SettingError(name, "is missing; it has no default")
    settings = dict(values)
    calibration, threshold = settings.pop("calibration", "auto"), settings.pop("threshold", {})
    if not BY_NAME.fits(threshold):
        raise SettingError("threshold", f"= {threshold!r} must be {', '.join(THRESHOLD)}, by name")
    if "calibration" in threshold:
        raise UnknownSettingError("threshold.calibration", THRESHOLD)
    threshold = {**threshold, "calibration": calibration}
    made: dict[str, Any] = {
        "data": data or _within("data", make_source, settings["data"]),
        "scheduler": _within("scheduler", _make_scheduler, settings.pop("scheduler")),
        "loss": _within("loss", make_loss_config, settings.pop("loss", {"name": "bce"})),
        "threshold": make(ThresholdConfig, threshold, "threshold"),
    }
    for name, methods in METHODS.items():
        values_of = settings.pop(name, {"name": OFF})
        made[name] = _within(name, functools.partial(make_method, known=methods), values_of)
    for name, create in (
        ("optimizer", OptimizerConfig), ("freeze", FreezeSchedule), ("loader", LoaderConfig),
        ("cache", CacheConfig), ("checkpoint", CheckpointConfig), ("logger", LoggerConfig),
        ("synthesis", SynthesisConfig), ("video", VideoConfig),
        ("leave_out", LeaveOutConfig), ("novelty", NoveltyConfig),
    ):  # fmt: skip
        made[name] = make(create, settings.pop(name, {}), name)
    weights = settings.get("class_weights")
    if isinstance(weights, list):
        settings["class_weights"] = tuple(weights)
    _check_plain(settings)
    return settings, made


def _check_plain(settings: Mapping[str, Any]) -> None:
    """Refuse values of settings that belong to no group, and options that no trainer has."""
    for name, rule in PLAIN.items():
        if name in settings and not rule.fits(settings[name]):
            raise SettingError(name, f"= {settings[name]!r} must be {rule.meaning}")
    check_options(settings["trainer"])
    if "monitor" in settings:
        better(settings["monitor"])
    _check_average(settings)
    check_class_weights(settings.get("class_weights", "none"))


def _check_average(settings: Mapping[str, Any]) -> None:
    """Refuse two averages of weights at once, and one of epochs that are not numbered."""
    share, epochs = settings.get("swa"), settings["trainer"].get("max_epochs")
    if share is None:
        return
    if settings.get("ema") is not None:
        raise SettingError("swa", "and ema both average the weights; leave one of them out")
    if not is_count(epochs, 1):
        raise SettingError(
            "swa",
            f"= {share} begins after a share of the epochs, and trainer.max_epochs = {epochs} "
            "says not how many there are; set it to a number",
        )


def _check_weights(model: Any) -> None:
    """Refuse a file of initial weights that is not there; `ModelConfig` checks all else."""
    weights = model.get("weights") if isinstance(model, Mapping) else None
    if isinstance(weights, str) and weights not in INITIAL_WEIGHTS:
        check_weights_file(Path(weights))


def _within(where: str, create: Any, values: Any) -> Any:
    try:
        return create(values)
    except SettingError as error:
        raise error.within(where) from error


def _make_scheduler(values: Any) -> Any:
    """Return the settings of a learning-rate schedule, one of `SCHEDULERS` or of one's own."""
    if not isinstance(values, Mapping) or "name" not in values:
        raise SettingError("name", f"is missing; choose one of {', '.join(SCHEDULERS)}")
    settings = {key: value for key, value in values.items() if key != "name"}
    return make(find(values["name"], SCHEDULERS, "scheduler.name"), settings)
