"""What a run's record says of the machine and of the packages that it was trained with."""

import platform
from importlib.metadata import version

import pytorch_lightning as pl
import timm
import torch
import torchvision

from faceproof import __version__


def describe_device(trainer: pl.Trainer) -> str:
    """Return how many devices of which kind train, and their name."""
    kind = type(trainer.accelerator).__name__.removesuffix("Accelerator")
    name = torch.cuda.get_device_name() if kind == "CUDA" else platform.machine()
    return f"{trainer.world_size} x {kind} ({name})"


def package_versions() -> dict[str, str]:
    """Return the versions of what decides a training."""
    return {
        "faceproof": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
        "pytorch-lightning": version("pytorch-lightning"),
    }
