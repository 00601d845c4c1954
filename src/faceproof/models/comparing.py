"""Which features of a network images are compared by: those of a layer in its middle.

The last layer keeps what tells the classes apart, and strange images look there like usual ones;
layers before it still have what else an image is.
"""

import threading
from typing import Any

import torch
from torch import Tensor, nn

from faceproof.models.detector import Detector, pool_features


def stages(backbone: nn.Module) -> dict[str, int]:
    """Return the stages that a backbone of timm's names, in order, and the channels of each."""
    named = getattr(backbone, "feature_info", None)
    if not isinstance(named, list):
        return {}
    found = {str(one["module"]): int(one["num_chs"]) for one in named}
    return found if len(found) == len(named) else {}  # some name several by one name


def middle_layer(net: Detector) -> str | None:
    """Return the stage of a network's backbone by which images are compared.

    It is the last one whose maps are larger than those of the end, which have a sixteenth of the
    image's side in most; of a transformer, whose maps are all alike, the one after two thirds.
    None is for the features that the head is given, of backbones that name no stages or give no
    plain maps there. The network is put into eval mode.
    """
    names = list(stages(net.backbone))
    if not names:
        return None
    info: list[dict[str, Any]] = net.backbone.feature_info  # type: ignore[assignment]
    larger = [name for name, one in zip(names, info, strict=True)
              if one["reduction"] < info[-1]["reduction"]]  # fmt: skip
    name = larger[-1] if larger else names[max(round(len(names) * 2 / 3) - 1, 0)]
    return name if gives_features(net, name) else None


def gives_features(net: Detector, layer: str) -> bool:
    """Say whether a stage gives one map of the channels that it names, for a black image.

    The network is put into eval mode.
    """
    known = dict(net.backbone.named_modules())
    if layer not in known or layer not in stages(net.backbone):
        return False
    net.eval()
    size = net.input.size
    with torch.inference_mode():
        maps = _watch(net, torch.zeros(1, 3, size, size, device=net.input_mean.device), layer)[1]
        if len(maps) != 1 or not isinstance(maps[0], Tensor) or maps[0].ndim not in (3, 4):
            return False
        return pool_features(net, maps[0]).shape == (1, stages(net.backbone)[layer])


def features_to_compare(net: Detector, images: Tensor, layer: str | None) -> tuple[Tensor, Tensor]:
    """Return the features for the head, and those by which images are compared, (B, C) float32.

    Args:
        net: the network.
        images: (B, 3, S, S) in [0, 1].
        layer: one that `gives_features`; None for the features that the head is given.
    """
    if layer is None:
        features = net.features(images)
        return features, pool_features(net, features)
    features, maps = _watch(net, images, layer)
    return features, pool_features(net, maps[0])


def _watch(net: Detector, images: Tensor, layer: str) -> tuple[Tensor, list[Tensor]]:
    """Return the features of images, and what a layer of the backbone gives on the way.

    Other threads may use the network meanwhile: what it gives to them is not looked at.
    """
    seen: list[Tensor] = []
    thread = threading.get_ident()

    def look(_module: nn.Module, _given: Any, maps: Tensor) -> None:
        if threading.get_ident() == thread:
            seen.append(maps)

    handle = net.backbone.get_submodule(layer).register_forward_hook(look)
    try:
        features = net.features(images)
    finally:
        handle.remove()
    return features, seen
