"""Makes a process on another machine work like that of the command; refuses a machine that cannot.

Used by every worker of a cluster, whatever it computes; knows no cluster.
"""

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from faceproof import __version__, lookup
from faceproof.errors import FaceproofError
from faceproof.performance.cores import take_share
from faceproof.performance.memory import reuse_memory


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker process takes over from the command, as plain values.

    Attributes:
        cores: how many of the machine's are the worker's.
        allow: modules of the user's own code that may be imported, and object stores.
        working_folder: where relative paths begin; None where there are none.
        places: files and folders that the worker must see.
        version: of faceproof.
    """

    cores: int
    allow: tuple[str, ...] = ()
    working_folder: str | None = None
    places: tuple[str, ...] = ()
    version: str = __version__

    def apply(self) -> None:
        """Make this process like the one of the command.

        Raises:
            FaceproofError: this machine has another version, or does not see a place.
        """
        here = socket.gethostname()
        if self.version != __version__:
            raise FaceproofError(
                f"{here} has faceproof {__version__} and the command {self.version}; install the "
                "same version on all machines of the cluster"
            )
        own = [] if self.working_folder is None else [self.working_folder]
        for place in (*own, *self.places):
            if not Path(self.working_folder or "", place).exists():
                raise FaceproofError(
                    f"{here} does not see {place}; all machines of the cluster must see the "
                    "images, the detector and the output by the same paths"
                )
        if self.working_folder is not None:
            os.chdir(self.working_folder)
        lookup.allow(self.allow)
        reuse_memory()
        take_share(self.cores)


def working_folder(are_absolute: bool, allow: Iterable[str]) -> str | None:
    """Return the folder that a worker must be in too: for relative paths, and the user's code."""
    has_own_code = any("://" not in word for word in allow)
    return None if are_absolute and not has_own_code else str(Path.cwd())
