"""Attribution maps of what in an image speaks for an answer: three methods behind one function.

A map is signed. Its positive values speak for the task's positive class (fake, or face), as a
positive logit does; `toward_called` turns it toward the class that was called.

| method               | what a value of the map is                                              |
|----------------------|-------------------------------------------------------------------------|
| cam                  | gradient times activation of the last feature map, summed over channels |
| occlusion            | what the logit loses when a window is removed, mean over the windows    |
| integrated_gradients | the share of the logit's change from the removed image to this one    |

`cam` is HiResCAM (Draelos and Carin 2020). Where the head averages the feature map first, it equals
Grad-CAM (Selvaraju et al. 2017) up to a factor. Where the head is a layer on the flat map, as in
cnn3, it is exact, while Grad-CAM would move evidence to other places.
Occlusion: Zeiler and Fergus 2014. Integrated gradients: Sundararajan et al. 2017. All by captum.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerGradientXActivation, Occlusion
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as F

from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import ScoreError
from faceproof.explain.config import FINE, METHODS, REMOVALS, Grain, Removal, check_choice
from faceproof.models.detector import Detector, has_channels_last

Maps = NDArray[np.float32]

BLUR = 1 / 8  # standard deviation, as a share of the side, so that no feature is left
OVERLAP = 0.6  # of two windows of occlusion, as a share of the stride
BATCH = 8  # images at a time, which bounds the memory
PER_PASS = 32  # changed copies of images in one pass through the network


def attribute(
    net: Detector,
    images: Tensor,
    method: str,
    layer: str | None = None,
    removal: Removal = "blur",
    grain: Grain = FINE,
) -> Maps:
    """Return a map for each image, (B, S, S); positive values speak for the positive class.

    Args:
        net: the network; it is put into eval mode.
        images: (B, 3, S, S) float in [0, 1].
        method: one of `METHODS`.
        layer: for `cam`, the module whose output is the feature map; None for the last one.
        removal: what a removed pixel becomes; see `removed`.
        grain: how fine the maps of occlusion and integrated gradients are.

    Raises:
        FaceproofError: there is no such method or layer, or its output is no feature map.
    """
    check_choice(method, METHODS)
    net.eval()
    place = net.input_mean.device
    explain = _METHODS[method]
    if method == "cam":
        _refuse_other_places(net, layer)
    chosen = (layer or find_layer(net)) if method == "cam" else ""
    maps = [
        explain(net, images[start : start + BATCH].to(place), chosen, removal, grain)
        for start in range(0, len(images), BATCH)
    ]
    if not maps:
        return np.zeros((0, *images.shape[-2:]), np.float32)
    return np.asarray(torch.cat([part.detach().float().cpu() for part in maps]).numpy())


def check_maps(maps: Maps) -> Maps:
    """Return maps, (B, S, S), if every value of them is finite.

    Raises:
        ScoreError: one is not, so that nothing can be read from its map.
    """
    if not np.isfinite(maps).all():
        raise ScoreError(
            "the detector gives a map that is not finite; it is damaged, or computes beyond the "
            "range of its numbers: use another"
        )
    return maps


def toward_called(maps: Maps, called_positive: NDArray[np.bool_]) -> Maps:
    """Turn maps (B, S, S) so that positive values speak for the class that was called, (B,)."""
    signs = np.where(called_positive, 1, -1).astype(np.float32)
    return maps * signs[:, None, None]


def removed(images: Tensor, removal: Removal) -> Tensor:
    """Return images (B, 3, S, S) from which everything that a detector could use is removed.

    They are blurred by a Gaussian of an eighth of the side (`blur`), or become their own mean
    colour (`mean`).

    Raises:
        FaceproofError: there is no such removal.
    """
    check_choice(removal, REMOVALS)
    if removal == "mean":
        return images.mean((2, 3), keepdim=True).expand_as(images).contiguous()
    deviation = BLUR * images.shape[-1]
    size = 2 * math.ceil(2.5 * deviation) + 1
    blurred: Tensor = F.gaussian_blur(images, [size, size], [deviation, deviation])
    return blurred


def _cam(net: Detector, images: Tensor, layer: str, removal: Removal, grain: Grain) -> Tensor:
    explainer = LayerGradientXActivation(net, _module(net, layer))
    product = explainer.attribute(images.clone().requires_grad_())
    if not isinstance(product, Tensor):
        raise FaceproofError(f"layer {layer} gives several tensors; name one that gives one")
    coarse = _as_map(net, layer, product.detach())[:, None]
    return nn.functional.interpolate(coarse, images.shape[-2:], mode="bilinear")[:, 0]


def _occlusion(net: Detector, images: Tensor, layer: str, removal: Removal, grain: Grain) -> Tensor:
    side, steps = images.shape[-1], grain.num_windows - 1
    stride = max(1, round(side / (grain.num_windows + OVERLAP)))
    window = max(1, side - steps * stride)
    with torch.no_grad():
        maps: Tensor = Occlusion(net).attribute(
            images,
            sliding_window_shapes=(3, window, window),
            strides=(3, stride, stride),
            baselines=removed(images, removal),
            perturbations_per_eval=max(1, PER_PASS // len(images)),
        )
    return maps[:, 0]  # a window covers all three channels, so their maps are equal


def _integrated_gradients(
    net: Detector, images: Tensor, layer: str, removal: Removal, grain: Grain
) -> Tensor:
    shares: Tensor = IntegratedGradients(net).attribute(
        images.clone().requires_grad_(),
        baselines=removed(images, removal),
        n_steps=grain.num_steps,
        internal_batch_size=PER_PASS,
    )
    return shares.sum(1)


_METHODS: dict[str, Callable[[Detector, Tensor, str, Removal, Grain], Tensor]] = {
    "cam": _cam,
    "occlusion": _occlusion,
    "integrated_gradients": _integrated_gradients,
}


def find_layer(net: Detector) -> str:
    """Return the name of the module whose output is the backbone's last feature map.

    Of a convolutional backbone it is the last output (B, C, h, w) before it is averaged or
    flattened; of a transformer the input of the last block's attention, because after it only the
    class token counts.

    Raises:
        FaceproofError: the backbone has no such output, it sees no places of the image, or it is
            one of two.
    """
    _refuse_other_places(net, None)
    outputs = _outputs(net)
    blocks = getattr(net.backbone, "blocks", None)
    if blocks is not None and len(blocks):
        last = f"backbone.blocks.{len(blocks) - 1}.norm1"
        if any(name == last and output.ndim == 3 for name, output in outputs):
            return last
    maps = [
        (name, output)
        for name, output in outputs
        if output.ndim == 3 or (output.ndim == 4 and min(_spatial(net, output)) > 1)
    ]
    if not maps or maps[-1][1].ndim != 4:
        shapes = "; ".join(f"{name} {tuple(output.shape)}" for name, output in outputs[-4:])
        raise FaceproofError(
            f"no last feature map was found in this backbone; its last outputs are {shapes}; name "
            "the module by --layer, or choose another method than cam"
        )
    return min((name for name, output in maps if output is maps[-1][1]), key=len)


def _refuse_other_places(net: Detector, layer: str | None) -> None:
    """Refuse feature maps whose places are not the image's, and to choose between two backbones."""
    if net.branch is None:
        return
    inside = net.second_backbone is None or (layer or "").startswith("branch.")
    if inside and not net.branch.keeps_places:
        raise FaceproofError(
            "the feature map is of the image's frequencies and not of its places; choose "
            "occlusion or integrated_gradients"
        )
    if net.second_backbone is not None and layer is None:
        raise FaceproofError(
            "this network has two backbones, and a map of one would leave out what the other saw; "
            "choose occlusion or integrated_gradients, or name the module by --layer, in backbone "
            "or in branch.backbone"
        )


def _outputs(net: Detector) -> list[tuple[str, Tensor]]:
    """Return the outputs of the backbone's modules for one grey image, in the order they finish."""
    found: list[tuple[str, Tensor]] = []

    def record(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and len(output) == 1:
            found.append((name, output))

    backbone = [(name, part) for name, part in net.named_modules() if name.startswith("backbone")]
    hooks = [part.register_forward_hook(partial(record, name)) for name, part in backbone]
    size = net.input.size
    try:
        with torch.no_grad():
            net.eval()(torch.full((1, 3, size, size), 0.5, device=net.input_mean.device))
    finally:
        for handle in hooks:
            handle.remove()
    return found


def _module(net: Detector, layer: str) -> nn.Module:
    parts: dict[str, nn.Module] = dict(net.named_modules())
    if layer not in parts or not layer:
        last = [name for name, _ in _outputs(net)][-8:]
        raise FaceproofError(
            f"the network has no module {layer!r}; its backbone ends with {', '.join(last)}"
        )
    return parts[layer]


def _spatial(net: Detector, values: Tensor) -> tuple[int, ...]:
    return tuple(values.shape[1:3] if has_channels_last(net) else values.shape[2:4])


def _as_map(net: Detector, layer: str, values: Tensor) -> Tensor:
    """Sum a layer's values over channels, as (B, h, w)."""
    if values.ndim == 4 and min(_spatial(net, values)) > 1:
        return torch.sum(values, 3 if has_channels_last(net) else 1)
    if values.ndim == 3:
        prefix = int(getattr(net.backbone, "num_prefix_tokens", 0))
        tokens: Tensor = values[:, prefix:].sum(2)
        side = math.isqrt(tokens.shape[1])
        if side**2 == tokens.shape[1] and side > 1:
            return tokens.reshape(-1, side, side)
    raise FaceproofError(
        f"the output of {layer} has the shape {tuple(values.shape)}, which is no feature map "
        "(B, C, h, w) and no square of tokens (B, N, C); name another module by --layer"
    )
