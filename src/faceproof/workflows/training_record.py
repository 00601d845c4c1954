"""How a run was trained, for a report: every choice, how long it took, and the command again.

A run may come from a stranger: what its files hold is written down and never run.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RunFolder
from faceproof.words import train_command
from faceproof.workflows.recipe import Record, group, recipe

AS_IT_IS = ("resume=", "allow=")  # overrides by which a resumed run is as it was


@contextlib.contextmanager
def recorded_time(run: RunFolder) -> Iterator[None]:
    """Add the seconds of this part of a training to the run's record, however it ends."""
    start = time.monotonic()

    def note() -> None:
        before = run.read_record().get("seconds") or 0.0
        run.update_record(seconds=round(before + time.monotonic() - start, 1))

    try:
        yield
    except BaseException:
        with contextlib.suppress(FaceproofError):  # what ended the training says more
            note()
        raise
    note()


def commands_of(run: RunFolder, overrides: Sequence[str] | None, resume: bool) -> Sequence[str]:
    """Return the commands that make a run: the first, and each that resumed it with a change."""
    before = run.read_record().get("commands") or [] if resume else []
    if overrides is None or (resume and all(word.startswith(AS_IT_IS) for word in overrides)):
        return before
    return [*before, train_command(overrides)]


def training_record(run: RunFolder) -> Record:
    """Return how a run was trained, as name and value in words; None is what is not recorded.

    Epochs count from 1.
    """
    record, config = run.read_record(), run.read_config()
    audit, versions = record.get("audit"), record.get("versions") or {}
    best, epochs = record.get("best_epoch"), record.get("epochs")
    planned = group(config, "trainer").get("max_epochs")
    chosen = f", the best by {record.get('monitor')}" if record.get("monitor") else ""
    return {
        "initial weights": record.get("weights"),
        "trained on": f"{record.get('data')} ({record.get('images')})",
        **_left_out(group(config, "leave_out")),
        "audit of these images": "; ".join(audit) or "found nothing" if audit is not None else None,
        **({} if run.ensemble.is_file() else recipe(config, record)),
        "epochs": epochs if planned in (None, epochs) else f"{epochs} of {planned}",
        "epoch used": None if best is None else f"{best + 1}{chosen}",
        "training time": _duration(record.get("seconds")),
        "device": record.get("device"),
        "precision": record.get("precision"),
        "versions": ", ".join(f"{package} {one}" for package, one in versions.items()) or None,
    }


def _left_out(values: Mapping[str, Any]) -> Record:
    """Return what training must not see, where that was set."""
    found: Record = {}
    for where, part in (("left out", values), ("left out of train", group(values, "train"))):
        named = [
            f"{column} {', '.join([names] if isinstance(names, str) else map(str, names))}"
            for column in ("source", "generator")
            if isinstance(names := part.get(column), str | list) and names
        ]
        if named:
            found[where] = "; ".join(named)
    return found


def _duration(seconds: float | None) -> str | None:
    """Write a time in hours, minutes and seconds.

    >>> _duration(42.3), _duration(100), _duration(7260)
    ('42 s', '1 min 40 s', '2 h 1 min')
    """
    if seconds is None:
        return None
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
