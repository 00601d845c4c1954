"""Whether timm has a backbone, told from its code without importing it, which takes seconds."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from faceproof.errors import FaceproofError
from faceproof.lookup import allowed

REGISTERED = re.compile(r"@register_model\s+def (\w+)\(")


def check_timm_name(model: Any) -> None:
    """Refuse settings of a model whose backbone is none of timm's, though they say so.

    Where timm's code does not look as it should, or names the backbone in another way, as it does
    with those that are called otherwise now, `timm_backbone` says later what there is.

    Raises:
        FaceproofError: timm has no such model; it says which names are like it.
    """
    backbone = model.get("backbone") if isinstance(model, Mapping) else None
    if not isinstance(backbone, Mapping) or backbone.get("name") != "timm":
        return
    name = backbone.get("model")
    if not isinstance(name, str) or allowed():  # code of the user's own may register models
        return
    architecture = name.partition(".")[0]
    code = _code()
    if any(map(re.compile(rf"\b{re.escape(architecture)}\b").search, code)):
        return
    known = {model for text in code for model in REGISTERED.findall(text)}
    if not known:
        return
    similar = get_close_matches(architecture, sorted(known), n=5)
    hint = f"; names like it: {', '.join(similar)}" if similar else ""
    raise FaceproofError(f"timm has no model {name!r}{hint} (timm.list_models() has them all)")


def _code() -> list[str]:
    """Return the files in which timm registers models."""
    spec = find_spec("timm")
    folder = Path((spec and spec.origin) or "").parent / "models"
    return [file.read_text("utf-8") for file in sorted(folder.glob("*.py"))]
