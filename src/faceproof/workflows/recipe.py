"""The recipe of a training: every setting that changed it, as name and value in words.

The report, the run's record and the detector's card have it. A run may come from a stranger: what
its files hold is written down and never run.
"""

from collections.abc import Mapping
from typing import Any

from faceproof.words import after_epochs

Record = dict[str, str | int | float | None]

# What a setting has that changes nothing.
OF_NOTHING: tuple[Any, ...] = (None, False, 0, 0.0, "none", [], {})
GRADIENTS = ("gradient_clip_val", "gradient_clip_algorithm")


def recipe(config: Mapping[str, Any], record: Mapping[str, Any]) -> Record:
    """Return the settings that one would write down to train the same again, in words.

    Args:
        config: the settings of a run, as plain values.
        record: its record, with the network's input and what was chosen from `conf/`.
    """
    choices = record.get("choices") or {}
    return {
        "input": _input(group(group(config, "model"), "input"), group(record, "input")),
        "optimizer": _optimizer(group(config, "optimizer")),
        "learning-rate schedule": _named(group(config, "scheduler")),
        "batch size": _batch_size(config),
        "loss": _named(group(config, "loss")),
        "augmentation": _augmentation(choices.get("augment"), group(config, "augment")),
        **_synthesis(group(config, "synthesis"), record),
        "what trains when": _freezing(group(config, "freeze").get("stages")),
        **_methods(config),
        "class weights": _plain(config.get("class_weights")),
        "early stopping": _patience(config),
        "seed": config.get("seed"),
    }


def told(found: Record) -> dict[str, str]:
    """Return what is known of a recipe, as texts alone."""
    return {name: str(value) for name, value in found.items() if value is not None}


def _input(given: Mapping[str, Any], resolved: Mapping[str, Any]) -> str | None:
    """Return what the network saw of an image; `resolved` is what was left open in `given`."""
    values = {**given, **resolved}
    if (size := values.get("size")) is None:
        return None
    what = [f"{size} x {size} pixels", str(values.get("mode", "resize"))]
    more = {name: values.get(name) for name in ("resize_to", "tiles", "tta")}
    return ", ".join([*what, *_options(more)])


def _methods(config: Mapping[str, Any]) -> Record:
    """Return what else changed the training; what was off is left out."""
    named = {
        "input branch": group(group(config, "model"), "branch"),
        "adapter": group(config, "adapter"),
        "images mixed by": group(config, "mix"),
        "taught by": group(config, "distill"),
    }
    found = {name: _named(one) for name, one in named.items() if one.get("name") not in OF_NOTHING}
    trainer = group(config, "trainer")
    plain = {
        "average of the weights": _options({name: config.get(name) for name in ("ema", "swa")}),
        "gradients": _options({name: trainer.get(name) for name in GRADIENTS}),
        "cached views of an image": _options({"views": group(config, "cache").get("views")}),
    }
    told_here = {name: ", ".join(options) for name, options in plain.items() if options}
    return {**_sampling(group(config, "loader")), **found, **told_here}


def _sampling(loader: Mapping[str, Any]) -> Record:
    """Return how training images were drawn, where not each of them once an epoch."""
    sampler, weights = loader.get("sampler"), loader.get("source_weights")
    if sampler in (None, "shuffled"):
        return {}
    return {"sampling": ", ".join([str(sampler), *_options({"source_weights": weights})])}


def group(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a group of settings; empty where there is none."""
    values = config.get(name)
    return values if isinstance(values, Mapping) else {}


def _plain(value: Any) -> str | None:
    return None if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _options(values: Mapping[str, Any]) -> list[str]:
    """Return the settings that change something, as name=value."""
    return [f"{name}={_plain(value)}" for name, value in values.items() if value not in OF_NOTHING]


def _named(values: Mapping[str, Any]) -> str | None:
    """Return the choice of a group and its settings."""
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
    options = _options(group(values, "options"))
    return ", ".join([str(values.get("name")), rate, decay, *more, *options])


def _batch_size(config: Mapping[str, Any]) -> str | None:
    trainer, size = group(config, "trainer"), group(config, "loader").get("batch_size")
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
    if values.get("same_in_pairs") is False:
        settings.append("same_in_pairs=False")
    return f"{choice} ({', '.join(settings)})" if choice else ", ".join(settings)


def _synthesis(values: Mapping[str, Any], record: Mapping[str, Any]) -> Record:
    """Return what pseudo-fakes were trained on, if any were."""
    if values.get("share") in OF_NOTHING:
        return {}
    settings = _options({name: values.get(name) for name in ("share", "faces", "autoencoder")})
    return {"pseudo-fakes": ", ".join([str(record.get("synthesis")), *settings])}


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
