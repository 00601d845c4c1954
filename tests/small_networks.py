"""Small detectors, and how tests save and compare weights."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from faceproof.models import Detector, ImageInput, InputConfig
from faceproof.models.backbones import face_cnn_backbone, timm_backbone
from faceproof.models.heads import LinearHead

State = dict[str, Tensor]
PLAIN = ImageInput(16, (0, 0, 0), (1, 1, 1), "bilinear")


def small(seed: int, num_outputs: int = 2, **changes: Any) -> Detector:
    torch.manual_seed(seed)
    head = partial(LinearHead, num_outputs=num_outputs)
    return Detector(face_cnn_backbone(16), head, replace(PLAIN, **changes)).eval()


def join(backbone: nn.Module, head: Callable[[int], nn.Module], **settings: Any) -> Detector:
    """Make a detector; what `settings` do not say of its input is what the backbone's own says."""
    return Detector(backbone, head, InputConfig(**settings).resolve(backbone))


def resnet(seed: int, head: Callable[[int], nn.Module] = LinearHead, **options: Any) -> Detector:
    torch.manual_seed(seed)
    return join(timm_backbone("test_resnet", **options), head, size=64).eval()


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
