"""Two of Hydra's sweepers: every combination of the given values, and a search by Optuna.

Hydra's own validate all runs first, and end with the first that fails. These record a failure and
go on, do nothing twice, and keep a leaderboard; faceproof.workflows.sweep does that work. Without another
`hydra/launcher` each run is a process of its own.

Hydra imports this module on every start, so nothing heavy is imported at its top; and it imports
each module here anew, so that all classes are in one.
"""

import itertools
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from faceproof.errors import FaceproofError
from faceproof.evaluation.monitor import better
from faceproof.workflows.sweep import LOG, Job, Stopwatch, Sweep, one_line, quoted, run_process

REFRESH = 20  # seconds between two leaderboards while another launcher has the runs
OF_THE_SWEEPER = ("hydra/sweeper", "hydra.sweeper.")
# What is said of the whole sweep and not of a run in a process of its own.
OF_THE_SWEEP = ("hydra/launcher", "hydra.launcher.", "hydra.sweep.", "hydra.mode", "hydra.run.")


class ProductSweeper(Sweeper):
    """Every combination of the values given for each setting.

    Args:
        params: settings and their values, as the command line would say them, which stands over it.
    """

    config: DictConfig

    def __init__(self, params: DictConfig) -> None:
        self.params = params

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra has composed."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Do the runs that are not finished, and end the program with 1 if one failed."""
        with clear_exit():
            overrides = parse(self.params, arguments, self.context.config_loader)
            choices = {o.get_key_element(): values(o, self.config) for o in overrides}
            swept = [o.get_key_element() for o in overrides if o.is_sweep_override()]
            runs = [
                [word(key, value) for key, value in zip(choices, combination, strict=True)]
                for combination in itertools.product(*choices.values())
            ]
            with Runs(self.context, self.task, self.config, swept, len(runs)) as launcher:
                returns = launcher.launch(runs, 0)
                if self.config.compare:
                    launcher.compare()
            launcher.report()
        return returns


class SearchSweeper(ProductSweeper):
    """A search by Optuna: each trial is a run whose settings the earlier ones suggest.

    What was interrupted or has failed is tried again with the same settings when the search is
    gone on with, and counts once.

    Args:
        params: settings and their values or intervals.
        n_trials: how many trials there are to be in all, over all starts of the command.
        seed: of Optuna's sampler.
    """

    def __init__(self, params: DictConfig, n_trials: int, seed: int) -> None:
        super().__init__(params)
        self.n_trials, self.seed = n_trials, seed

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Search on, and end the program with 1 if a trial failed."""
        with clear_exit():
            optuna, plugin = import_optuna()
            overrides = parse(self.params, arguments, self.context.config_loader)
            swept = [o.get_key_element() for o in overrides if o.is_sweep_override()]
            if not swept:
                raise FaceproofError("there is nothing to search: give intervals or choices")
            direction = {"min": "minimize", "max": "maximize"}[better(self.config.monitor)]
            with Runs(self.context, self.task, self.config, swept, self.n_trials) as launcher:
                storage = f"sqlite:///{launcher.sweep.folder / 'search.db'}"
                study = optuna.create_study(
                    storage, study_name="search", direction=direction, load_if_exists=True
                )
                finished = take_up(study, optuna.trial.TrialState)
                launcher.num_before = finished
                # A sampler that begins with the same seed would suggest the same again.
                sampler = optuna.samplers.TPESampler(seed=self.seed + len(study.trials))
                search = plugin.OptunaSweeper(
                    sampler=sampler, direction=direction, storage=storage, study_name="search",
                    n_trials=max(self.n_trials - finished, 0), n_jobs=1, max_failure_rate=1.0,
                    search_space=None, custom_search_space=None, params=None,
                )  # fmt: skip
                search.setup(
                    hydra_context=self.context, task_function=self.task, config=self.config
                )
                search.sweeper.launcher = launcher
                try:
                    search.sweep([o.input_line for o in overrides])
                except ValueError as error:
                    if any(job.finished for job in launcher.sweep.jobs()):
                        raise
                    print(f"no trial has finished, so there is no best one ({error})")
                if self.config.compare:
                    launcher.compare()
            launcher.report()
        return []


def import_optuna() -> tuple[Any, Any]:
    """Return Optuna and Hydra's sweeper for it.

    Raises:
        FaceproofError: they are not installed.
    """
    os.environ.setdefault("SQLALCHEMY_SILENCE_UBER_WARNING", "1")  # Optuna 2.10 needs SQLAlchemy 1
    try:
        import optuna
        from hydra_plugins.hydra_optuna_sweeper import optuna_sweeper
    except ImportError as error:
        raise FaceproofError(
            f"sweep=optuna needs the extra sweep: pip install 'faceproof[sweep]' ({error})"
        ) from error
    optuna.logging.set_verbosity(logging.WARNING)
    logging.getLogger("hydra_plugins.hydra_optuna_sweeper").setLevel(logging.ERROR)  # we say it
    return optuna, optuna_sweeper


def take_up(study: Any, states: Any) -> int:
    """Have trials without a result tried again, and return how many have one."""
    done = [trial.params for trial in study.trials if trial.state == states.COMPLETE]
    again: list[dict[str, Any]] = []
    for trial in study.trials:
        if trial.state == states.RUNNING:  # nobody else is at work: the folder is locked
            study.tell(trial.number, state=states.FAIL)
        if trial.state in (states.RUNNING, states.FAIL) and trial.params not in done + again:
            again.append(trial.params)
    waiting = [
        t.system_attrs.get("fixed_params") for t in study.trials if not t.state.is_finished()
    ]
    for params in again:
        if params and params not in waiting:
            study.enqueue_trial(params)
    return len(done)


class Runs:
    """A launcher that leaves out what is finished, records what fails, and goes on.

    Args:
        context: Hydra's.
        task: what a run does, for launchers that call it.
        config: the sweep's configuration.
        swept: the keys by which the runs differ.
        total: how many runs there will be.
    """

    def __init__(
        self,
        context: HydraContext,
        task: TaskFunction,
        config: DictConfig,
        swept: Sequence[str],
        total: int,
    ) -> None:
        # Words about the sweeper mean nothing to the runs, which are composed without `sweep=`.
        words = [w for w in config.hydra.overrides.hydra if not w.startswith(OF_THE_SWEEPER)]
        config.hydra.overrides.hydra = words
        self.context, self.config, self.swept, self.total = context, config, swept, total
        self.num_before = 0
        self.jobs: list[Job] = []
        self.not_compared: list[Job] = []
        self.sweep = Sweep(Path(config.hydra.sweep.dir))
        # Hydra's basic launcher calls every run in this process, where one crash would end all.
        self.launcher: Launcher | None = None
        if config.hydra.runtime.choices["hydra/launcher"] != "basic":
            self.launcher = Plugins.instance().instantiate_launcher(
                hydra_context=context, task_function=task, config=config
            )

    def __enter__(self) -> "Runs":
        """Lock the folder."""
        self.sweep.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Write the leaderboard a last time and let the folder go."""
        for job in self.jobs:
            if job.read()["status"] == "running":
                job.note(status="interrupted")
        self.sweep.write_leaderboard()
        self.sweep.__exit__(*error)

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> list[JobReturn]:
        """Do the runs that are not finished, as Hydra's launchers do, but let each fail alone."""
        jobs = [self.sweep.plan(tuple(words), self.swept) for words in job_overrides]
        self.jobs += [
            job for job in jobs if job.folder not in {known.folder for known in self.jobs}
        ]
        todo = []
        for number, job in enumerate(jobs, self.num_before + initial_job_idx + 1):
            place = f"[{number}/{self.total}] {job.name}"
            if job.finished:
                job.note(status="finished", reason="")
                say(f"{place}: finished before, {described(job)}")
            elif reason := self._composition_error(job):
                self.sweep.start(job)
                self._end(job, place, reason, 0.0)
            else:
                todo.append((job, place))
        self.sweep.write_leaderboard()
        if self.launcher is None:
            for job, place in todo:
                self._run_apart(job, place)
        elif todo:
            self._run_by(self.launcher, todo, initial_job_idx)
        return [result(job) for job in jobs]

    def _composition_error(self, job: Job) -> str:
        """Say what is wrong with a run's overrides, if something is."""
        try:
            self.context.config_loader.load_sweep_config(self.config, list(job.overrides))
        except (HydraException, OmegaConfBaseException) as error:
            text = str(error) if str(error) else str(error.__cause__)
            return text.partition("\nConfig search path:")[0]
        return ""

    def _run_apart(self, job: Job, place: str) -> None:
        """Do a run in a process of its own."""
        words = self.sweep.start(job)
        how = "goes on from its last.ckpt" if words != job.overrides else "runs"
        say(f"{place}: {how} ({os.path.relpath(job.folder / LOG)})")
        self.sweep.write_leaderboard()
        watch = Stopwatch()
        command = [
            *self._program(), *words, f"hydra.run.dir={quoted(job.folder)}", "hydra.mode=RUN"
        ]  # fmt: skip
        reason = run_process(command, job.folder / LOG, self.sweep.lock)
        self._end(job, place, reason, watch())

    def _program(self) -> list[str]:
        """Return the command that began the sweep, without what makes it one."""
        hydra = self.config.hydra
        command = [sys.executable, str(Path(sys.argv[0]).absolute())]
        command += ["--config-name", hydra.job.config_name]
        for source in hydra.runtime.config_sources:
            if source.provider == "command-line":
                command += ["--config-dir", source.path]
        return command + [w for w in hydra.overrides.hydra if not w.startswith(OF_THE_SWEEP)]

    def _run_by(self, launcher: Launcher, todo: list[tuple[Job, str]], first: int) -> None:
        """Do all runs by another of Hydra's launchers."""
        words = []
        for job, place in todo:
            say(f"{place}: given to {type(launcher).__name__}")
            folder = [
                f"hydra.sweep.dir={quoted(job.folder.parent)}",
                f"hydra.sweep.subdir={quoted(Path(job.name))}",
            ]
            words.append([*self.sweep.start(job), *folder])
        self.sweep.write_leaderboard()
        reasons = [""] * len(todo)
        over = threading.Event()
        live = threading.Thread(target=self._refresh, args=(over,), daemon=True)
        live.start()
        try:
            reasons = [failure(returned) for returned in launcher.launch(words, first)]
        except Exception as error:  # a launcher may raise what one of its runs died of
            reasons = [f"{type(error).__name__}: {error}"] * len(todo)
        finally:
            over.set()
            live.join()
        for (job, place), reason in zip(todo, reasons, strict=True):
            self._end(job, place, reason, written_in(job))

    def _refresh(self, over: threading.Event) -> None:
        """Keep the leaderboard live while another launcher has the runs."""
        while not over.wait(REFRESH):
            for job in self.jobs:
                if job.read()["status"] == "running" and job.finished:
                    job.note(status="finished")
            self.sweep.write_leaderboard()

    def _end(self, job: Job, place: str, reason: str, seconds: float) -> None:
        """Record how a run has ended, and say so."""
        finished = self.sweep.end(job, reason, seconds)
        self.sweep.write_leaderboard()
        if finished:
            say(f"{place}: finished in {seconds:.0f} s, {described(job)}")
        else:
            say(f"{place}: failed: {job.read()['reason']}")

    def compare(self) -> None:
        """Evaluate every finished run that is not yet, and set all against each other on a page."""
        from faceproof import app
        from faceproof.evaluation.comparison import evaluations_of

        finished = [job for job in self.jobs if job.finished]
        ready = []
        for number, job in enumerate(finished, 1):
            wanted = f"{job.run.read_record()['data']}-test"
            if wanted not in evaluations_of(job.run):
                say(f"[{number}/{len(finished)}] {job.name}: is evaluated on the test split")
                if reason := self._evaluate(job):
                    say(f"[{number}/{len(finished)}] {job.name}: is left out: {reason}")
                    self.not_compared.append(job)
                    continue
            ready.append(job)
        if len(ready) < 2:
            say("fewer than two runs could be evaluated, so there is nothing to compare")
            return
        app.compare([job.folder for job in ready], folder=self.sweep.folder / "comparison")

    def _evaluate(self, job: Job) -> str:
        """Evaluate a run in a process of its own, and return why that failed, if it did."""
        program = Path(sys.argv[0]).absolute().with_name("evaluate.py")
        command = [sys.executable, str(program), f"run={quoted(job.folder)}"]
        return run_process(command, job.folder / LOG, self.sweep.lock)

    def report(self) -> None:
        """Show what has failed and where all results are; end the program with 1 if some has."""
        from rich.console import Console
        from rich.table import Table

        failed = [job for job in self.jobs if not job.finished]
        console = Console(soft_wrap=True, highlight=False)
        if failed:
            table = Table(title=f"{len(failed)} of {len(self.jobs)} runs failed")
            table.add_column("run", overflow="fold")
            table.add_column("why", overflow="fold")
            for job in failed:
                table.add_row(job.name, job.read()["reason"])
            Console(highlight=False).print(table)
            console.print("the same command tries them again, and nothing else")
        if best := self.sweep.best():
            console.print(f"best: {best.name}: {described(best)}", markup=False)
        console.print(f"leaderboard: {os.path.relpath(self.sweep.leaderboard)}", markup=False)
        folder = os.path.relpath(self.sweep.folder)
        console.print("next:", f"  tensorboard --logdir {folder}", sep="\n", markup=False)
        if failed or self.not_compared:
            sys.exit(1)


def say(text: str) -> None:
    """Print a line of progress at once."""
    print(text, flush=True)


def written_in(job: Job) -> float:
    """Return the seconds between the first and the last file of a finished run."""
    if not job.finished:
        return 0.0
    run = job.run
    return run.operating_point.stat().st_mtime - run.config.stat().st_mtime


def described(job: Job) -> str:
    """Return the result of a finished run in words."""
    record = job.run.read_record()
    return f"{record['monitor']} {job.value:.4f} in epoch {record['best_epoch']}"


def result(job: Job) -> JobReturn:
    """Return what a sweeper wants to know of a run: its value, or None for one that failed.

    Hydra's own word for a failure would print all its settings; its folder and ours say why.
    """
    returned = JobReturn(overrides=job.overrides, working_dir=str(job.folder))
    returned.status, returned.return_value = JobStatus.COMPLETED, job.value
    return returned


def failure(returned: JobReturn) -> str:
    """Return why a run failed that another launcher has done, or nothing."""
    try:
        _ = returned.return_value  # raises what the run raised
    except Exception as error:
        return f"{type(error).__name__}: {one_line(str(error))}"
    return ""


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
        say("interrupted; the same command goes on")
        sys.exit(128 + signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, before)


def parse(params: DictConfig, arguments: list[str], loader: ConfigLoader) -> list[Override]:
    """Return what the runs are made of; the command line stands over `params`."""
    words = [f"{key!s}={value}" for key, value in params.items()]
    parsed = OverridesParser.create(config_loader=loader).parse_overrides([*words, *arguments])
    latest = {override.get_key_element(): override for override in parsed}
    latest.pop("compare", None)  # is said of the sweep and not of its runs
    if (kind := latest.pop("sweep", None)) and kind.is_sweep_override():
        raise FaceproofError(f"{kind.input_line} names several sweeps; choose one")
    return list(latest.values())


def values(override: Override, config: DictConfig) -> list[str | None]:
    """Return the values that a setting is to have, one after the other.

    Raises:
        FaceproofError: there is none, or no end of them.
    """
    if not override.is_sweep_override():
        return [override.get_value_element_as_str() if "=" in (override.input_line or "") else None]
    if not override.is_discrete_sweep():
        raise FaceproofError(
            f"{override.input_line} has no end of values; that is for sweep=optuna"
        )
    pattern: Any = override.value()
    there: list[str] = []
    if isinstance(pattern, Glob):
        there = choices_of(override.key_or_group, config)
        found: list[str | None] = [*pattern.filter(there)]
    else:
        found = [*override.sweep_string_iterator()]
    if not found:
        raise FaceproofError(
            f"{override.input_line} stands for nothing, so there is no run to do"
            + (f"; there are {', '.join(there)}" if there else "")
        )
    return found


def choices_of(group: str, config: DictConfig) -> list[str]:
    """Return the choices of a group, on the whole search path, which Hydra's glob leaves out."""
    folders = [
        Path(s.path) / group for s in config.hydra.runtime.config_sources if s.schema == "file"
    ]
    return sorted({file.stem for folder in folders for file in folder.glob("[!_]*.yaml")})


def word(key: str, value: str | None) -> str:
    """Return an override."""
    return key if value is None else f"{key}={value}"
