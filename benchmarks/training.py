"""Training: faceproof against the notebook loop and the expert loop, from files on disk."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer
from torch.utils.data import DataLoader

from benchmarks import baselines
from benchmarks.measuring import WARM_UP, Pictures, in_turns, pictures_per_second, ratio
from faceproof import app
from faceproof.data.augment import Augment
from faceproof.data.loading import choose_workers
from faceproof.models.detector import Detector
from faceproof.training.callbacks import BoardPictures, PictureRate
from faceproof.training.datamodule import PictureDataModule
from faceproof.training.keeping import CacheSettings
from faceproof.training.loggers import Board, EpochTable
from faceproof.training.module import DetectorModule
from faceproof.training.precision import choose_precision

BATCH_SIZE = 32
MODELS = ("effnet_se", "resnet18", "densenet121", "face_cnn")
ADVICE = r"ignore:.*(many workers|logging interval|treespec|Checkpoint directory)"


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
    with tempfile.TemporaryDirectory() as folder:
        clock = Deadline(seconds)
        trainer, _ = app.build(config.trainer)(
            net=net,
            logger=[EpochTable(Path(folder) / "metrics.csv"), Board(Path(folder))],
            callbacks=[clock, PictureRate(), BoardPictures(pictures.data.task)],
            default_root_dir=folder,
            enable_progress_bar=False,
            enable_checkpointing=False,
            max_epochs=-1,
            limit_val_batches=0,
        )
        module = DetectorModule(
            net.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
            app.build(config.optimizer),
            app.build(config.scheduler) if trainer.max_epochs != -1 else _constant,
        )
        data = PictureDataModule(
            pictures.data.table, pictures.data.task, net.input, Augment(), BATCH_SIZE, cache=cache
        )
        trainer.fit(module, data)
        return clock.rate


def _constant(optimizer: torch.optim.Optimizer, steps: int) -> Any:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)


def measure_training(
    pictures: Pictures, models: list[str], seconds: float, rounds: int, cache: str = "none"
) -> list[dict[str, Any]]:
    """Return a row a model: pictures per second of each loop, and the ratios."""
    return [_measure(pictures, model, seconds, rounds, cache) for model in models]


def _measure(
    pictures: Pictures, model: str, seconds: float, rounds: int, cache: str
) -> dict[str, Any]:
    config = compose_model(model)
    side = make_net(config).input.size
    precision = choose_precision(make_net(config), side, on_gpu=False)
    bf16 = precision.name == "bf16-mixed"
    workers = choose_workers("auto", len(pictures.paths), BATCH_SIZE)
    given = pictures.paths, pictures.labels, side, BATCH_SIZE
    contenders: dict[str, Callable[[], float]] = {
        "notebook": lambda: pictures_per_second(
            baselines.notebook_training(make_net(config), *given), seconds
        ),
        "expert": lambda: pictures_per_second(
            baselines.expert_training(make_net(config), *given, workers, bf16), seconds
        ),
        "faceproof": lambda: faceproof_rate(
            config, make_net(config), pictures, seconds, CacheSettings(pictures=cache)
        ),
        "arithmetic": lambda: pictures_per_second(
            baselines.arithmetic(make_net(config), side, BATCH_SIZE, bf16), seconds
        ),
    }
    found = in_turns(contenders, rounds)
    return {
        "model": model,
        "side": side,
        "precision": str(precision.name),
        **{name: max(rates) for name, rates in found.items()},
        "faceproof / notebook": ratio(found, "faceproof", "notebook"),
        "faceproof / expert": ratio(found, "faceproof", "expert"),
        "faceproof / arithmetic": ratio(found, "faceproof", "arithmetic"),
    }


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
