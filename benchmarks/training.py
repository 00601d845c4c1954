"""Training: faceproof against the notebook loop and the expert loop, from files on disk."""

import functools
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from pytorch_lightning import Callback, Trainer
from torch.nn import functional as F
from torch.utils.data import DataLoader

from benchmarks import baselines
from benchmarks.measuring import (
    WARM_UP,
    Images,
    apart,
    images_per_second,
    in_turns,
    medians,
    ratio,
    read_images,
)
from faceproof import app
from faceproof.augment.transforms import Augment
from faceproof.data.datasets import ImageDataset
from faceproof.data.loader_config import CacheConfig, LoaderConfig
from faceproof.data.loaders import make_loader
from faceproof.data.samplers import EpochSampler
from faceproof.models.build import build_network
from faceproof.models.detector import Detector
from faceproof.performance.cores import num_cores
from faceproof.performance.depthwise import quicken_depthwise
from faceproof.performance.memory import reuse_memory
from faceproof.training.callbacks import BoardImages, ImageRate, ProgressBar
from faceproof.training.config import ConstantConfig, TrainConfig, make_train_config
from faceproof.training.datamodule import ImageDataModule
from faceproof.training.loggers import EpochTable, TensorBoard
from faceproof.training.module import DetectorModule
from faceproof.training.optimizers import make_optimizer
from faceproof.training.precision import choose_precision
from faceproof.training.schedulers import make_scheduler
from faceproof.training.trainer import make_trainer

BATCH_SIZE = 32
TRIAL = 3.0  # seconds of each kind of numbers, by which the expert chooses


def compose_model(name: str, *words: str) -> TrainConfig:
    """Compose the settings of a training for a model."""
    settings = [f"model={name}", "model.weights=none", "optimizer=adam", *words]
    with initialize_config_dir(str(app.config_root() / "conf"), version_base="1.3"):
        return make_train_config(app.training_values(compose("train", settings)))


def make_net(config: TrainConfig) -> Detector:
    """Make a model's network with random weights."""
    torch.manual_seed(0)
    return build_network(config.model)


class Deadline(Callback):
    """Ends training after some seconds, and measures the rate from the first batches on."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.images, self.began, self.ended = seconds, 0, 0.0, 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a batch."""
        self.ended = time.perf_counter()
        if trainer.global_step == WARM_UP:
            self.began, self.images = self.ended, 0
        elif trainer.global_step > WARM_UP:
            self.images += len(batch.label)
            trainer.should_stop = self.ended - self.began >= self.seconds

    @property
    def rate(self) -> float:
        """Return images per second."""
        return self.images / (self.ended - self.began)


class BareModule(DetectorModule):
    """faceproof's module without its figures: what they cost is the difference."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """Return the mean loss of a batch, and keep nothing."""
        return F.binary_cross_entropy_with_logits(self.score(batch), batch.label.float())

    def on_train_epoch_end(self) -> None:
        """Log nothing."""


@dataclass(frozen=True)
class Setting:
    """How faceproof is measured: where, compiled or not, what it keeps, and with which words."""

    device: str = "cpu"
    compiled: bool = False
    cache: str = "none"
    words: Sequence[str] = ()  # of the command line, on augmentation; nothing is changed without


def faceproof_rate(
    config: TrainConfig, net: Detector, images: Images, seconds: float, how: Setting, bare: bool
) -> float:
    """Train by faceproof's own module and data module; with metrics, loggers and bar, or bare."""
    reuse_memory()
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere:
        clock = Deadline(seconds)
        bar = ProgressBar(file=nowhere, force_terminal=True)
        around = [ImageRate(), BoardImages(images.data.task), bar]
        options = {
            **config.trainer,
            "enable_checkpointing": False,
            "max_epochs": 10_000,  # the deadline ends it
            "limit_val_batches": 0,
        }
        trainer, _ = make_trainer(
            options,
            logger=False
            if bare
            else [EpochTable(Path(folder) / "metrics.csv"), TensorBoard(Path(folder))],
            callbacks=[clock, *([] if bare else around)],
            default_root_dir=folder,
            enable_progress_bar=not bare,
        )
        quicken_depthwise(net)  # as fit does
        module = (BareModule if bare else DetectorModule)(
            net.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
            functools.partial(make_optimizer, config.optimizer),
            functools.partial(make_scheduler, ConstantConfig()),
            compiled=how.compiled,
        )
        data = ImageDataModule(
            images.data.table, images.data.task, net.input,
            config.augment if how.words else Augment(), LoaderConfig(BATCH_SIZE),
            cache=CacheConfig(images=how.cache), synthesis=config.synthesis,
        )  # fmt: skip
        trainer.fit(module, data)
        return clock.rate


WAYS = ("notebook", "expert", "faceproof", "bare", "arithmetic")


def rate(way: str, model: str, data: str, seconds: float, given: dict[str, Any]) -> float:
    """Return the images per second of one way to train."""
    how = Setting(**given)
    images = read_images(data)
    trainer = f"trainer={'cpu' if how.device == 'cpu' else 'gpu'}"
    config = compose_model(model, trainer, *how.words)
    net = make_net(config)
    side = net.input.size
    given_all = images.paths, images.labels, side, BATCH_SIZE
    if way in ("faceproof", "bare"):
        return faceproof_rate(config, net, images, seconds, how, way == "bare")
    if way == "notebook":
        loop = baselines.notebook_training(net, *given_all, how.device)
        return images_per_second(loop, seconds)
    bf16 = gains_by_bf16(model, how.device)
    if way == "expert":
        workers = baselines.num_workers(len(images.paths), BATCH_SIZE)
        in_memory = how.cache == "memory"
        loop = baselines.expert_training(net, *given_all, workers, bf16, how.device, in_memory)
    else:
        loop = baselines.arithmetic(net, side, BATCH_SIZE, bf16, how.device)
    return images_per_second(loop, seconds)


def gains_by_bf16(model: str, device: str) -> bool:
    """Say whether torch's own bfloat16 trains a model faster than float32 on this machine."""
    if choose_precision(on_gpu=device != "cpu").name != "bf16-mixed":
        return False
    net = make_net(compose_model(model))
    rates = [
        images_per_second(
            baselines.arithmetic(net, net.input.size, BATCH_SIZE, bf16, device), TRIAL
        )
        for bf16 in (False, True)
    ]
    return rates[1] > rates[0]


def measure_training(
    data: str, models: list[str], seconds: float, rounds: int, how: Setting
) -> list[dict[str, Any]]:
    """Return a row a model: images per second of each loop, and the ratios."""
    rows = []
    for model in models:
        ways = {
            way: partial(
                apart,
                "benchmarks.training:rate",
                way,
                model,
                data,
                seconds,
                asdict(how),
                as_commands=way in ("faceproof", "bare"),
            )
            for way in WAYS
        }
        found = in_turns(ways, rounds)
        rows.append(
            {
                "model": model,
                "side": make_net(compose_model(model)).input.size,
                "precision": str(choose_precision(on_gpu=how.device != "cpu").name),
                **medians(found),
                **{f"faceproof / {way}": ratio(found, "faceproof", way) for way in WAYS
                   if way != "faceproof"},
            }
        )  # fmt: skip
    return rows


NUMBERS = ("float32", "bfloat16, torch's own", "bfloat16")


def rate_in(numbers: str, model: str, seconds: float) -> float:
    """Return the images per second of training in some kind of numbers, in memory."""
    reuse_memory()
    net = make_net(compose_model(model))
    if numbers == "bfloat16":
        quicken_depthwise(net)
    loop = baselines.arithmetic(net, net.input.size, BATCH_SIZE, numbers != "float32")
    return images_per_second(loop, seconds)


def measure_precision(models: list[str], seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Return a row a model: what bfloat16 gains in training, as torch and as faceproof have it."""
    rows = []
    for model in models:
        found = in_turns(
            {
                numbers: partial(apart, "benchmarks.training:rate_in", numbers, model, seconds)
                for numbers in NUMBERS
            },
            rounds,
        )
        rows.append(
            {
                "model": model,
                "side": make_net(compose_model(model)).input.size,
                **medians(found),
                **{f"{name} / float32": ratio(found, name, "float32") for name in NUMBERS[1:]},
            }
        )
    return rows


def measure_overhead(
    data: str, models: list[str], seconds: float, rounds: int
) -> list[dict[str, Any]]:
    """Return a row a model: what metrics, logging and the progress bar add to a step.

    They are timed around a network that computes next to nothing, where they show, and held
    against the steps of the real ones.
    """
    ways = {
        way: partial(apart, "benchmarks.training:rate_around_nothing", way, data, seconds)
        for way in ("faceproof", "bare")
    }
    found = in_turns(ways, rounds)
    each = [
        BATCH_SIZE / full - BATCH_SIZE / bare
        for full, bare in zip(found["faceproof"], found["bare"], strict=True)
    ]
    added = statistics.median(each)
    rows = []
    for model in models:
        step = BATCH_SIZE / apart("benchmarks.training:rate_in", "bfloat16", model, seconds)
        rows.append(
            {"model": model, "step, ms": 1000 * step, "metrics, logging and bar, ms": 1000 * added,
             "share, %": 100 * added / step}
        )  # fmt: skip
    return rows


def rate_around_nothing(way: str, data: str, seconds: float) -> float:
    """Return the images per second of a network that computes next to nothing."""
    torch.set_num_threads(1)  # what is measured is not divided among them
    config = compose_model("face_cnn", "model.input.size=4", "trainer=cpu")
    how = Setting(cache="memory")
    net, images = make_net(config), read_images(data)
    return faceproof_rate(config, net, images, seconds, how, way == "bare")


def measure_loading(
    images: Images, model: str, seconds: float, rounds: int
) -> list[dict[str, Any]]:
    """Return what the loader reaches of what the decoder alone can do with as many cores.

    A row for a CPU's loader, which decodes by all cores in turns with the arithmetic, and one for
    worker processes, as they serve a GPU.
    """
    processes = baselines.num_workers(len(images.paths), BATCH_SIZE)
    return [_measure_loading(images, model, workers, seconds, rounds) for workers in (0, processes)]


def _measure_loading(
    images: Images, model: str, workers: int, seconds: float, rounds: int
) -> dict[str, Any]:
    """Return the row of so many worker processes."""
    how = make_net(compose_model(model)).input
    cores = workers or num_cores()

    def ours() -> float:
        reuse_memory()  # as training and scoring do
        dataset = ImageDataset(images.rows, images.data.task, how.size, how.interpolation)
        loader = make_loader(dataset, BATCH_SIZE, workers, EpochSampler(len(dataset), 0))
        return images_per_second((len(b.label) for _ in iter(int, 1) for b in loader), seconds)

    def expert() -> float:
        return images_per_second((len(labels) for _, labels in again()), seconds)

    def decoder() -> float:
        return images_per_second(again(collate_fn=len), seconds)  # nothing is handed over

    def again(**options: Any) -> Iterator[Any]:
        dataset = baselines.ExpertImages(images.paths, images.labels, how.size)
        loader: DataLoader[Any] = DataLoader(
            dataset, BATCH_SIZE, shuffle=True, num_workers=cores, persistent_workers=True, **options
        )
        while True:
            yield from loader

    ways = {"faceproof": ours, "expert": expert, "decoder": decoder}
    found = in_turns(ways, rounds)
    return {"model": model, "side": how.size, "processes": workers,
            "cores": cores, **medians(found),
            "faceproof / decoder": ratio(found, "faceproof", "decoder"),
            "faceproof / expert": ratio(found, "faceproof", "expert")}  # fmt: skip
