"""What several processes that serve one detector behind one port have in common."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Share:
    """What one process knows of all that serve together; made once, by the one that starts them.

    Attributes:
        workers: how many there are.
        session: the word that stands for a token in a browser's cookie, so that whichever process
            answers knows it.
        metrics: the folder to which each writes what it counts; None where one process serves.
    """

    workers: int = 1
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    metrics: Path | None = None
