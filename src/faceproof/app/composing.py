"""Composes configurations by Hydra, and makes plain Python values of them.

What Hydra's files may interpolate, such as the name of a run's folder, is registered here.
"""

import contextlib
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from faceproof import lookup, words
from faceproof.app.conf import choices_of, config_root, groups_of, purpose, say_own_conf
from faceproof.app.mistakes import message, own_folder
from faceproof.errors import FaceproofError
from faceproof.io.newest_runs import find_resumable
from faceproof.io.run_folder import flatten
from faceproof.settings import SettingError
from faceproof.workflows.sweep_folder import sweep_name

if TYPE_CHECKING:
    from faceproof.data import DataSet
    from faceproof.data.listing import Source

# Where a configuration may name code of the user's own.
OWN_CODE = (
    "data.kind", "model.backbone.name", "model.head.name", "model.branch.name", "optimizer.name",
    "scheduler.name", "trainer.strategy.name", "data.prepare.detector", "loss.name",
)  # fmt: skip
WIDTH = 100  # columns of the help
CHOICES = 24  # columns of it for the names of choices


def run_folder(resume: str | None, fresh: str) -> str:
    """Return the folder of a run: that of the run to resume, or a fresh one."""
    return fresh if resume is None else str(find_resumable(resume).path)


def name_of_sets(choices: Mapping[Any, Any]) -> str:
    """Return the name of the data set that is chosen: `a+b` for `data=[a,b]`."""
    sets = [str(one) for key, one in choices.items() if str(key).startswith("data@data.sets.")]
    return "+".join(sets) or str(choices["data"])


def data_name(*, _root_: DictConfig) -> str:
    """Return the same while Hydra composes."""
    return name_of_sets(_root_.hydra.runtime.choices)


def choices_help(program: str, *, _root_: DictConfig) -> str:
    """Return what each group of a program is, and its choices with a line each, for its help."""
    sources = _root_.hydra.runtime.config_sources
    places = [Path(source.path) for source in sources if source.schema == "file"]
    lines = []
    for group, meaning in groups_of(program).items():
        lines.append(f"  {group}=".ljust(CHOICES) + meaning)
        for name, file in choices_of(group, places).items():
            text = textwrap.shorten(purpose(file), WIDTH - CHOICES, placeholder=" ...")
            lines.append(f"    {name}".ljust(CHOICES - 1) + f" {text}")
        lines.append("")
    return "\n".join(line.rstrip() for line in lines).rstrip()


OmegaConf.register_new_resolver("faceproof_choices", choices_help, replace=True)
OmegaConf.register_new_resolver("faceproof_data", data_name, replace=True)
OmegaConf.register_new_resolver("faceproof_run_folder", run_folder, replace=True)
OmegaConf.register_new_resolver("faceproof_sweep_name", sweep_name, replace=True)


def command_line(given: Sequence[str]) -> list[str]:
    """Return the words of a command line as Hydra takes them; see `words`."""
    return words.combined(words.prepared(given))


def plain(config: Any, resolve: bool = True) -> dict[str, Any]:
    """Return a configuration as plain Python values; nothing in it may be left open if resolved."""
    held = OmegaConf.to_container(config, resolve=resolve, throw_on_missing=resolve)
    assert isinstance(held, dict)
    values: dict[str, Any] = words.as_typed(held)
    return values


def allow_own_code(values: Mapping[str, Any]) -> None:
    """Allow the modules whose code the user's own settings name; see `lookup`."""
    for key, name in flatten(values).items():
        place = re.sub(r"^data\.(sets\.[^.]+\.)+", "data.", key)
        is_dotted = isinstance(name, str) and "." in name
        if place in OWN_CODE and is_dotted and not lookup.is_allowed(name):
            lookup.allow([name.rpartition(".")[0]])


def compose_data(overrides: list[str]) -> "DataSet":
    """List the data set that overrides such as `data=NAME` describe; several are one.

    Raises:
        FaceproofError: they name no data set or no setting of it, or it cannot be listed.
    """
    return list_data(compose_data_settings(overrides))


def compose_data_settings(overrides: list[str]) -> dict[str, Any]:
    """Return the settings of the data set that overrides describe, as plain values.

    Raises:
        FaceproofError: they name no data set, or no setting of it.
    """
    if others := [word for word in overrides if not word.lstrip("+").startswith("data")]:
        meant = own_folder(others[0]) if Path(others[0]).is_dir() else "data=NAME"
        raise FaceproofError(f"{others[0]!r} is no setting of a data set; name one by {meant}")
    overrides = command_line(overrides)
    try:
        with _composing():
            config = compose("train", overrides)
        return plain(config.data)
    except (HydraException, OmegaConfBaseException) as error:
        raise FaceproofError(message(error)) from error


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


def list_data(values: Mapping[str, Any]) -> "DataSet":
    """List the data set that the user's settings describe."""
    return source_of(values, "data").list()


def data_refusal(config: DictConfig) -> str:
    """List the data set of a composed training; say why it cannot be, or return an empty text."""
    # What a data set of the user's own raises is no refusal; each run tells it.
    with contextlib.suppress(Exception):
        try:
            list_data(plain(config.data))
        except FaceproofError as error:
            return str(error)
    return ""


def sources_or_generators(values: Mapping[str, Any], column: str) -> list[str]:
    """List the data set that the user's settings describe, and return what can be left out of it.

    Raises:
        FaceproofError: there are fewer than two.
    """
    from faceproof.data.leave_out import names_in

    data = list_data(values)
    names = names_in(data, column)
    if len(names) < 2:
        hint = "data=[a,b,c] has three sources" if column == "source" else "fakes have generators"
        raise FaceproofError(
            f"data set {data.name} has {len(names)} {column}{'s' * (len(names) != 1)} "
            f"({', '.join(names) or 'none'}), and to leave one out takes two or more ({hint}); "
            "hydra.sweeper.over chooses between source and generator"
        )
    return names


def source_of(values: Mapping[str, Any], where: str) -> "Source":
    """Return the data set that the user's settings describe; nothing is listed yet."""
    from faceproof.data.sources import make_source, resolve

    allow_own_code({where: values})
    try:
        return make_source(resolve(values))
    except SettingError as error:
        raise error.within(where) from error
