"""Small detectors, and how tests save and compare weights."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from faceproof.models import Detector, make_detector
from faceproof.models.backbones import face_cnn_backbone, timm_backbone
from faceproof.models.heads import LinearHead

State = dict[str, Tensor]
PLAIN = {"size": 16, "mean": (0, 0, 0), "std": (1, 1, 1), "interpolation": "bilinear"}


def small(seed: int, num_outputs: int = 2, **changes: Any) -> Detector:
    torch.manual_seed(seed)
    head = partial(LinearHead, num_outputs=num_outputs)
    return make_detector(face_cnn_backbone(16), head, PLAIN | changes).eval()


def resnet(seed: int, head: Callable[[int], nn.Module] = LinearHead, **options: Any) -> Detector:
    torch.manual_seed(seed)
    return make_detector(timm_backbone("test_resnet", **options), head, {"size": 64}).eval()


def of_timm(num_classes: int, name: str = "test_resnet") -> State:
    torch.manual_seed(9)
    return timm.create_model(name, num_classes=num_classes).state_dict()


def save(state: Any, path: Path) -> Path:
    safetensors.torch.save_file(state, path) if path.suffix == ".safetensors" else torch.save(
        state, path
    )
    return path


def same(first: nn.Module, second: nn.Module | State) -> bool:
    ours = first.state_dict()
    theirs = second.state_dict() if isinstance(second, nn.Module) else second
    return all(torch.equal(ours[key], theirs[key]) for key in ours)
