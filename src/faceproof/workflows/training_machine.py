"""What a training ran on, for its record: the device, and the versions of what computed."""

import platform
from importlib.metadata import version

import pytorch_lightning as pl
import timm
import torch
import torchvision

from faceproof import __version__


def device_of(trainer: pl.Trainer) -> str:
    """Return how many devices of which kind train."""
    kind = type(trainer.accelerator).__name__.removesuffix("Accelerator")
    name = torch.cuda.get_device_name() if kind == "CUDA" else platform.machine()
    return f"{trainer.world_size} x {kind} ({name})"


def versions() -> dict[str, str]:
    """Return the versions of faceproof, Python and the libraries that decide the numbers."""
    return {
        "faceproof": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
        "pytorch-lightning": version("pytorch-lightning"),
    }
