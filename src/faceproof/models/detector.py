"""The network contract: images in [0, 1] in, one logit each out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from timm.models import group_parameters
from torch import Tensor, nn

from faceproof.errors import FaceproofError

INTERPOLATIONS = ("bilinear", "bicubic", "nearest")
# Of images in [0, 1]; the least std in use, 1 / 255, brings them to [0, 255].
SIZES, MEANS, STDS = (1, 4096), (-1, 1), (1e-3, 10)


@dataclass(frozen=True)
class ImageInput:
    """How a model wants its images: side in pixels, normalisation for [0, 1], resize method."""

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str

    def __post_init__(self) -> None:
        wanted = (((self.size,), SIZES, 1), (self.mean, MEANS, 3), (self.std, STDS, 3))
        for values, (low, high), num in wanted:
            if len(values) != num or not all(low <= value <= high for value in values):
                raise FaceproofError(
                    "model.input needs a positive size, three means and three positive stds (of "
                    f"{SIZES}, {MEANS} and {STDS}, the least and the highest); found {self}"
                )
        if self.interpolation not in INTERPOLATIONS:
            raise FaceproofError(
                f"model.input.interpolation = {self.interpolation!r} must be one of "
                f"{', '.join(INTERPOLATIONS)}"
            )


def image_input(
    backbone: nn.Module,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    interpolation: str | None = None,
) -> ImageInput:
    """Return a model's input; what is not given is what timm says of the backbone's weights.

    Raises:
        FaceproofError: something is not given and the backbone is not timm's.
    """
    given = {"size": size, "mean": mean, "std": std, "interpolation": interpolation}
    own = getattr(backbone, "pretrained_cfg", None) or {}
    known = {"size": own.get("input_size", (None, None))[1], **own}
    values: dict[str, Any] = {
        name: known.get(name) if value is None else value for name, value in given.items()
    }
    if missing := [name for name, value in values.items() if value is None]:
        raise FaceproofError(f"this backbone does not say its input; set model.input.{missing[0]}")
    return ImageInput(
        values["size"], tuple(values["mean"]), tuple(values["std"]), values["interpolation"]
    )


class Backbone(Protocol):
    """What a detector asks of a backbone: timm's contract, which small networks can follow too."""

    num_features: int

    def __call__(self, images: Tensor) -> Tensor:
        """Turn (B, 3, S, S) into features."""
        ...

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Say by pattern which parameters make a block."""
        ...


class Detector(nn.Module):
    """A backbone and a head behind one normalisation.

    The normalisation is part of the network and saved with its weights, so that it is the same in
    training, evaluation, prediction and export.

    Args:
        backbone: (B, 3, S, S) -> features, with `num_features`, and `group_matcher` as timm has it.
        head: features -> (B,) logits; called with the number of features to be made.
        input: how the images come; see `image_input`.
    """

    input_mean: Tensor
    input_std: Tensor

    def __init__(
        self, backbone: nn.Module, head: Callable[[int], nn.Module], input: ImageInput
    ) -> None:
        super().__init__()
        self.input = input
        self.backbone = backbone
        # Some of timm's backbones end with one more layer, and `num_features` are those before it.
        wider = getattr(backbone, "head_hidden_size", None)
        self.head = head(wider or cast(Backbone, backbone).num_features)
        self.register_buffer("input_mean", torch.tensor(input.mean).view(3, 1, 1).float())
        self.register_buffer("input_std", torch.tensor(input.std).view(3, 1, 1).float())

    def forward(self, images: Tensor) -> Tensor:
        """Return logits.

        Args:
            images: (B, 3, S, S) float in [0, 1], S = `input.size`.

        Returns:
            (B,) float32; positive means the task's positive class (fake, or face).
        """
        return self.classify(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """Return the backbone's features of (B, 3, S, S) in [0, 1]: (B, C), or maps (B, C, h, w)."""
        features: Tensor = self.backbone((images - self.input_mean) / self.input_std)
        return features

    def classify(self, features: Tensor) -> Tensor:
        """Return (B,) float32 logits of the backbone's features."""
        logits: Tensor = self.head(features)
        return logits.float()


def make_detector(
    backbone: nn.Module, head: Callable[[int], nn.Module], input: Mapping[str, Any]
) -> Detector:
    """Put a detector together; `input` has the arguments of `image_input`."""
    return Detector(backbone, head, image_input(backbone, **input))


def parameter_blocks(net: Detector) -> list[list[str]]:
    """Return the names of the backbone's parameters in blocks, from the input to the features.

    The blocks are those that the backbone itself names (timm's coarse groups: a stem, then stages or
    transformer blocks), which is what "the last N blocks" counts. A normalisation that follows the
    last of them belongs to it.
    """
    try:
        groups = group_parameters(
            net.backbone, cast(Backbone, net.backbone).group_matcher(coarse=True)
        )
    except (
        AttributeError,
        AssertionError,
    ):  # a few of timm's backbones name none, or none so coarse
        groups = _group_by_children(net.backbone)
    sizes = {name: parameter.ndim for name, parameter in net.backbone.named_parameters()}
    blocks: list[list[str]] = []
    for _, names in sorted(groups.items()):
        if blocks and all(sizes[name] <= 1 for name in names):
            blocks[-1].extend(f"backbone.{name}" for name in names)
        else:
            blocks.append([f"backbone.{name}" for name in names])
    return blocks


def _group_by_children(backbone: nn.Module) -> dict[int, list[str]]:
    """Number the children that have parameters, those in a list one by one."""
    groups: dict[str, list[str]] = {}
    for name, _ in backbone.named_parameters():
        child, *rest = name.split(".")
        numbered = rest and rest[0].isdigit()
        groups.setdefault(f"{child}.{rest[0]}" if numbered else child, []).append(name)
    return dict(enumerate(groups.values()))
