"""How threads wait for each other."""

import os
from collections.abc import MutableMapping

# Turns of a loop, some tens of microseconds: longer than the gap between two operations.
SPINS = 30_000


def wait_briefly(settings: MutableMapping[str, str] = os.environ) -> None:
    """Have the threads that share an arithmetic operation sleep soon after it, unless told else.

    By default GNU's OpenMP has them spin for ten times as long, and take the cores from the threads
    that decode the next images (see `data.cores`). Where they sleep at once, waking them takes up
    to a fifth of the time of a network of many small operations. To be called before torch is
    imported, which settles it.
    """
    if "OMP_WAIT_POLICY" not in settings:
        settings.setdefault("GOMP_SPINCOUNT", str(SPINS))
