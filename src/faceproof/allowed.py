"""What a configuration may name: the parts of this package, and a few of its libraries'.

A configuration is often another's, such as that of a run that was handed on, and a name in it is
called. So only what is listed here is; one's own parts are allowed by the environment, which no
configuration can set:

    FACEPROOF_ALLOW=my_package.,other.backbones.make python train.py model=mine

names a package whose every name may be called, and a single function.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from faceproof.errors import FaceproofError

VARIABLE = "FACEPROOF_ALLOW"
PARTS = frozenset(
    f"faceproof.{name}"
    for name in (
        *("data.folder_data", "data.table_data", "data.combined_data", "data.demo_data"),
        *("data.shard_data",),
        *(
            "augment.transforms.Augment",
            "training.freezing.FreezeSchedule",
            "workflows.train.make_trainer",
        ),
        *("training.optimizers.OptimizerSettings", "training.optimizers.Plateau"),
        *("training.optimizers.Cosine", "training.optimizers.Constant"),
    )
)
# Classes right in these modules: nothing that reads a file, runs a command or fetches.
LIBRARIES = re.compile(
    r"(torch|timm)\.optim\.[A-Z]\w*|pytorch_lightning\.strategies\.(DDP|FSDP)Strategy"
)
# Of Hydra's own part: what its logs are made of, and the samplers of a search.
LOGS = frozenset(
    {"logging.Formatter", "logging.StreamHandler", "logging.FileHandler", "logging.NullHandler"}
)
SAMPLERS = re.compile(r"optuna\.samplers\.[A-Z]\w*")
STREAMS = ("ext://sys.stdout", "ext://sys.stderr")
# What a run may not be told of its environment: what may be called, and what a program loads.
ENVIRONMENT = re.compile(r"(FACEPROOF_ALLOW|HYDRA_\w+|PYTHON\w*|LD_\w+|DYLD_\w+)", re.IGNORECASE)


def check_hydra(hydra: Mapping[str, Any]) -> None:
    """Refuse what Hydra would call, before it does: it makes callbacks and logs before any run.

    Of a sweeper and a launcher Hydra itself takes none but installed plugins; what these are given
    is looked at here.

    Args:
        hydra: plain values, resolved: its callbacks, sweeper, launcher, both logs, and the
            names in the environment of a job.

    Raises:
        FaceproofError: it would call what a configuration may not name.
    """
    check_targets(hydra.get("callbacks"), "hydra.callbacks.")
    for part in ("sweeper", "launcher"):
        plugin = {key: value for key, value in (hydra.get(part) or {}).items() if key != "_target_"}
        check_targets(plugin, f"hydra.{part}.", SAMPLERS)
    # Optuna's sweeper calls it.
    space = (hydra.get("sweeper") or {}).get("custom_search_space")
    if space is not None and not _is_own(space):
        raise FaceproofError(
            f"the configuration names {space!r} at hydra.sweeper.custom_search_space; if it is "
            f"yours, allow it by the environment: {VARIABLE}={space}"
        )
    for part in ("hydra_logging", "job_logging"):
        _check_log(hydra.get(part), f"hydra.{part}")
    for name in hydra.get("env_set") or ():
        if ENVIRONMENT.fullmatch(str(name)):
            raise FaceproofError(f"hydra.job.env_set may not set {name}; set it in the shell")


def _check_log(node: Any, where: str) -> None:
    """Refuse a log that is made by anything but logging's plain classes."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node or ()):
        place = f"{where}.{key}"
        called = key in ("()", "class") and str(value) not in LOGS
        fetched = str(value).startswith("ext://") and value not in STREAMS
        if (called or fetched or key == ".") and not _is_own(value):
            raise FaceproofError(
                f"the configuration names {value!r} at {place}, and a log is made of "
                f"{', '.join(sorted(LOGS))} alone; if it is yours, allow it by the environment: "
                f"{VARIABLE}={value}"
            )
        if isinstance(value, dict | list):
            _check_log(value, place)


def check_targets(node: Any, where: str = "", more: re.Pattern[str] = LIBRARIES) -> None:
    """Refuse a configuration that names what may not be called.

    Args:
        node: plain values, resolved.
        where: where in the configuration it stands.
        more: what may be called there, besides parts of faceproof's and one's own.

    Raises:
        FaceproofError: it does; the message says what and where, and how to allow it.
    """
    for place, target in _targets(node, where):
        if not _allowed(target, more):
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


def _allowed(target: Any, more: re.Pattern[str]) -> bool:
    if not isinstance(target, str):
        return False
    return target in PARTS or more.fullmatch(target) is not None or _is_own(target)


def _is_own(target: Any) -> bool:
    """Say whether the environment allows a name."""
    own = [word.strip() for word in os.environ.get(VARIABLE, "").split(",") if word.strip()]
    name = str(target)
    return any(name.startswith(word) if word.endswith(".") else name == word for word in own)
