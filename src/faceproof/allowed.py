"""What a configuration may name: the parts of this package, and a few of its libraries'.

A configuration is often another's, such as that of a run that was handed on, and a name in it is
called. So only what is listed here is; one's own parts are allowed by the environment, which no
configuration can set:

    FACEPROOF_ALLOW=my_package.,other.trunks.make python train.py model=mine

names a package whose every name may be called, and a single function.
"""

import os
import re
from collections.abc import Iterator
from typing import Any

from faceproof.errors import FaceproofError

VARIABLE = "FACEPROOF_ALLOW"
PARTS = frozenset(
    f"faceproof.{name}"
    for name in (
        *("data.folder_data", "data.table_data", "data.combined_data", "data.demo_data"),
        *("data.shard_data",),
        *("data.augment.Augment", "training.freezing.FreezeSchedule", "training.fit.make_trainer"),
        *("training.optimizers.OptimizerSettings", "training.optimizers.Plateau"),
        *("training.optimizers.Cosine", "training.optimizers.Constant"),
        *("models.make_detector", "models.trunks.timm_trunk", "models.trunks.face_cnn_trunk"),
        *("models.trunks.cnn3_trunk", "models.heads.LinearHead", "models.heads.HiddenHead"),
        *("models.heads.SqueezeExciteHead", "models.heads.ConvTailHead"),
    )
)
# Classes right in these modules: nothing that reads a file, runs a command or fetches.
LIBRARIES = re.compile(
    r"(torch|timm)\.optim\.[A-Z]\w*|pytorch_lightning\.strategies\.(DDP|FSDP)Strategy"
)


def check_targets(node: Any, where: str = "") -> None:
    """Refuse a configuration that names what may not be called.

    Args:
        node: plain values, resolved.
        where: where in the configuration it stands.

    Raises:
        FaceproofError: it does; the message says what and where, and how to allow it.
    """
    for place, target in _targets(node, where):
        if not _allowed(target):
            raise FaceproofError(
                f"the configuration names {target!r} at {place}, which is no part of faceproof's; "
                f"if it is yours, allow it by the environment: {VARIABLE}={target}"
            )


def _targets(node: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Yield every name that would be called, and where it stands."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield f"{where}_target_", node["_target_"]
        for key, value in node.items():
            yield from _targets(value, f"{where}{key}.")
    elif isinstance(node, list | tuple):
        for number, value in enumerate(node):
            yield from _targets(value, f"{where}{number}.")


def _allowed(target: Any) -> bool:
    if not isinstance(target, str):
        return False
    own = [word.strip() for word in os.environ.get(VARIABLE, "").split(",") if word.strip()]
    mine = any(target.startswith(word) if word.endswith(".") else target == word for word in own)
    return target in PARTS or LIBRARIES.fullmatch(target) is not None or mine
