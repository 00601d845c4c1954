"""Where what can be computed or fetched again is kept."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder for what can be computed again: FACEPROOF_CACHE or ~/.cache/faceproof."""
    return Path(os.environ.get("FACEPROOF_CACHE") or Path.home() / ".cache" / "faceproof")
