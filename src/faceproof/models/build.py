"""From a description in plain data to a network, without executing anything that is not known.

A description has the structure of `model.network` in `conf/model/*.yaml`: mappings with `_target_`
(the name of a function or class) and its arguments, `_partial_: true` for what is called later.
Only what this package registers here can be named; a backbone of one's own is allowed by name.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from faceproof.errors import FaceproofError
from faceproof.models import backbones as backbones
from faceproof.models import heads
from faceproof.models.detector import Detector, make_detector

REGISTERED: dict[str, Callable[..., Any]] = {
    f"{known.__module__}.{known.__qualname__}": known
    for known in (
        make_detector,
        backbones.timm_backbone,
        backbones.face_cnn_backbone,
        backbones.cnn3_backbone,
        heads.LinearHead,
        heads.HiddenHead,
        heads.SqueezeExciteHead,
        heads.ConvTailHead,
    )
} | {"faceproof.models.make_detector": make_detector}
# What wrong arguments make torch and timm raise.
UNBUILDABLE = (
    *(TypeError, ValueError, KeyError, AttributeError, AssertionError),
    *(RuntimeError, MemoryError, ArithmeticError),
)
MAX_DEPTH = 20

Shapes = dict[str, tuple[tuple[int, ...], torch.dtype]]


def build_network(description: Mapping[str, Any], allow: Sequence[str] = ()) -> Detector:
    """Make a network, with random weights, from a description.

    Args:
        description: plain data; see the module.
        allow: full names of functions or classes of one's own that it may name too; each is
            imported, which runs its module.

    Raises:
        FaceproofError: the description names something else, or cannot be built.
    """
    try:
        net = _build(description, allow, 0)
    except FaceproofError:
        raise
    except UNBUILDABLE as error:
        raise FaceproofError(
            f"a network cannot be made of its description: {error}; an artifact's card or a run's "
            "config.yaml that was written by hand or by another version may be the reason"
        ) from error
    if not isinstance(net, Detector):
        raise FaceproofError(
            "the description of a network names make_detector at its top; found "
            f"{_target(description)!r}"
        )
    return net


def concrete_description(description: Mapping[str, Any], net: Detector) -> dict[str, Any]:
    """Return the description of a built network with its input spelt out, nothing left to timm."""
    values = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(net.input).items()
    }
    return {**description, "input": values}


def described_shapes(description: Mapping[str, Any]) -> Shapes:
    """Return shape and type of each of a network's tensors; no memory is taken for them.

    Raises:
        FaceproofError: as `build_network`.
    """
    with torch.device("meta"):
        net = build_network(description)
    return {name: (tuple(value.shape), value.dtype) for name, value in net.state_dict().items()}


def _build(node: Any, allow: Sequence[str], depth: int) -> Any:
    """Make what one node describes."""
    if depth > MAX_DEPTH:
        raise FaceproofError("the description of a network is nested too deeply to be one")
    if isinstance(node, Mapping):
        values = {key: _build(value, allow, depth + 1) for key, value in node.items()}
        return _call(values, allow) if "_target_" in values else values
    if isinstance(node, list | tuple):
        return [_build(value, allow, depth + 1) for value in node]
    if node is None or isinstance(node, str | int | float | bool):
        return node
    raise FaceproofError(f"the description of a network holds a {type(node).__name__}: {node!r}")


def _call(node: dict[str, Any], allow: Sequence[str]) -> Any:
    """Call what a node names with its arguments, or bind them for later."""
    create = _find(node.pop("_target_"), allow)
    later = node.pop("_partial_", False)
    odd = [
        name
        for name in node
        if name.startswith("_")
        or (create is backbones.timm_backbone and name.startswith(backbones.REACHING_OUT))
    ]
    if odd:
        raise FaceproofError(
            f"the description of a network may not set {odd[0]}: it would fetch or run something"
        )
    return partial(create, **node) if later else create(**node)


def _find(name: Any, allow: Sequence[str]) -> Callable[..., Any]:
    """Return the registered function or class of that name, or an allowed one."""
    if isinstance(name, str) and name in REGISTERED:
        return REGISTERED[name]
    if name not in allow:
        raise FaceproofError(
            f"the description of a network names {name!r}, which is not run; known are "
            f"{', '.join(REGISTERED)}. If it is a backbone or head of your own and you trust it, "
            f"allow it in Python: allow=({name!r},)"
        )
    module, _, word = name.rpartition(".")
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), word)
    except (ImportError, AttributeError, ValueError) as error:
        raise FaceproofError(f"{name!r} is allowed but cannot be imported: {error}") from error
    return found


def _target(description: Mapping[str, Any]) -> Any:
    return description.get("_target_") if isinstance(description, Mapping) else description
