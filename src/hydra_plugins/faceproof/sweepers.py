"""Hydra's sweepers of faceproof: they translate Hydra's words and call faceproof.workflows.

`ProductSweeper` trains every combination of the given values, `SearchSweeper` searches by Optuna,
`LeaveOneOutSweeper` leaves out one source or generator at a time.
Hydra imports this module on every start, so nothing heavy is imported at its top; and it imports
each module here anew, so that all classes are in one.
"""

import itertools
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from faceproof import lookup
from faceproof.errors import FaceproofError
from faceproof.words import SETS_CHOICE, for_hydra, prepared

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from faceproof.workflows.sweep import Program

OF_THE_SWEEPER = ("hydra/sweeper", "hydra.sweeper.")
# How a process of its own starts; without -P a file in the working folder, such as select.py, would
# take the place of a library's.
PROGRAM = (sys.executable, "-P", "-m", "faceproof")
NUM_CHECKED = 8  # runs that are composed before the sweep begins, if the first cannot be
# What is said of the whole sweep and not of a run in a process of its own.
OF_THE_SWEEP = ("hydra/launcher", "hydra.launcher.", "hydra.sweep.", "hydra.mode", "hydra.run.")


class ProductSweeper(Sweeper):
    """Every combination of the values given for each setting."""

    config: DictConfig

    def __init__(self, params: DictConfig) -> None:
        self.params = params

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra has composed."""
        # Words about the sweeper mean nothing to the runs, which are composed without `sweep=`.
        words = [w for w in config.hydra.overrides.hydra if not w.startswith(OF_THE_SWEEPER)]
        config.hydra.overrides.hydra = words
        self.context, self.task, self.config = hydra_context, task_function, config

    def _program(self) -> "Program":
        return program(self.context, self.task, self.config)

    def sweep(self, arguments: list[str]) -> None:
        """Train the runs that are not finished, and end the program with 1 if one failed."""
        from faceproof.workflows.sweep import sweep

        with clear_exit():
            runs, swept, started = self._product(arguments)
            refuse_impossible(runs, started)
            folder = Path(self.config.hydra.sweep.dir)
            ended_well = sweep(folder, runs, swept, started, self.config.compare)
        if not ended_well:
            sys.exit(1)

    def _product(self, arguments: list[str]) -> tuple[list[list[str]], list[str], "Program"]:
        """Return the words of each combination, the keys that vary, and how a run is started."""
        overrides = parse(self.params, arguments, self.context.config_loader)
        choices = {o.get_key_element(): distinct(o, self.config) for o in overrides}
        swept = [o.get_key_element() for o in overrides if o.is_sweep_override()]
        runs = [
            [word(key, value) for key, value in zip(choices, combination, strict=True)]
            for combination in itertools.product(*choices.values())
        ]
        started = self._program()
        refuse_unknown(overrides, self.config, self.context.config_loader)
        return runs, swept, started


class SearchSweeper(ProductSweeper):
    """A search by Optuna; its settings are those of `faceproof.workflows.search.SearchConfig`."""

    def __init__(self, params: DictConfig, **settings: Any) -> None:
        super().__init__(params)
        self.settings = settings

    def sweep(self, arguments: list[str]) -> None:
        """Continue the search, and end the program with 1 if a trial failed."""
        from faceproof.lookup import allow
        from faceproof.settings import make
        from faceproof.workflows.search import SearchConfig, import_optuna, search

        with clear_exit():
            config = make(SearchConfig, self.settings, "hydra.sweeper")
            allow([config.pruner.rpartition(".")[0]])  # what the user types is the user's word
            import_optuna()
            overrides = parse(self.params, arguments, self.context.config_loader)
            space, fixed = dict[str, "BaseDistribution"](), list[str]()
            for o in overrides:
                if o.is_sweep_override():
                    space[o.get_key_element()] = distribution(o, self.config)
                else:
                    fixed.append(word(o.get_key_element(), values(o, self.config)[0]))
            folder, started = Path(self.config.hydra.sweep.dir), self._program()
            refuse_unknown(overrides, self.config, self.context.config_loader)
            monitor, compare = self.config.monitor, self.config.compare
            ended_well = search(folder, space, fixed, monitor, started, config, compare)
        if not ended_well:
            sys.exit(1)


class LeaveOneOutSweeper(ProductSweeper):
    """A run without each source or generator; the settings are those of `LeaveOneOutConfig`."""

    def __init__(self, params: DictConfig, **settings: Any) -> None:
        super().__init__(params)
        self.settings = settings

    def sweep(self, arguments: list[str]) -> None:
        """Train and judge the runs that are not, and end the program with 1 if one failed."""
        from faceproof.settings import SettingError, make
        from faceproof.workflows.leave_one_out import LeaveOneOutConfig, LeftOut, leave_one_out

        with clear_exit():
            config = make(LeaveOneOutConfig, self.settings, "hydra.sweeper")
            if self.config.compare:
                problem = "= true compares runs on the same images, and each of these has its own"
                raise SettingError("compare", f"{problem}; the table of the sweep compares them")
            runs, swept, started = self._product(arguments)
            if any(word.startswith(f"{config.setting}=") for word in runs[0]):
                problem = "is what the sweep goes over: it leaves out each in turn"
                raise SettingError(config.setting, f"{problem}; leave it out")
            refuse_impossible(runs, started)
            left_out = [
                LeftOut(name, [*run, f"{config.setting}={for_hydra(name)}"])
                for run in runs
                for name in self._names(run, config.over)
            ]
            folder = Path(self.config.hydra.sweep.dir)
            ended_well = leave_one_out(folder, left_out, swept, started, config)
        if not ended_well:
            sys.exit(1)

    def _names(self, run: Sequence[str], column: str) -> Sequence[str]:
        """List the data set of a run, and return its sources or generators."""
        from faceproof.app import message, plain, sources_or_generators

        try:
            composed = self.context.config_loader.load_sweep_config(self.config, list(run))
            values = plain(composed.data)
        except (HydraException, OmegaConfBaseException) as error:
            raise FaceproofError(message(error)) from error
        return sources_or_generators(values, column)


def refuse_unknown(overrides: Sequence[Override], config: DictConfig, loader: ConfigLoader) -> None:
    """Refuse a sweep with a choice that no group has, before its first run.

    Raises:
        FaceproofError: it names the choice, and what was probably meant.
    """
    from faceproof.app import refuse_unknown_choice

    for override in overrides:
        group = override.key_or_group
        if not override.is_delete() and (known := loader.get_group_options(group)):
            found = values(override, config) if not _is_drawn(override) else []
            # Of `data=[a,b]` the words have that choice, which nobody types.
            usual = [one for one in known if one[0] != "_" or one == SETS_CHOICE in found]
            refuse_unknown_choice(group, found, usual)


def _is_drawn(override: Override) -> bool:
    return override.is_sweep_override() and not override.is_discrete_sweep()


def refuse_impossible(runs: Sequence[Sequence[str]], started: "Program") -> None:
    """Refuse a sweep of which none of the first runs can be composed; one such run fails alone.

    Raises:
        FaceproofError: it says why the first cannot be.
    """
    first = [started.check(run) for run in runs[:1]]
    if all(first) and all(started.check(run) for run in runs[1:NUM_CHECKED]):
        raise FaceproofError(first[0])


@contextmanager
def clear_exit() -> Iterator[None]:
    """End with one message where the user can mend it, and let SIGTERM end the run under way."""
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    except FaceproofError as error:
        sys.exit(f"error: {error}")
    except (HydraException, OmegaConfBaseException) as error:
        sys.exit(f"error: the sweep cannot be set up: {error}")
    except KeyboardInterrupt:
        print("interrupted; the same command continues", flush=True)
        sys.exit(128 + signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, before)


def _compare(runs: Sequence[Path], folder: Path) -> Path:
    from faceproof.workflows.compare import compare
    from faceproof.workflows.compare_config import CompareConfig

    return compare(CompareConfig(tuple(runs), out=folder))


def program(context: HydraContext, task: TaskFunction, config: DictConfig) -> "Program":
    """Return how Hydra starts the runs of a sweep."""
    from faceproof.workflows.run_process import one_line
    from faceproof.workflows.sweep import Program

    def check(overrides: Sequence[str]) -> str:
        from faceproof.app import allow_own_code, message, plain

        try:
            composed = context.config_loader.load_sweep_config(config, list(overrides))
            allow_own_code(plain(composed, resolve=False))
        except (HydraException, OmegaConfBaseException) as error:
            return message(error)
        return ""

    def check_data(overrides: Sequence[str]) -> str:
        from faceproof.app import data_refusal

        return data_refusal(context.config_loader.load_sweep_config(config, list(overrides)))

    def train(overrides: Sequence[str], folder: Path) -> list[str]:
        return [*base_command(config), *overrides, f"hydra.run.dir={for_hydra(str(folder))}",
                "hydra.mode=RUN"]  # fmt: skip

    def evaluate(folder: Path, split: str) -> list[str]:
        words = [f"run={for_hydra(str(folder))}", f"split={split}"]
        if names := lookup.allowed():  # the runs may use code of the user's own
            words.append(f"allow=[{','.join(map(for_hydra, names))}]")
        return [*PROGRAM, "evaluate", *words]

    def launch(runs: list[tuple[Sequence[str], Path]]) -> list[str]:
        batch = [
            [*overrides, f"hydra.sweep.dir={for_hydra(str(folder.parent))}",
             f"hydra.sweep.subdir={for_hydra(folder.name)}"]
            for overrides, folder in runs
        ]  # fmt: skip
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=task, config=config
        )
        try:
            return [failure(returned) for returned in launcher.launch(batch, 0)]
        except Exception as error:  # a launcher may raise what one of its runs died of
            return [one_line(f"{type(error).__name__}: {error}")] * len(runs)

    # Hydra's basic launcher trains every run in this process, where one crash would end all.
    here = config.hydra.runtime.choices["hydra/launcher"] == "basic"
    return Program(train, evaluate, _compare, check, check_data, None if here else launch)


def base_command(config: DictConfig) -> list[str]:
    """Return the command that began the sweep, without what makes it one."""
    hydra = config.hydra
    command = [*PROGRAM, "train", "--config-name", hydra.job.config_name]
    for source in hydra.runtime.config_sources:
        if source.provider == "command-line":
            command += ["--config-dir", source.path]
    return command + [w for w in hydra.overrides.hydra if not w.startswith(OF_THE_SWEEP)]


def failure(returned: JobReturn) -> str:
    """Return why a run failed that another launcher has done, or an empty text."""
    try:
        _ = returned.return_value  # raises what the run raised
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def parse(params: DictConfig, arguments: list[str], loader: ConfigLoader) -> list[Override]:
    """Return what the runs are made of; the command line takes precedence over `params`."""
    words = prepared([f"{key!s}={value}" for key, value in params.items()], swept=True)
    parsed = OverridesParser.create(config_loader=loader).parse_overrides([*words, *arguments])
    latest = {override.get_key_element(): override for override in parsed}
    latest.pop("compare", None)  # is said of the sweep and not of its runs
    if (kind := latest.pop("sweep", None)) and kind.is_sweep_override():
        raise FaceproofError(f"{kind.input_line} names several sweeps; choose one")
    return list(latest.values())


def values(override: Override, config: DictConfig) -> list[str | None]:
    """Return the values that a setting is to have, one after the other."""
    if not override.is_sweep_override():
        return [override.get_value_element_as_str() if "=" in (override.input_line or "") else None]
    if not override.is_discrete_sweep():
        raise FaceproofError(
            f"{override.input_line} has no end of values; that is for sweep=optuna"
        )
    pattern: Any = override.value()
    if not isinstance(pattern, Glob):
        there, found = [], [*map(element, override.sweep_iterator())]
    else:
        from faceproof.app import choices_of

        sources = [one for one in config.hydra.runtime.config_sources if one.schema == "file"]
        there = [*choices_of(override.key_or_group, [Path(one.path) for one in sources])]
        found = pattern.filter(there)
    if not found:
        hint = f"; there are {', '.join(there)}" if there else ""
        raise FaceproofError(
            f"{override.input_line} stands for nothing, so there is no run to do{hint}"
        )
    return [*found]


def distinct(override: Override, config: DictConfig) -> list[str | None]:
    """Return the values that a setting is to have, each once, and say which are given twice."""
    from faceproof.workflows.sweep import say

    found = values(override, config)
    once = [*dict.fromkeys(found)]
    if len(once) < len(found):
        again = ", ".join(str(one) for one in once if found.count(one) > 1)
        say(f"{override.input_line} gives {again} more than once, which makes one run")
    return once


def element(value: Any) -> str:
    """Return one of several values as an override has it."""
    if isinstance(value, str):
        return for_hydra(value, interpolates=True)
    text: str = Override._get_value_element_as_str(value)
    return text


def distribution(override: Override, config: DictConfig) -> "BaseDistribution":
    """Return what Optuna draws a setting from; a range includes both of its ends."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    given: Any = override.value()
    options: dict[str, Any]
    if isinstance(given, IntervalSweep):
        options = {"low": given.start, "high": given.end, "log": "log" in given.tags}
    elif isinstance(given, RangeSweep) and not given.shuffle:
        options = {"low": given.start, "high": given.stop, "step": given.step}
    else:
        return CategoricalDistribution(distinct(override, config))
    whole = all(isinstance(option, int) for option in options.values())
    try:
        return IntDistribution(**options) if whole else FloatDistribution(**options)
    except ValueError as error:
        raise FaceproofError(f"{override.input_line} cannot be searched: {error}") from error


def word(key: str, value: str | None) -> str:
    """Return an override; without a value, the key alone."""
    return key if value is None else f"{key}={value}"
