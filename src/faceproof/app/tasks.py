"""What the programs do with a composed configuration: call a workflow with plain values."""

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from faceproof import lookup, words
from faceproof.app.composing import allow_own_code, name_of_sets, plain, source_of
from faceproof.app.conf import groups_of, own_settings, said_by
from faceproof.errors import FaceproofError
from faceproof.io.newest_runs import find_resumable, find_run
from faceproof.io.run_folder import RunFolder, flatten
from faceproof.settings import SettingError, UnknownSettingError, make

if TYPE_CHECKING:
    from faceproof.data import DataSet
    from faceproof.data.listing import Source

# What may be changed when a run is resumed; all else is in its checkpoint or was decided by then.
CHANGEABLE = (
    "trainer.", "loader.", "cache.images", "cache.features", "cache.max_gb", "checkpoint.",
    "threshold.", "calibration", "novelty.", "patience", "compile", "scheduler.more_epochs",
)  # fmt: skip
# Settings of the command itself; a training has no use for them.
OF_THE_COMMAND = ("allow", "compare", "experiments", "resume", "sweep")
# Where a run may name code of the user's own that its network is made of.
OWN_NETWORK = ("model.backbone.name", "model.head.name", "model.branch.name")
WITH_SUBGROUPS = ("table", "prepared")  # kinds of data sets whose images may have subgroups
INTERPOLATED = re.compile(r"\$\{\.*([\w.]+)")


def train(config: DictConfig) -> float:
    """Train what a configuration describes and return the best value of the monitored metric."""
    lookup.allow(config.get("allow") or ())
    refuse_unread(config)
    overrides = list(HydraConfig.get().overrides.task)
    if config.resume is not None:
        run = find_resumable(config.resume)
        run.refuse_links()
        values, choices = resumed_values(run, overrides)
    else:
        run = RunFolder(HydraConfig.get().runtime.output_dir)
        run.refuse_links()
        run.refuse_begun()
        values, choices = training_values(config), _choices(config)
        refuse_early(values)

    from faceproof.workflows import train as workflow

    return workflow.train(
        run, values, choices, config.resume is not None, overrides, _wants_random(overrides)
    )


def _wants_random(overrides: list[str]) -> bool:
    """Say whether the user, or an experiment, has asked for random weights.

    Those of a model's own file are no wish: whoever chooses the model may not know of them.
    """
    typed = [one.value() for one in _parsed(overrides) if one.key_or_group == "model.weights"]
    experiment = said_by("experiments", HydraConfig.get().runtime.choices.get("experiments"))
    return "none" in (typed[-1:] or [experiment.get("model.weights")])


def refuse_early(values: Mapping[str, Any]) -> None:
    """Refuse settings and folders at fault within a second, before torch is imported."""
    from faceproof.data.places import check_places
    from faceproof.training.config import check_settings
    from faceproof.training.face_checks import check_faces_early

    source, synthesis = check_settings(values)
    check_places({"data": source})
    _check_own_code(values)
    check_faces_early(synthesis, source)


def _check_own_code(values: Mapping[str, Any]) -> None:
    """Refuse networks of the user's own that are not allowed or not there."""
    flat = flatten(values)
    for setting in OWN_NETWORK:
        lookup.check_own_code(flat.get(setting), setting)


def refuse_unread(config: DictConfig) -> None:
    """Refuse what only a sweep reads; it leaves these settings out of its runs."""
    if not isinstance(config.compare, bool):
        raise SettingError("compare", f"= {config.compare!r} must be true or false")
    if config.compare:
        problem = "= true compares the runs of a sweep, and this is a single run"
        raise SettingError("compare", f"{problem}: give values by -m model=resnet18,effnet_b0")
    if config.get("sweep") is not None:
        problem = f"= {config.sweep} makes several runs, and hydra.mode=RUN asks for one"
        raise SettingError("sweep", f"{problem}: leave one of them out")


def training_values(config: DictConfig) -> dict[str, Any]:
    """Return the settings of a training as plain values, and allow the code that they name.

    Raises:
        FaceproofError: a setting is left open, or nothing reads it.
    """
    values = {name: value for name, value in plain(config).items() if name not in OF_THE_COMMAND}
    known = {*groups_of("train"), *own_settings("train")}
    interpolated = set(_interpolated(plain(config, resolve=False)))
    for name in [name for name in values if name not in known]:
        if name not in interpolated:
            raise UnknownSettingError(name, known)
        del values[name]  # it stands for a value that several others share
    allow_own_code(values)
    from faceproof.data.sources import resolve

    try:
        return values | {"data": resolve(values["data"])}
    except SettingError as error:
        raise error.within("data") from error


def _interpolated(node: Any) -> Iterator[str]:
    """Yield the names that other settings read by an interpolation, as `${side}` does."""
    if isinstance(node, Mapping | list):
        for part in node.values() if isinstance(node, Mapping) else node:
            yield from _interpolated(part)
    elif isinstance(node, str):
        for path in INTERPOLATED.findall(node):
            yield from path.split(".")


def _choices(config: DictConfig) -> dict[str, str]:
    """Return which file of conf/ each group was taken from."""
    choices = HydraConfig.get().runtime.choices
    chosen = {key: choices[key] for key in map(str, config) if choices.get(key) is not None}
    return chosen | ({"data": name_of_sets(choices)} if "data" in chosen else {})


def resumed_values(run: RunFolder, overrides: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings of a run to resume, changed by the command line, and its choices.

    The run's configuration is read as plain data: nothing in it is interpolated or called.

    Raises:
        FaceproofError: the run cannot be resumed, or an override is not one of its settings.
    """
    run.require(run.config, run.last, run.samples)
    values, record = run.read_config(), run.read_record()
    choices = record.get("choices", {})
    _bring_here(values)
    flat = flatten(values)
    if flat.get("trainer.precision") == "auto" and "precision" in record:
        values["trainer"]["precision"] = record["precision"]  # another machine may choose another
    for override in _parsed(overrides):
        key = override.key_or_group
        if key in ("allow", "resume") or (key in choices and override.value() == choices[key]):
            continue
        is_known = key in flat or key.removeprefix("trainer.") in words.TRAINER_OPTIONS
        if not key.startswith(CHANGEABLE) or not is_known or override.is_delete():
            raise FaceproofError(
                f"{override.input_line} cannot be changed when a run is resumed: its configuration "
                f"in {run.config.name} stands, and only single settings of {', '.join(CHANGEABLE)} "
                "may be given anew, such as trainer.max_epochs=20"
            )
        *groups, name = key.split(".")
        functools.reduce(dict.__getitem__, groups, values)[name] = override.value()
    return values, choices


def _bring_here(values: dict[str, Any]) -> None:
    """Change what a run recorded to what this version and this machine take."""
    from faceproof.augment.transforms import Augment
    from faceproof.data.loader_config import recorded_workers
    from faceproof.evaluation.operating_point import MAX_RISK_OF_OLD

    parts = [values.get(name) for name in ("scheduler", "loader", "threshold")]
    scheduler, loader, threshold = (one if isinstance(one, dict) else {} for one in parts)
    if scheduler.get("name") == "cosine":  # runs of old have no such setting
        scheduler.setdefault("more_epochs", "keep")
    cache = values.get("cache")
    if isinstance(cache, dict):  # runs of old may have what changes nothing
        if cache.get("views") is not None and not make(Augment, values["augment"]).changes:
            cache["views"] = None
        if cache.get("images") == cache.get("features") == "none":
            cache.pop("max_gb", None)
    values.setdefault("novelty", {"rate": None})
    if isinstance(values.get("threshold"), dict):
        threshold.setdefault("max_risk", MAX_RISK_OF_OLD)  # what it aimed at
    if "num_workers" in loader:
        loader["num_workers"] = recorded_workers(loader["num_workers"])
    for name, criterion in (("fpr", "fpr"), ("value", "fixed")):  # runs of old have both
        if name in threshold and threshold.get("criterion") != criterion:
            threshold[name] = None


def evaluate(config: DictConfig) -> Path:
    """Score the best epoch of a run on a split of a data set, and return the report's folder."""
    from faceproof.evaluation.config import EvaluateConfig

    lookup.allow(config.get("allow") or ())
    values = {name: value for name, value in plain(config).items() if name not in ("allow", "data")}
    settings = make(EvaluateConfig, values)
    run = find_run(settings.run)
    run.require(run.config, run.samples)
    config_of_run = run.read_config()  # a damaged one is named first
    run.require(run.operating_point)
    if not run.ensemble.is_file():
        _check_own_code(config_of_run)
    sources = requested_data(config, settings.subgroups)

    from faceproof.workflows import evaluate as workflow

    return workflow.evaluate(settings, lambda: [_list(*one) for one in sources.items()])


def _list(where: str, source: "Source") -> "DataSet":
    """List a data set that stands at a place of the settings."""
    from faceproof.data.combined import list_part

    return source.list() if where == "data" else list_part(where.removeprefix("data.sets."), source)


def requested_data(
    config: DictConfig, subgroups: Sequence[str] | None = None
) -> dict[str, "Source"]:
    """Return the data sets that an evaluation names: none, one, or each of `data=[a,b,c]`.

    Each has its place in the settings; nothing is listed yet. The `subgroups` of the evaluation are
    those of each set that may have some and names none.
    """
    if "data" not in config:
        return {}
    choice = HydraConfig.get().runtime.choices.get("data")
    if choice is None:
        raise FaceproofError("the settings data.* are of no data set; name one by data=NAME")
    values = plain(config.data)
    if choice == words.SETS_CHOICE:
        for word in map(str, HydraConfig.get().overrides.task):
            if re.match(r"[+~]*data\.(max_unreadable|allow_leaks)=", word):
                raise FaceproofError(
                    f"{word} cannot be set for several data sets at once: each is evaluated as it "
                    "is; set it as data.sets.NAME.max_unreadable"
                )
        parts = {f"data.sets.{name}": one for name, one in values["sets"].items()}
    else:
        parts = {"data": values}
    for one in parts.values():
        if subgroups and one.get("kind") in WITH_SUBGROUPS and one.get("subgroups") is None:
            one["subgroups"] = list(subgroups)
    from faceproof.data.places import check_places

    sources = {where: source_of(one, where) for where, one in parts.items()}
    check_places({where.removeprefix("data.sets."): one for where, one in sources.items()})
    return sources


def _parsed(overrides: list[str]) -> list[Override]:
    parsed: list[Override] = OverridesParser.create().parse_overrides(overrides)
    return parsed
