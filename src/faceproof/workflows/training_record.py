"""How a run was trained, for a report: every choice, how long it took, and the command again.

A run may come from a stranger: what its files hold is written down and never run.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RunFolder
from faceproof.words import after_epochs, train_command

Record = dict[str, str | int | float | None]

AS_IT_IS = ("resume=", "allow=")  # overrides by which a resumed run is as it was
OF_NOTHING: tuple[Any, ...] = (
    None,
    False,
    0,
    0.0,
    "none",
    [],
)  # what a setting has that changes nothing


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
    planned = _group(config, "trainer").get("max_epochs")
    chosen = f", the best by {record.get('monitor')}" if record.get("monitor") else ""
    return {
        "initial weights": record.get("weights"),
        "trained on": f"{record.get('data')} ({record.get('images')})",
        **_left_out(_group(config, "leave_out")),
        "audit of these images": "; ".join(audit) or "found nothing" if audit is not None else None,
        **({} if run.ensemble.is_file() else _settings(config, record)),
        "epochs": epochs if planned in (None, epochs) else f"{epochs} of {planned}",
        "epoch used": None if best is None else f"{best + 1}{chosen}",
        "training time": _duration(record.get("seconds")),
        "device": record.get("device"),
        "precision": record.get("precision"),
        "versions": ", ".join(f"{package} {one}" for package, one in versions.items()) or None,
    }


def _settings(config: Mapping[str, Any], record: Mapping[str, Any]) -> Record:
    """Return the settings that one would write down to train the same again."""
    choices = record.get("choices") or {}
    size = _group(_group(config, "model"), "input").get("size")
    found: Record = {
        "input size": None if size is None else f"{size} x {size} pixels",
        "optimizer": _optimizer(_group(config, "optimizer")),
        "learning-rate schedule": _schedule(_group(config, "scheduler")),
        "batch size": _batch_size(config),
        "loss": _schedule(_group(config, "loss")),
        "augmentation": _augmentation(choices.get("augment"), _group(config, "augment")),
        **_synthesis(_group(config, "synthesis"), record),
        "what trains when": _freezing(_group(config, "freeze").get("stages")),
        **_methods(config),
        "class weights": _plain(config.get("class_weights")),
        "early stopping": _patience(config),
        "seed": config.get("seed"),
    }
    return found


def _left_out(values: Mapping[str, Any]) -> Record:
    """Return what training must not see, where that was set."""
    found: Record = {}
    for where, part in (("left out", values), ("left out of train", _group(values, "train"))):
        named = [
            f"{column} {', '.join([names] if isinstance(names, str) else map(str, names))}"
            for column in ("source", "generator")
            if isinstance(names := part.get(column), str | list) and names
        ]
        if named:
            found[where] = "; ".join(named)
    return found


def _methods(config: Mapping[str, Any]) -> Record:
    """Return what else changed the training; what was off is left out."""
    groups = {"adapter": "adapter", "images mixed by": "mix", "taught by": "distill"}
    chosen = {words: _group(config, name) for words, name in groups.items()}
    return {
        words: _schedule(values)
        for words, values in chosen.items()
        if values.get("name") not in OF_NOTHING
    }


def _group(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    values = config.get(name)
    return values if isinstance(values, Mapping) else {}


def _plain(value: Any) -> str | None:
    return None if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _options(values: Mapping[str, Any]) -> list[str]:
    """Return the settings that change something, as name=value."""
    return [f"{name}={_plain(value)}" for name, value in values.items() if value not in OF_NOTHING]


def _schedule(values: Mapping[str, Any]) -> str | None:
    if not values:
        return None
    of_resuming = ("name", "more_epochs")
    rest = {name: value for name, value in values.items() if name not in of_resuming}
    return ", ".join([str(values.get("name")), *_options(rest)])


def _optimizer(values: Mapping[str, Any]) -> str | None:
    if not values:
        return None
    backbone = values.get("backbone_lr")
    rate = f"learning rate {_plain(values.get('lr'))}"
    if backbone is not None:
        rate += f" ({_plain(backbone)} for the backbone)"
    decay = f"weight decay {_plain(values.get('weight_decay'))}"
    more = _options({name: values.get(name) for name in ("layer_decay", "sam_rho")})
    options = _options(_group(values, "options"))
    return ", ".join([str(values.get("name")), rate, decay, *more, *options])


def _batch_size(config: Mapping[str, Any]) -> str | None:
    trainer, size = _group(config, "trainer"), _group(config, "loader").get("batch_size")
    gathered = trainer.get("accumulate_grad_batches")
    more = f", gradients of {gathered} batches added" if gathered not in (None, 1) else ""
    return None if size is None else f"{size}{more}"


def _augmentation(choice: Any, values: Mapping[str, Any]) -> str | None:
    if choice is None and not values:
        return None
    ranges = {name: value for name, value in values.items() if (name, value) != ("strength", 1.0)}
    web = _web(ranges.pop("web", None))
    if not web and not ranges.get("torchvision"):
        ranges.pop("same_in_pairs", None)
    settings = _options(ranges | web)
    if not settings:
        return "none"
    return f"{choice} ({', '.join(settings)})" if choice else ", ".join(settings)


def _synthesis(values: Mapping[str, Any], record: Mapping[str, Any]) -> Record:
    """Return what pseudo-fakes were trained on, if any were."""
    if values.get("share") in OF_NOTHING:
        return {}
    faces = f"share={_plain(values.get('share'))}, faces={values.get('faces')}"
    return {"pseudo-fakes": f"{record.get('synthesis')}, {faces}"}


def _web(values: Any) -> dict[str, Any]:
    """Return what happens to images in the loader: probabilities above 0, and their ranges."""
    held = values if isinstance(values, Mapping) else {}
    done = {name for name, value in held.items() if "_" not in name and value not in OF_NOTHING}
    kept = {name: value for name, value in held.items() if name.partition("_")[0] in done}
    return {f"web.{name}": value for name, value in kept.items()}


def _freezing(stages: Any) -> str | None:
    """Return what trains from when on, stage by stage."""
    if not isinstance(stages, list):
        return None
    parts = []
    for stage in stages:
        found = stage if isinstance(stage, Mapping) else {}
        terms, begin = found.get("train"), found.get("from_epoch")
        named = " and ".join(map(str, terms)) if isinstance(terms, list) else str(terms)
        parts.append(f"{named} {after_epochs(begin) if isinstance(begin, int) else begin}")
    return "; ".join(parts)


def _patience(config: Mapping[str, Any]) -> str:
    patience = config.get("patience")
    return "none" if patience is None else f"after {patience} epochs without improvement"


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
