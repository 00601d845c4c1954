"""What a name in the settings stands for: a part of faceproof, or code of the user's own.

Settings hold names and numbers, never something to call. A short name, such as `adamw`, is looked
up among faceproof's parts. A dotted name, `my_package.MyOptimizer`, is imported, from the working
folder too, and only if the user has named its module for this process: in settings that they type
or keep in a `conf/` of their own, by `--allow my_package` with any command, or by the environment
variable FACEPROOF_ALLOW. What a run folder or an artifact names is data, and allows nothing.
"""

import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from faceproof.errors import FaceproofError

VARIABLE = "FACEPROOF_ALLOW"  # modules, separated by commas

# Parts of faceproof that live above those that look them up, which know them by name alone.
LIST_VIDEOS = "faceproof.workflows.prepared_videos.list_videos"
OWN_PARTS = (LIST_VIDEOS,)

# The words that are no file: see `models.weights.load_initial_weights`.
INITIAL_WEIGHTS = ("auto", "imagenet", "none")

_allowed: set[str] = set()


def allow(modules: Iterable[str]) -> None:
    """Let settings name code in these modules, and in those below them, in this process."""
    _allowed.update(_module(word) for word in modules if word.strip())


def allowed() -> list[str]:
    """Return the modules and places that the user has named for this process."""
    return sorted(_named())


def is_allowed(name: str) -> bool:
    """Say whether a dotted name is faceproof's own or lies in a module that the user has named."""
    if name in OWN_PARTS:
        return True
    return any(name == module or name.startswith(f"{module}.") for module in _named())


def is_allowed_place(url: str) -> bool:
    """Say whether the user has named this place, or one that it lies in, such as s3://BUCKET."""
    if {".", ".."} & set(url.split("/")):  # a store's client may resolve them
        return False
    places = {place.rstrip("/") for place in _named()}
    return any(url == place or url.startswith(f"{place}/") for place in places)


def _named() -> set[str]:
    """Return what the user has named for this process."""
    words = os.environ.get(VARIABLE, "").split(",")
    return _allowed | {_module(word) for word in words if word.strip()}


def _module(word: str) -> str:
    """Return a module as settings name it; my_networks.py is the file of my_networks."""
    name = word.strip().removesuffix(".py").rstrip(".")
    return name if "://" in name else re.sub(r"[/\\]", ".", name.removeprefix("./"))


def check_weights_file(path: Path) -> None:
    """Refuse a file of initial weights that is not there."""
    if not path.exists():
        raise FaceproofError(
            f"there is no weights file {path}; set model.weights to "
            f"{', '.join(INITIAL_WEIGHTS)} or a file"
        )


def find(name: str, known: Mapping[str, Any], setting: str) -> Any:
    """Return what a setting names.

    Args:
        name: a short name, or the dotted name of something of the user's own.
        known: faceproof's parts by their short names.
        setting: its name in messages, such as `model.backbone.name`.

    Raises:
        FaceproofError: the name is not known, not allowed, or cannot be imported.
    """
    if isinstance(name, str) and name in known:
        return known[name]
    if not isinstance(name, str) or "." not in name:
        close = get_close_matches(str(name), known)
        hint = f"did you mean {close[0]}?" if close else f"choose one of {', '.join(known)}"
        raise FaceproofError(f"{setting} = {name!r} is not known; {hint}")
    _refuse_unless_allowed(name, setting)
    return _import(name, setting)


def check_own_code(name: object, setting: str) -> None:
    """Refuse code of the user's own that is not allowed or not there; nothing is imported.

    A name that is none of the user's own code, such as `adamw`, is left to `find`.

    Raises:
        FaceproofError: as `find`, as far as that can be told without importing.
    """
    if not isinstance(name, str) or "." not in name:
        return
    _refuse_unless_allowed(name, setting)
    import_from_here()
    package = name.partition(".")[0]
    if package.isidentifier() and importlib.util.find_spec(package) is None:
        raise FaceproofError(
            f"{setting} = {name!r} cannot be imported: No module named {package!r} in {Path.cwd()} "
            "or among what is installed"
        )


def _refuse_unless_allowed(name: str, setting: str) -> None:
    if not is_allowed(name):
        module = name.rpartition(".")[0]
        raise FaceproofError(
            f"{setting} = {name!r} is code that is not faceproof's, and a run or an artifact may "
            f"not say that it is run; if it is yours, allow it: --allow {module} with any "
            f'command, allow=["{module}"] with faceproof.load, or {VARIABLE}={module}'
        )


def import_from_here() -> None:
    """Let modules in the working folder be imported, after those that are installed."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def _import(name: str, setting: str) -> Any:
    """Import a dotted name; modules in the working folder are found too."""
    import_from_here()
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise FaceproofError(f"{setting} = {name!r} cannot be imported: {error}") from error
