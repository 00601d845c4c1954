"""Knows Hydra, with `programs`: composes a configuration and calls a workflow with plain values.

Heavy imports stand inside functions, so that `--help`, `--cfg job` and shell completion are fast.
"""

import functools
import logging
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from faceproof import lookup, words
from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RunFolder, find_run, flatten, is_first_process
from faceproof.settings import SettingError, UnknownSettingError, make
from faceproof.workflows.sweep_folder import sweep_name

if TYPE_CHECKING:
    from faceproof.data import DataSet
    from faceproof.data.listing import Source

log = logging.getLogger(__name__)

# What may be changed when a run is resumed; all else is in its checkpoint or was decided by then.
CHANGEABLE = (
    "trainer.", "loader.", "cache.images", "cache.features", "cache.max_gb", "checkpoint.",
    "threshold.", "calibration", "patience", "compile", "scheduler.more_epochs",
)  # fmt: skip
# Settings of the command itself; a training has no use for them.
OF_THE_COMMAND = ("allow", "compare", "experiments", "resume", "sweep")
# Where a configuration may name code of the user's own.
OWN_CODE = (
    "data.kind", "model.backbone.name", "model.head.name", "optimizer.name", "scheduler.name",
    "trainer.strategy.name",
)  # fmt: skip
MENDABLE = (FaceproofError, HydraException, OmegaConfBaseException)
INTERPOLATED = re.compile(r"\$\{\.*([\w.]+)")


def config_root() -> Path:
    """Return the folder that holds conf/ and experiments/: this package's, or a checkout."""
    package = Path(__file__).parent
    return package if (package / "conf").is_dir() else package.parents[1]


def run_folder(resume: str | None, fresh: str) -> str:
    """Return the folder of a run: that of the run to resume, or a fresh one."""
    return fresh if resume is None else str(find_run(resume).path)


def name_of_sets(choices: Mapping[Any, Any]) -> str:
    """Return the name of the data set that is chosen: `a+b` for `data=[a,b]`."""
    sets = [str(one) for key, one in choices.items() if str(key).startswith("data@data.sets.")]
    return "+".join(sets) or str(choices["data"])


def data_name(*, _root_: DictConfig) -> str:
    """Return the same while Hydra composes."""
    return name_of_sets(_root_.hydra.runtime.choices)


def choices_of(group: str, sources: Iterable[Any]) -> list[str]:
    """Return the choices of a group, in the folders that Hydra has searched."""
    folders = [Path(source.path) / group for source in sources if source.schema == "file"]
    return sorted({file.stem for folder in folders for file in folder.glob("[!_]*.yaml")})


def choices_help(program: str, *, _root_: DictConfig) -> str:
    """Return a line for each group with its choices, for the help of a program."""
    sources = _root_.hydra.runtime.config_sources
    written = OmegaConf.to_container(OmegaConf.load(config_root() / "conf" / f"{program}.yaml"))
    assert isinstance(written, dict)
    lines = {f"{group}=": choices_of(group, sources) for group in _groups(written["defaults"])}
    texts = [", ".join(choices) for choices in lines.values()]
    wrapped = [textwrap.fill(text, 98, initial_indent=" " * 15, subsequent_indent=" " * 15,
                             break_on_hyphens=False).lstrip() for text in texts]  # fmt: skip
    return "\n".join(f"  {key:13}{text}" for key, text in zip(lines, wrapped, strict=True))


OmegaConf.register_new_resolver("faceproof_choices", choices_help, replace=True)
OmegaConf.register_new_resolver("faceproof_data", data_name, replace=True)
OmegaConf.register_new_resolver("faceproof_run_folder", run_folder, replace=True)
OmegaConf.register_new_resolver("faceproof_sweep_name", sweep_name, replace=True)


def command_line(given: Sequence[str]) -> list[str]:
    """Return the words of a command line as Hydra takes them; see `words`."""
    return words.combined(words.prepared(given))


def message(error: BaseException) -> str:
    """Return the message of the error that a configuration library has wrapped."""
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    for one in causes:
        if isinstance(one, FaceproofError):
            return str(one)
    last = causes[-1]
    parent = getattr(last, "parent_node", None)
    if isinstance(last, ConfigKeyError | ConfigAttributeError) and isinstance(parent, DictConfig):
        return str(UnknownSettingError(str(last.full_key), map(str, parent)))
    said = dict.fromkeys(str(one) for one in causes if str(one))
    text = "\n".join(said).partition("\nConfig search path:")[0]
    return f"the configuration cannot be used: {text}"


def train(config: DictConfig) -> float:
    """Train what a configuration describes and return the best value of the monitored metric."""
    lookup.allow(config.get("allow") or ())
    refuse_unread(config)
    resume, overrides = config.resume is not None, list(HydraConfig.get().overrides.task)
    run = find_run(config.resume) if resume else RunFolder(HydraConfig.get().runtime.output_dir)
    run.refuse_links()
    if resume:
        values, choices = resumed_values(run, overrides)
    else:
        run.refuse_begun()
        values, choices = training_values(config), _choices(config)

    from faceproof.workflows import train as workflow

    return workflow.train(run, values, choices, resume, overrides)


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
    known = set(_written("train"))
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


def _written(name: str) -> dict[str, Any]:
    """Return the settings and groups that a file at the top of conf/ has."""
    written = plain(OmegaConf.load(config_root() / "conf" / f"{name}.yaml"), resolve=False)
    known = dict.fromkeys(_groups(written.pop("defaults"))) | written
    return {name: value for name, value in known.items() if name != "hydra"}


def _groups(defaults: list[Any]) -> list[str]:
    """Return the groups that a defaults list chooses from."""
    groups = [key for entry in defaults if isinstance(entry, dict) for key in entry]
    return [group for group in groups if not group.startswith("override")]


def _interpolated(node: Any) -> Iterator[str]:
    """Yield the names that other settings read by an interpolation, as `${side}` does."""
    if isinstance(node, Mapping | list):
        for part in node.values() if isinstance(node, Mapping) else node:
            yield from _interpolated(part)
    elif isinstance(node, str):
        for path in INTERPOLATED.findall(node):
            yield from path.split(".")


def allow_own_code(values: Mapping[str, Any]) -> None:
    """Allow the modules whose code the user's own settings name; see `lookup`."""
    for key, name in flatten(values).items():
        place = re.sub(r"^data\.(sets\.[^.]+\.)+", "data.", key)
        if place in OWN_CODE and isinstance(name, str) and "." in name:
            lookup.allow([name.rpartition(".")[0]])


def _choices(config: DictConfig) -> dict[str, str]:
    """Return which file of conf/ each group was taken from."""
    choices = HydraConfig.get().runtime.choices
    chosen = {key: choices[key] for key in map(str, config) if choices.get(key) is not None}
    return chosen | ({"data": name_of_sets(choices)} if "data" in chosen else {})


def plain(config: Any, resolve: bool = True) -> dict[str, Any]:
    """Return a configuration as plain Python values; nothing in it may be left open if resolved."""
    held = OmegaConf.to_container(config, resolve=resolve, throw_on_missing=resolve)
    assert isinstance(held, dict)
    values: dict[str, Any] = words.as_typed(held)
    return values


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
        if not key.startswith(CHANGEABLE) or key not in flat or override.is_delete():
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
    if "num_workers" in loader:
        loader["num_workers"] = recorded_workers(loader["num_workers"])
    for name, criterion in (("fpr", "fpr"), ("value", "fixed")):  # runs of old have both
        if name in threshold and threshold.get("criterion") != criterion:
            threshold[name] = None


def compose_data(overrides: list[str]) -> "DataSet":
    """List the data set that overrides such as `data=NAME` describe; several are one.

    Raises:
        FaceproofError: they name no data set or no setting of it, or it cannot be listed.
    """
    if others := [word for word in overrides if not word.lstrip("+").startswith("data")]:
        raise FaceproofError(f"{others[0]!r} is no setting of a data set; name one by data=NAME")
    overrides = command_line(overrides)
    try:
        with _composing():
            config = compose("train", overrides)
        values = plain(config.data)
    except (HydraException, OmegaConfBaseException) as error:
        raise FaceproofError(message(error)) from error
    return list_data(values)


def compose_choice(group: str, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in `conf/GROUP/NAME.yaml` as plain values, some of them replaced.

    Raises:
        FaceproofError: there is no such file, or a setting is left open.
    """
    try:
        with _composing():
            config = compose("train", [f"{group}={name}"])
        OmegaConf.set_struct(config, False)  # folder words are the user's; others are checked later
        config[group] = OmegaConf.merge(config[group], dict(settings))
        return plain(config[group])
    except (HydraException, OmegaConfBaseException) as error:
        raise FaceproofError(message(error)) from error


@contextmanager
def _composing() -> Iterator[None]:
    """Let Hydra compose, also within another program of Hydra's."""
    say_own_conf()
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_root() / "conf"), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = outer  # Hydra puts another instance there


def own_conf() -> Path | None:
    """Return the `conf/` in the working folder, which comes before faceproof's, if there is one.

    Raises:
        FaceproofError: it belongs to another program, whose settings would take over.
    """
    own = Path.cwd() / "conf"
    if not own.is_dir() or own.samefile(config_root() / "conf"):
        return None
    for name in ("train", "evaluate"):
        if (own / f"{name}.yaml").is_file():
            raise FaceproofError(
                f"{own / name}.yaml would take the place of faceproof's own settings; a conf/ of "
                "yours holds folders such as conf/data and conf/model: rename the file, or start "
                "in another folder"
            )
    return own


@functools.cache
def _say_once(own: Path) -> None:
    log.info("%s comes before faceproof's own conf/", own)


def say_own_conf() -> None:
    """Say, once in a process, that choices come from a `conf/` in the working folder."""
    if (own := own_conf()) is not None and is_first_process():
        _say_once(own)


def list_data(values: Mapping[str, Any]) -> "DataSet":
    """List the data set that the user's settings describe."""
    return _source(values, "data").list()


def _source(values: Mapping[str, Any], where: str) -> "Source":
    from faceproof.data.sources import make_source, resolve

    allow_own_code({where: values})
    try:
        return make_source(resolve(values))
    except SettingError as error:
        raise error.within(where) from error


def evaluate(config: DictConfig) -> Path:
    """Score the best epoch of a run on a split of a data set, and return the report's folder."""
    from faceproof.evaluation.config import EvaluateConfig

    lookup.allow(config.get("allow") or ())
    values = {name: value for name, value in plain(config).items() if name not in ("allow", "data")}
    settings = make(EvaluateConfig, values)

    from faceproof.workflows import evaluate as workflow

    return workflow.evaluate(settings, functools.partial(requested_data, config))


def requested_data(config: DictConfig) -> list["DataSet"]:
    """Return the data sets that an evaluation names: none, one, or each of `data=[a,b,c]`."""
    if "data" not in config:
        return []
    choice = HydraConfig.get().runtime.choices.get("data")
    if choice is None:
        raise FaceproofError("the settings data.* are of no data set; name one by data=NAME")
    values = plain(config.data)
    if choice != words.SETS_CHOICE:
        return [list_data(values)]
    for word in map(str, HydraConfig.get().overrides.task):
        if re.match(r"[+~]*data\.(max_unreadable|allow_leaks)=", word):
            raise FaceproofError(
                f"{word} cannot be set for several data sets at once: each is evaluated as it is; "
                "set it as data.sets.NAME.max_unreadable"
            )
    from faceproof.data.listing import list_part

    sources = {name: _source(one, f"data.sets.{name}") for name, one in values["sets"].items()}
    return [list_part(name, source) for name, source in sources.items()]


def _parsed(overrides: list[str]) -> list[Override]:
    parsed: list[Override] = OverridesParser.create().parse_overrides(overrides)
    return parsed
