"""Tuning for the machine at hand: each part can be switched off, and states what it gains.

The environment variable FACEPROOF_PERFORMANCE lists the parts that are used, `none` or some of
`cores,depthwise,memory,shared_memory,threads`; without it all are. No part changes a forward pass.
`python -m benchmarks performance` measures each part on and off, in turns.
"""

import os
from collections.abc import Mapping

from faceproof.errors import FaceproofError

VARIABLE = "FACEPROOF_PERFORMANCE"
PARTS = ("cores", "depthwise", "memory", "shared_memory", "threads")


def is_enabled(part: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Say whether a part of this package is switched on; refuse an unknown one in the variable."""
    assert part in PARTS
    text = environment.get(VARIABLE)
    if text is None or not text.strip():
        return True
    names = {name.strip() for name in text.split(",")} - {"none", ""}
    if unknown := sorted(names - set(PARTS)):
        raise FaceproofError(
            f"{VARIABLE}={text} names the part {unknown[0]}; it must be none, or a list of "
            f"{', '.join(PARTS)}"
        )
    return part in names
