"""Shorten the time for which idle threads of an arithmetic operation keep their cores busy.

Switch: `threads`. GNU's OpenMP lets the threads spin for ten times as long by default, and take the
cores from the threads that decode the next images; if they slept at once, waking them would take
up to a fifth of the time of a network of many small operations.
Gain: against threads that sleep at once, `face_cnn` trains at 1,235 images a second instead of
1,117 and `densenet121` at 26.9 instead of 22.4 (docs/performance.md).
"""

import os
from collections.abc import MutableMapping

from faceproof.performance import is_enabled

# Turns of a loop, some tens of microseconds: longer than the gap between two operations.
SPINS = 30_000


def wait_briefly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set how long threads spin before they sleep, unless the user has set it.

    Call this before torch is imported: OpenMP reads the variables once.
    """
    if is_enabled("threads", environment) and "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", str(SPINS))
