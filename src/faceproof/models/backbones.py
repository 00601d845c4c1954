"""Backbones: from images to features. All of timm's, and the small ones of systems A and G.

Each is a function that takes the backbone's settings and returns a module with `num_features`.
"""

import copy
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import timm
import torch
from torch import Tensor, nn

from faceproof.errors import FaceproofError

# Arguments by which timm would fetch weights or read a file.
REACHING_OUT = ("pretrained", "checkpoint_path", "cache_dir")


def timm_backbone(
    model: str, pooled: bool = True, size: int | None = None, **options: Any
) -> nn.Module:
    """Build a timm model without its classifier and without weights; it has `timm_options`.

    Args:
        model: timm's name, with or without the tag of its weights: `resnet18.tv_in1k`.
        pooled: return (B, C) rather than the feature map (B, C, h, w).
        size: the side of the input in pixels, for backbones that are made for one size (most
            transformers); None for the size of their weights.
        options: what else timm's `create_model` takes, such as `drop_path_rate`.

    Raises:
        FaceproofError: timm has no model of that name, or no weights of that tag.
    """
    if reaching := [key for key in options if key.startswith(REACHING_OUT)]:
        raise FaceproofError(
            f"model.backbone may not set {reaching[0]}, by which timm fetches or reads weights; "
            "name them by model.weights"
        )
    architecture = model.split(".")[0]
    if not timm.is_model(architecture):
        similar = get_close_matches(architecture, timm.list_models(), n=5)
        hint = f"; names like it: {', '.join(similar)}" if similar else ""
        raise FaceproofError(f"timm has no model {model!r}{hint} (timm.list_models() has them all)")
    try:
        own = timm.get_pretrained_cfg(model)
    except RuntimeError as error:
        known = ", ".join(timm.list_pretrained(f"{architecture}.*"))
        raise FaceproofError(f"timm has no weights {model!r}; it has {known}") from error
    if not pooled:
        options["global_pool"] = ""
    if size is not None and own is not None and own.fixed_input_size:
        options["img_size"] = size
    backbone: nn.Module = timm.create_model(model, num_classes=0, **options)
    backbone.timm_options = options  # type: ignore[assignment]
    return backbone


class SmallBackbone(nn.Module):
    """A plain stack of layers that ends flat; its blocks end with each pooling.

    The side of the input, `size` pixels, decides the number of features.
    """

    def __init__(self, layers: list[nn.Module], size: int) -> None:
        super().__init__()
        blocks: list[list[nn.Module]] = [[]]
        for layer in layers:
            blocks[-1].append(layer)
            if isinstance(layer, nn.MaxPool2d):
                blocks.append([])
        self.blocks = nn.Sequential(*(nn.Sequential(*block) for block in blocks if block))
        # The same layers without memory, of which a large image would take gigabytes.
        shape = copy.deepcopy(self.blocks).to("meta")(torch.zeros(1, 3, size, size, device="meta"))
        self.num_features = shape.flatten(1).shape[1]

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, C) of (B, 3, S, S)."""
        features: Tensor = self.blocks(images)
        return features.flatten(1)

    def group_matcher(self, coarse: bool = False) -> dict[str, str]:
        """Name the blocks by pattern, as timm's models do."""
        return {"blocks": r"^blocks\.(\d+)"}


def face_cnn_backbone(size: int = 48) -> SmallBackbone:
    """System A: two blocks of two padded 3x3 convolutions, 32 and 64 wide; 9,216 features at 48.

    Args:
        size: the side of the input in pixels.
    """
    return SmallBackbone(
        [
            *(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        ],
        size,
    )


def cnn3_backbone(size: int = 150) -> SmallBackbone:
    """System G: three 3x3 convolutions, 32, 64 and 128 wide, unpadded; 36,992 features at 150.

    Args:
        size: the side of the input in pixels.
    """
    return SmallBackbone(
        [
            *(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(64, 128, 3), nn.ReLU(), nn.MaxPool2d(2)),
        ],
        size,
    )


BACKBONES: Mapping[str, Callable[..., nn.Module]] = {
    "timm": timm_backbone,
    "face_cnn": face_cnn_backbone,
    "cnn3": cnn3_backbone,
}
