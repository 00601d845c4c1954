"""The contract of every network: images in [0, 1] in, one logit each out."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

import torch
from timm.models import group_parameters
from torch import Tensor, nn

from faceproof.errors import FaceproofError
from faceproof.io.parse import ADDED
from faceproof.settings import Rule, SettingError, check, is_count, is_number, one_of, optional

if TYPE_CHECKING:
    from faceproof.models.branches import InputBranch

# Of images in [0, 1]; a std of 1 / 255, the smallest in use, brings them to [0, 255].
SIZES, MEANS, STDS = (1, 4096), (-1, 1), (1e-3, 10)
MAX_PIXELS = SIZES[1] ** 2  # of all crops of an image: an artifact may come from a stranger

# Of a backbone that has no weights of its own.
PLAIN_INPUT: dict[str, Any] = {
    "size": 224, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0), "interpolation": "bilinear"
}  # fmt: skip


def _three(what: str, low: float, high: float) -> Rule:
    def fits(values: Any) -> bool:
        three = isinstance(values, tuple) and len(values) == 3
        return three and all(is_number(one) and low <= one <= high for one in values)

    return Rule(fits, f"three {what} from {low:g} to {high}")


RULES = {
    "size": Rule(
        lambda value: is_count(value, SIZES[0]) and value <= SIZES[1],
        f"a positive size in whole pixels, at most {SIZES[1]}",
    ),
    "mean": _three("means", *MEANS),
    "std": _three("positive stds", *STDS),
    "interpolation": one_of("bilinear", "bicubic", "nearest"),
}
RESIZE, CROP, TILES = "resize", "crop", "tiles"
NUM_TILES = 5  # where nothing else is set
# What an image is judged by. Models of earlier versions lack these settings: a model of the first
# choices is written without them.
VIEWS = {
    "mode": one_of(RESIZE, CROP, TILES),
    "resize_to": optional(RULES["size"]),
    "tiles": Rule(
        lambda value: value is None or (is_count(value) and value in (4, 5, 9, 16, 25)),
        "4, 5, 9, 16 or 25, or null",
    ),
    "tta": one_of("none", "flip"),
}


@dataclass(frozen=True)
class ImageInput:
    """How a model wants its images: side in pixels, normalisation for [0, 1], resize or crops.

    The attributes are those of `InputConfig`, none left open.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    mode: str = field(default=RESIZE, metadata=ADDED)
    resize_to: int | None = field(default=None, metadata=ADDED)
    tiles: int | None = field(default=None, metadata=ADDED)
    tta: str = field(default="none", metadata=ADDED)

    def __post_init__(self) -> None:
        check(self, **RULES)
        _check_views(self)
        if self.mode == TILES and self.tiles is None:
            raise SettingError("tiles", f"is missing; mode={TILES} takes {NUM_TILES} or another")
        if (self.tiles or 1) * self.size**2 > MAX_PIXELS:
            raise SettingError(
                "tiles",
                f"= {self.tiles} are {self.tiles} x {self.size} x {self.size} pixels of an image, "
                f"more than {SIZES[1]} x {SIZES[1]}; take fewer, or a smaller size",
            )

    @property
    def num_passes(self) -> int:
        """How often the network looks at an image: once for each crop and its mirror image."""
        return (self.tiles or 1) * (2 if self.tta == "flip" else 1)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the choices of `VIEWS` that are the first."""
        return described(self) | {"mean": list(self.mean), "std": list(self.std)}


@dataclass(frozen=True)
class InputConfig:
    """The settings of `ImageInput`; None is what the backbone's own weights were trained with.

    Of a backbone that timm knows no weights of, it is the side that its function has as `size`,
    else 224, and images in [0, 1] that are not normalised.

    Attributes:
        size: the side of the square input, in pixels.
        mean: what is subtracted from the three channels of an image in [0, 1].
        std: what the three channels are divided by after that.
        interpolation: how an image is resized: `bilinear`, `bicubic` or `nearest`.
        mode: `resize` for the whole image, whatever its aspect; `crop` for a square of it as its
            pixels are, at random in training and else its middle; `tiles` for the mean logit of
            several such squares, in training for one at random.
        resize_to: with `crop` and `tiles`, the shorter side to which an image is resized before;
            null for none, so that the network sees the pixels of the file.
        tiles: with `tiles`, how many squares: 5 for the middle and the corners, or 4, 9, 16 or 25
            for an even grid; null for 5.
        tta: `flip` for the mean logit of an image and its mirror image wherever images are judged,
            not in training; `none`.
    """

    size: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    interpolation: str | None = None
    mode: str = RESIZE
    resize_to: int | None = None
    tiles: int | None = None
    tta: str = "none"

    def __post_init__(self) -> None:
        check(self, **{name: optional(rule) for name, rule in RULES.items()})
        _check_views(self)

    def resolve(self, backbone: nn.Module, size: int | None = None) -> ImageInput:
        """Return the input of a backbone, with what is not set as timm knows it of its weights.

        `size` is the side of a backbone that timm knows no weights of.
        """
        own = getattr(backbone, "pretrained_cfg", None)
        if own:
            known = {**own, "size": own.get("input_size", (None, None))[1]}
        else:
            known = {**PLAIN_INPUT, "size": size or PLAIN_INPUT["size"]}
        values: dict[str, Any] = {
            name: known.get(name) if value is None else value
            for name, value in asdict(self).items()
            if name in RULES
        }
        for name, value in values.items():
            if value is None:
                raise FaceproofError(
                    f"this backbone does not say its input; set model.input.{name}"
                )
        values |= {name: tuple(values[name]) for name in ("mean", "std")}
        values |= {name: getattr(self, name) for name in VIEWS}
        if self.mode == TILES and self.tiles is None:
            values["tiles"] = NUM_TILES
        try:
            return ImageInput(**values)
        except SettingError as error:
            raise error.within("model.input") from error


def described(given: "ImageInput | InputConfig") -> dict[str, Any]:
    """Return settings by name, without the choices of `VIEWS` that are the first."""
    plain = InputConfig()
    return {
        name: value
        for name, value in asdict(given).items()
        if name not in VIEWS or value != getattr(plain, name)
    }


def _check_views(given: "ImageInput | InputConfig") -> None:
    """Refuse choices of `VIEWS` that are none, or that the others leave without effect."""
    check(given, **VIEWS)
    unread = (
        ("resize_to", given.mode == RESIZE, f"mode={CROP} or mode={TILES}"),
        ("tiles", given.mode != TILES, f"mode={TILES}"),
    )
    for name, is_unread, instead in unread:
        if is_unread and (value := getattr(given, name)) is not None:
            what = f"= {value} changes nothing with mode={given.mode}"
            raise SettingError(name, f"{what}; take {instead}, or leave it out")
    if given.resize_to and given.size and given.resize_to < given.size:
        raise SettingError(
            "resize_to",
            f"= {given.resize_to} must be at least size = {given.size}, the side of the crops",
        )


class Backbone(Protocol):
    """What a detector needs of a backbone: timm's contract, which small networks follow too."""

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
        head: makes features -> (B,) logits, from their number.
        input: how the images come.
        branch: what else the network sees of an image, or sees in its place.

    Examples:
        >>> import faceproof as fp
        >>> import torch
        >>> net = fp.build_model("face_cnn", weights="none")
        >>> net(torch.rand(2, 3, net.input.size, net.input.size)).shape
        torch.Size([2])
    """

    input_mean: Tensor
    input_std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        head: Callable[[int], nn.Module],
        input: ImageInput,
        branch: "InputBranch | None" = None,
    ) -> None:
        super().__init__()
        self.input = input
        self.backbone = backbone
        self.branch = branch
        # Some of timm's backbones end with one more layer; `num_features` counts those before it.
        wider = getattr(backbone, "head_hidden_size", None)
        num_features = wider or cast(Backbone, backbone).num_features
        self.num_features = num_features * (1 if self.second_backbone is None else 2)
        self.head = head(self.num_features)
        self.register_buffer("input_mean", torch.tensor(input.mean).view(3, 1, 1).float())
        self.register_buffer("input_std", torch.tensor(input.std).view(3, 1, 1).float())

    def forward(self, images: Tensor) -> Tensor:
        """Return (B,) float32 logits of (B, 3, S, S) images in [0, 1], S = `input.size`.

        A positive logit means the task's positive class: fake, or face.
        """
        return self.classify(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """Return the features of (B, 3, S, S) in [0, 1]: (B, C), or maps (B, C, h, w).

        Those of a branch that stands beside the image follow those of the image.
        """
        if self.branch is not None and self.branch.backbone is None:
            return self.backbone(self.branch(images))  # type: ignore[no-any-return]
        features: Tensor = self.backbone((images - self.input_mean) / self.input_std)
        if self.branch is None or self.branch.backbone is None:
            return features
        return torch.cat([features, self.branch.backbone(self.branch(images))], 1)

    @property
    def second_backbone(self) -> nn.Module | None:
        """The backbone of a branch that stands beside the image; None without one."""
        return None if self.branch is None else self.branch.backbone

    def classify(self, features: Tensor) -> Tensor:
        """Return (B,) float32 logits of the backbone's features."""
        logits: Tensor = self.head(features)
        return logits.float()


def has_channels_last(net: Detector) -> bool:
    """Say whether the backbone's feature maps are (B, h, w, C) instead of (B, C, h, w)."""
    return str(getattr(net.backbone, "output_fmt", "NCHW")).upper().endswith("NHWC")


def pool_features(net: Detector, features: Tensor) -> Tensor:
    """Return a network's features as (B, C) float32, averaged over places where it keeps places.

    Raises:
        FaceproofError: the features have no such shape.
    """
    values = features.float()
    if values.ndim == 4:
        values = values.mean((1, 2) if has_channels_last(net) else (2, 3))
    elif values.ndim == 3:
        values = values.mean(1)
    if values.ndim != 2:
        raise FaceproofError(
            f"the backbone's output has the shape {tuple(values.shape)}; features are (B, C), "
            "(B, N, C) or (B, C, h, w)"
        )
    return values


def parameter_blocks(net: Detector) -> list[list[str]]:
    """Return the names of the backbone's parameters in blocks, from the input to the features.

    The blocks are those that the backbone itself names (timm's coarse groups: a stem, then stages
    or transformer blocks); "the last N blocks" counts these. A normalisation after the last block
    belongs to it. Where a branch has a backbone of the same kind, each block is that of both.
    """
    blocks = _blocks_of(net.backbone, "backbone")
    if net.second_backbone is None:
        return blocks
    second = _blocks_of(net.second_backbone, "branch.backbone")
    return [one + other for one, other in zip(blocks, second, strict=True)]


def _blocks_of(backbone: nn.Module, where: str) -> list[list[str]]:
    try:
        matcher = cast(Backbone, backbone).group_matcher(coarse=True)
        groups = group_parameters(backbone, matcher)
    except (AttributeError, AssertionError):  # a few of timm's name no groups, or none so coarse
        groups = _group_by_children(backbone)
    sizes = {name: parameter.ndim for name, parameter in backbone.named_parameters()}
    blocks: list[list[str]] = []
    for _, names in sorted(groups.items()):
        if blocks and all(sizes[name] <= 1 for name in names):
            blocks[-1].extend(f"{where}.{name}" for name in names)
        else:
            blocks.append([f"{where}.{name}" for name in names])
    return blocks


def _group_by_children(backbone: nn.Module) -> dict[int, list[str]]:
    """Number the children that have parameters, those in a list one by one."""
    groups: dict[str, list[str]] = {}
    for name, _ in backbone.named_parameters():
        child, *rest = name.split(".")
        numbered = rest and rest[0].isdigit()
        groups.setdefault(f"{child}.{rest[0]}" if numbered else child, []).append(name)
    return dict(enumerate(groups.values()))
