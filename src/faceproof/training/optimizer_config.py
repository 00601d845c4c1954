"""The settings of the optimizer, checked before torch is imported."""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from faceproof.lookup import find
from faceproof.settings import ABOVE_ZERO, AMOUNT, RATE, TEXT, Rule, check, optional

BY_NAME = Rule(lambda value: isinstance(value, Mapping), "options by name")


@dataclass(frozen=True)
class OptimizerConfig:
    """How to make an optimizer; see `training.optimizers`.

    Attributes:
        name: an optimizer of torch's or timm's in lower case, such as `adamw`, or a class of one's
            own that takes parameter groups.
        lr: the learning rate of the head, and of the backbone unless that has its own.
        backbone_lr: the learning rate of the backbone; None for `lr`.
        layer_decay: the learning rate of the backbone's last block is multiplied by it once, that
            of the block before it twice, and so on; None for one rate for all. Bao et al. 2022,
            "BEiT" (arXiv:2106.08254), fine-tune so.
        weight_decay: for weights; biases and normalisation (one-dimensional) have none.
        sam_rho: SAM's rho: the gradient is taken at weights that are moved this far uphill; None
            for no SAM. See `training.sharpness`.
        options: further arguments of the optimizer, such as `momentum`.
    """

    name: str
    lr: float
    backbone_lr: float | None = None
    layer_decay: float | None = None
    weight_decay: float = 0.0
    sam_rho: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self, name=TEXT, lr=AMOUNT, backbone_lr=optional(AMOUNT), weight_decay=AMOUNT)
        check(self, layer_decay=optional(RATE), sam_rho=optional(ABOVE_ZERO), options=BY_NAME)


def check_name(name: str) -> None:
    """Refuse the name of an optimizer that neither torch nor timm has; neither is imported.

    Their code is read as text, because importing it takes seconds. Where it does not look as it
    should, `optimizers.make_optimizer` says later what is known. A dotted name is of the user's own
    code.

    Raises:
        FaceproofError: there is no such optimizer; it says which was probably meant.
    """
    ours, timms = _of_torch(), _of_timm()
    if "." in name or name in ours or not ours or not timms:
        return
    if not re.search(rf"""(['"]){re.escape(name)}\1""", timms):
        found = re.findall(r"name=['\"](\w+)['\"]", timms)
        find(name, dict.fromkeys(sorted({*ours, *found})), "optimizer.name")


def _of_torch() -> frozenset[str]:
    """Return the lower-case names of torch's optimizers; none where its code looks otherwise."""
    for node in ast.parse(_source("torch", "optim/__init__.py")).body:
        names = [one.id for one in getattr(node, "targets", ()) if isinstance(one, ast.Name)]
        if isinstance(node, ast.Assign) and names == ["__all__"]:
            exported: list[str] = ast.literal_eval(node.value)
            classes = {one for one in exported if one[0].isupper()} - {"Optimizer"}
            return frozenset(one.lower() for one in classes)
    return frozenset()


def _of_timm() -> str:
    """Return the code in which timm registers its optimizers; empty where there is none."""
    return _source("timm", "optim/_optim_factory.py")


def _source(package: str, file: str) -> str:
    spec = find_spec(package)
    path = Path((spec and spec.origin) or "").parent / file
    return path.read_text("utf-8") if path.is_file() else ""
