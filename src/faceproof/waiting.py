"""How threads wait for each other."""

import os


def wait_without_spinning() -> None:
    """Have the threads that share an arithmetic operation sleep between two, unless told otherwise.

    By default they spin for a while, and take the cores from the threads that decode the next
    pictures (see `data.cores`). To be called before torch is imported, which settles it.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
