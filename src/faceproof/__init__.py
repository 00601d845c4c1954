"""faceproof: train, compare, judge and serve detectors for face images."""

import importlib
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import `faceproof.load` of `inference.predictor` on first use, because it imports torch.

    By its name, because parts of this package that know no torch import this module too.
    """
    if name == "load":
        return importlib.import_module("faceproof.inference.predictor").load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
