"""Training: faceproof against the notebook loop and the expert loop, from files on disk."""

import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer
from torch.utils.data import DataLoader

from benchmarks import baselines
from benchmarks.measuring import (
    WARM_UP,
    Pictures,
    apart,
    in_turns,
    pictures_per_second,
    ratio,
    read_pictures,
)
from faceproof import app
from faceproof.data.augment import Augment
from faceproof.data.loading import choose_workers
from faceproof.memory import reuse_memory
from faceproof.models.detector import Detector
from faceproof.training.callbacks import BoardPictures, PictureRate
from faceproof.training.datamodule import PictureDataModule
from faceproof.training.keeping import CacheSettings
from faceproof.training.loggers import Board, EpochTable
from faceproof.training.module import DetectorModule
from faceproof.training.optimizers import Constant
from faceproof.training.precision import choose_precision

BATCH_SIZE = 32


def compose_model(name: str, *words: str) -> DictConfig:
    """Compose a training configuration for a model."""
    with initialize_config_dir(str(Path(app.repository()) / "conf"), version_base="1.3"):
        return compose("train", [f"model={name}", "model.weights=none", "optimizer=adam", *words])


def make_net(config: DictConfig) -> Detector:
    """Make a model's network with random weights."""
    torch.manual_seed(0)
    return app.build_network(config.model, initial=True)[0]


class Deadline(Callback):
    """Ends training after some seconds, and measures the rate from the first batches on."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.pictures, self.began, self.ended = seconds, 0, 0.0, 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count a batch."""
        self.ended = time.perf_counter()
        if trainer.global_step == WARM_UP:
            self.began, self.pictures = self.ended, 0
        elif trainer.global_step > WARM_UP:
            self.pictures += len(batch.label)
            trainer.should_stop = self.ended - self.began >= self.seconds

    @property
    def rate(self) -> float:
        """Return pictures per second."""
        return self.pictures / (self.ended - self.began)


def faceproof_rate(
    config: DictConfig, net: Detector, pictures: Pictures, seconds: float, cache: CacheSettings
) -> float:
    """Train by faceproof's own module, data module, metrics and loggers."""
    reuse_memory()
    with tempfile.TemporaryDirectory() as folder:
        clock = Deadline(seconds)
        trainer, _ = app.build(config.trainer)(
            net=net,
            logger=[EpochTable(Path(folder) / "metrics.csv"), Board(Path(folder))],
            callbacks=[clock, PictureRate(), BoardPictures(pictures.data.task)],
            default_root_dir=folder,
            enable_progress_bar=False,
            enable_checkpointing=False,
            max_epochs=10_000,  # the deadline ends it
            limit_val_batches=0,
        )
        module = DetectorModule(
            net.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
            app.build(config.optimizer),
            Constant(),
        )
        data = PictureDataModule(
            pictures.data.table, pictures.data.task, net.input, Augment(), BATCH_SIZE, cache=cache
        )
        trainer.fit(module, data)
        return clock.rate


WAYS = ("notebook", "expert", "faceproof", "arithmetic")


def rate(way: str, model: str, data: str, seconds: float, cache: str) -> float:
    """Return the pictures per second of one way to train."""
    pictures, config = read_pictures(data), compose_model(model)
    net = make_net(config)
    side = net.input.size
    bf16 = choose_precision(net, side, on_gpu=False).name == "bf16-mixed"
    given = pictures.paths, pictures.labels, side, BATCH_SIZE
    if way == "faceproof":
        return faceproof_rate(config, net, pictures, seconds, CacheSettings(pictures=cache))
    if way == "notebook":
        return pictures_per_second(baselines.notebook_training(net, *given), seconds)
    if way == "expert":
        workers = choose_workers("auto", len(pictures.paths), BATCH_SIZE)
        loop = baselines.expert_training(net, *given, workers, bf16)
        return pictures_per_second(loop, seconds)
    return pictures_per_second(baselines.arithmetic(net, side, BATCH_SIZE, bf16), seconds)


def measure_training(
    data: str, models: list[str], seconds: float, rounds: int, cache: str = "none"
) -> list[dict[str, Any]]:
    """Return a row a model: pictures per second of each loop, and the ratios."""
    rows = []
    for model in models:
        ways = {
            way: partial(apart, "benchmarks.training:rate", way, model, data, seconds, cache)
            for way in WAYS
        }
        found = in_turns(ways, rounds)
        net = make_net(compose_model(model))
        rows.append(
            {
                "model": model,
                "side": net.input.size,
                "precision": str(choose_precision(net, net.input.size, on_gpu=False).name),
                **{name: max(rates) for name, rates in found.items()},
                "faceproof / notebook": ratio(found, "faceproof", "notebook"),
                "faceproof / expert": ratio(found, "faceproof", "expert"),
                "faceproof / arithmetic": ratio(found, "faceproof", "arithmetic"),
            }
        )
    return rows


def measure_precision(models: list[str], seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Return a row a model: what bfloat16 gains in training, and what `auto` chooses."""
    rows = []
    for model in models:
        config = compose_model(model)
        side = make_net(config).input.size
        found = in_turns(
            {
                name: lambda bf16=bf16, config=config, side=side: pictures_per_second(  # type: ignore[misc]
                    baselines.arithmetic(make_net(config), side, BATCH_SIZE, bf16), seconds
                )
                for name, bf16 in (("float32", False), ("bfloat16", True))
            },
            rounds,
        )
        chosen = choose_precision(make_net(config), side, on_gpu=False)
        rates = {name: max(values) for name, values in found.items()}
        gain = ratio(found, "bfloat16", "float32")
        rows.append({"model": model, "side": side, **rates, "bfloat16 / float32": gain,
                     "auto": f"{chosen.name}: {chosen.reason}"})  # fmt: skip
    return rows


def measure_loading(pictures: Pictures, model: str, seconds: float, rounds: int) -> dict[str, Any]:
    """Return what the loader reaches of what the decoder alone can do with as many processes."""
    from faceproof.data.loading import EpochSampler, PictureDataset, make_loader

    config = compose_model(model)
    how = make_net(config).input
    workers = choose_workers("auto", len(pictures.paths), BATCH_SIZE)

    def ours() -> float:
        dataset = PictureDataset(pictures.rows, pictures.data.task, how.size, how.interpolation)
        loader = make_loader(dataset, BATCH_SIZE, workers, EpochSampler(len(dataset), 0))
        return pictures_per_second((len(b.label) for _ in iter(int, 1) for b in loader), seconds)

    def decoder() -> float:
        dataset = baselines.ExpertPictures(pictures.paths, pictures.labels, how.size)
        loader: DataLoader[Any] = DataLoader(
            dataset, BATCH_SIZE, shuffle=True, num_workers=workers, persistent_workers=True,
            collate_fn=len,
        )  # fmt: skip
        return pictures_per_second((batch for _ in iter(int, 1) for batch in loader), seconds)

    found = in_turns({"faceproof": ours, "decoder": decoder}, rounds)
    return {"side": how.size, "workers": workers, **{n: max(v) for n, v in found.items()},
            "faceproof / decoder": ratio(found, "faceproof", "decoder")}  # fmt: skip
