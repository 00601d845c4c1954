"""Build a network from a model's settings: names and numbers, as in `conf/model/*.yaml`.

Training, evaluation, explanation, export and artifacts all build their networks here. Settings may
come from a stranger's run or artifact: a name is looked up among faceproof's backbones and heads,
or in a module that the user has allowed (see `faceproof.lookup`), and nothing else is called.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from faceproof.errors import FaceproofError
from faceproof.lookup import find
from faceproof.models.backbones import BACKBONES
from faceproof.models.branches import BRANCHES, MODES, NO_BRANCH, InputBranch
from faceproof.models.detector import Detector, ImageInput, InputConfig, described
from faceproof.models.heads import HEADS
from faceproof.models.limits import at_most, check_options
from faceproof.settings import SWITCH, TEXT, Rule, SettingError, check, is_count, make, one_of

NAMED = Rule(
    lambda value: isinstance(value, Mapping) and isinstance(value.get("name"), str),
    "settings with a name, such as {name: timm, model: resnet18}",
)
# What unsuitable options make torch and timm raise.
UNBUILDABLE = (
    *(TypeError, ValueError, KeyError, AttributeError, AssertionError, IndexError),
    *(RuntimeError, MemoryError, ArithmeticError, NotImplementedError),
)

PLAIN_HEAD = {"name": "linear", "num_outputs": 1}
MOST_WITHOUT_FILE = 2**31  # bytes of a network whose weights are not there

Shapes = dict[str, tuple[tuple[int, ...], torch.dtype]]


@dataclass(frozen=True)
class ModelConfig:
    """The settings of a model.

    Attributes:
        backbone: `name`, one of `BACKBONES` or the dotted name of a function of the user's own, and
            the options of that backbone.
        head: `name`, one of `HEADS` or a dotted name, and the options of that head.
        input: how images come; what is null is what the backbone's weights were trained with.
        name: the model's name in reports.
        weights: the initial weights, see `load_initial_weights`.
        swap_classes: whether a weights file numbers the positive class 0.
        branch: `name`, one of `BRANCHES`, a dotted name or `none`; `mode`, whether what it shows
            takes the place of the image (`replace`) or has a backbone of its own (`beside`); and
            the options of that branch.
    """

    backbone: Mapping[str, Any]
    head: Mapping[str, Any] = field(default_factory=lambda: dict(PLAIN_HEAD))
    input: InputConfig = field(default_factory=InputConfig)
    name: str = "unnamed"
    weights: str = "auto"
    swap_classes: bool = False
    branch: Mapping[str, Any] = field(default_factory=lambda: {"name": NO_BRANCH})

    def __post_init__(self) -> None:
        by_name = Rule(lambda value: isinstance(value, InputConfig), "settings by name")
        check(self, backbone=NAMED, head=NAMED, input=by_name, branch=NAMED)
        self._check_branch()
        if not self.is_own_code:
            for part in ("backbone", "head", "branch"):
                check_options(getattr(self, part), f"model.{part}")
        check(self, name=TEXT, weights=TEXT, swap_classes=SWITCH)

    def _check_branch(self) -> None:
        mode = one_of(*MODES)
        if not mode.fits(self.branch_mode):
            raise SettingError("branch.mode", f"= {self.branch_mode!r} must be {mode.meaning}")
        surplus = [
            name for name in _options(self.branch) if (name, self.branch_mode) != ("mode", MODES[0])
        ]
        if not self.has_branch and surplus:
            raise SettingError(
                f"branch.{surplus[0]}",
                f"changes nothing without branch.name, one of {', '.join(BRANCHES)}",
            )

    @property
    def has_branch(self) -> bool:
        """Whether the network sees something else than the image."""
        return bool(self.branch["name"] != NO_BRANCH)

    @property
    def branch_mode(self) -> Any:
        """Whether a branch takes the place of the image or stands beside it; one of `MODES`."""
        return self.branch.get("mode", MODES[0])

    @property
    def network(self) -> dict[str, Any]:
        """What decides the network alone, as plain values."""
        input = described(self.input)
        branch = {"branch": dict(self.branch)} if self.has_branch else {}
        return {"backbone": dict(self.backbone), "head": dict(self.head), "input": input, **branch}

    @property
    def is_own_code(self) -> bool:
        """Whether the backbone, the head or the branch is code of the user's own."""
        branch = self.has_branch and self.branch["name"] not in BRANCHES
        return branch or self.backbone["name"] not in BACKBONES or self.head["name"] not in HEADS


def read_model(values: Mapping[str, Any]) -> ModelConfig:
    """Return the settings of a model from plain values."""
    return make(ModelConfig, values, "model")


def build_network(model: ModelConfig | Mapping[str, Any]) -> Detector:
    """Build a network with random weights.

    A backbone whose function has a parameter `size` gets the side of the input, unless its own
    settings have a `size`.

    Raises:
        FaceproofError: a name is not known or not allowed, or the network cannot be built.
    """
    config = model if isinstance(model, ModelConfig) else read_model(model)
    create_backbone = find(config.backbone["name"], BACKBONES, "model.backbone.name")
    create_head = find(config.head["name"], HEADS, "model.head.name")
    options = _options(config.backbone)
    size = config.input.size
    try:
        parameter = inspect.signature(create_backbone).parameters.get("size")
        if size is not None and parameter is not None:
            options.setdefault("size", size)
        backbone = make(create_backbone, options, "model.backbone")
        own = options.get("size", getattr(parameter, "default", None))
        input = config.input.resolve(backbone, own if is_count(own, 1) else None)
        branch = None
        if config.has_branch:
            second = make(create_backbone, options) if config.branch_mode == "beside" else None
            branch = InputBranch(_make_filter(config, input), second, config.branch)

        def head(num_features: int) -> nn.Module:
            create: Callable[..., nn.Module] = partial(create_head, num_features)
            return make(create, _options(config.head), "model.head")

        return Detector(backbone, head, input, branch)
    except FaceproofError:
        raise
    except UNBUILDABLE as error:
        raise FaceproofError(
            f"the network of backbone {dict(config.backbone)}, head {dict(config.head)} and input "
            f"{asdict(config.input)} cannot be built: {error}; change these settings of the model"
        ) from error


def _make_filter(config: ModelConfig, input: ImageInput) -> nn.Module:
    create = find(config.branch["name"], BRANCHES, "model.branch.name")
    options = {key: value for key, value in _options(config.branch).items() if key != "mode"}
    made: nn.Module = make(partial(create, input), options, "model.branch")
    return made


def network_shapes(model: ModelConfig) -> Shapes:
    """Return shape and type of each tensor of a network; no memory is taken for them."""
    with torch.device("meta"):
        return shapes_of(build_network(model))


def build_of_file(model: ModelConfig, weights: Path | None) -> Detector:
    """Build the network of a weights file, with random weights, if it is not absurdly larger.

    Without a file it may take `MOST_WITHOUT_FILE` bytes. A network that settings of a stranger's
    describe is built without memory first. The user's own code need not work so, and the user has
    said that they trust it.

    Raises:
        FaceproofError: as `build_network`, or the settings cannot be those of the file.
    """
    if model.is_own_code:
        return build_network(model)
    with at_most(MOST_WITHOUT_FILE if weights is None else weights.stat().st_size):
        network_shapes(model)
        return build_network(model)


def shapes_of(net: nn.Module) -> Shapes:
    """Return shape and type of each tensor of a network."""
    return {name: (tuple(value.shape), value.dtype) for name, value in net.state_dict().items()}


def _options(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key != "name"}
