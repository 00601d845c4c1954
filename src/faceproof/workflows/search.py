"""Search settings by Optuna: each trial is a run whose settings the earlier ones suggest.

A study that is started again continues. A trial that was interrupted or has failed is tried again
with the same settings, and counts once. Several commands, on one machine or on many, work on one
study where its storage is shared. Nothing here knows Hydra or torch.
"""

import logging
import os
import socket
import sqlite3
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from faceproof.errors import FaceproofError
from faceproof.io.run_folder import read_epochs
from faceproof.lookup import find
from faceproof.settings import COUNT, SEED, TEXT, check, optional
from faceproof.workflows.sweep import Program, Sweep
from faceproof.workflows.sweep_folder import Job, SweepFolder

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.pruners import BasePruner
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

BEAT = 30.0  # seconds between two signs of life of a trial in a shared study
STALE = 300.0  # seconds without one after which another command takes the trial up
SECONDS_FOR_LOCK = 60.0  # that another thread may write to search.db
WAIT = 5.0  # seconds between two looks at trials that other commands run

# What is stored with a trial: when its command gave the last sign of life, the name of its run
# folder, and the number of the trial whose settings it tries again.
ALIVE, FOLDER, RETRIES = "alive", "folder", "retries"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SearchConfig:
    """How Optuna searches, `hydra.sweeper` in settings.

    Attributes:
        n_trials: how many trials there are to be in all, over all starts of the command.
        seed: of the suggestions.
        storage: where the study lies: an address of Optuna's, such as
            postgresql+psycopg://user@host/name, or the path of a journal file; None for
            search.db in the sweep's folder, on which one command works at a time.
        study_name: its name in the storage; None for that of the sweep's folder.
        pruner: what stops a trial early by its epochs' metric: none, median, hyperband, or a
            class of the user's own.
    """

    n_trials: int = 20
    seed: int = 0
    storage: str | None = None
    study_name: str | None = None
    pruner: str = "none"

    def __post_init__(self) -> None:
        check(self, n_trials=COUNT, seed=SEED, storage=optional(TEXT), study_name=optional(TEXT))
        check(self, pruner=TEXT)


def search(
    folder: Path,
    space: "Mapping[str, BaseDistribution]",
    fixed: Sequence[str],
    monitor: str,
    program: Program,
    config: SearchConfig,
    compare: bool = False,
) -> bool:
    """Search until the study has its trials, and say whether all went well.

    Each setting in `space` is drawn from its distribution; the overrides in `fixed` are shared by
    all trials. With `compare`, the finished runs are evaluated and compared on a page.

    Raises:
        FaceproofError: Optuna is not installed, there is nothing to search, another command works
            on the study of the folder, or the storage cannot be used.
    """
    optuna = import_optuna()
    if not space:
        raise FaceproofError("there is nothing to search: give intervals or choices")
    if config.pruner != "none" and program.launch is not None:
        raise FaceproofError(
            f"hydra.sweeper.pruner={config.pruner} stops processes of this machine, and "
            "hydra/launcher trains the runs elsewhere; leave one of the two out"
        )
    place = SweepFolder(folder, shared=config.storage is not None)
    with Sweep(place, [*space], program, config.n_trials) as sweep:
        try:
            with sweep.folder.turn():  # of two that make a database's tables at once, one fails
                study = open_study(sweep.folder.path, monitor, config)
            Search(study, sweep, space, fixed, monitor, config).run()
        except optuna.exceptions.StorageInternalError as error:
            raise FaceproofError(
                f"the storage of the study failed: {error}; the same command continues"
            ) from error
        if compare:
            sweep.compare()
    return sweep.report()


def import_optuna() -> Any:
    """Return Optuna."""
    try:
        import optuna
    except ImportError as error:
        raise FaceproofError(
            f"sweep=optuna needs the extra sweep: pip install 'faceproof[sweep]' ({error})"
        ) from error
    optuna.logging.set_verbosity(logging.WARNING)
    return optuna


def open_study(folder: Path, monitor: str, config: SearchConfig) -> "Study":
    """Return the study of a sweep, new or as it is.

    Raises:
        FaceproofError: the storage cannot be opened, or the study searches for another metric.
    """
    import optuna

    from faceproof.evaluation.metrics import better

    pruner = _pruner(config.pruner)
    try:
        study = optuna.create_study(
            storage=_storage(folder, config.storage),
            study_name=config.study_name or folder.name,
            pruner=pruner,
            direction="minimize" if better(monitor) == "min" else "maximize",
            load_if_exists=True,
        )
    except Exception as error:  # of Optuna, SQLAlchemy, or any driver of a database
        raise FaceproofError(
            f"the storage of the study cannot be opened: {type(error).__name__}: {error}; "
            "hydra.sweeper.storage is an address such as "
            "postgresql+psycopg://user@host/name (its driver must be installed), or the "
            "path of a journal file"
        ) from error
    if (found := study.user_attrs.get("monitor", monitor)) != monitor:
        raise FaceproofError(
            f"the study {study.study_name} searches for {found}, not for {monitor}; choose another "
            "by hydra.sweeper.study_name"
        )
    study.set_user_attr("monitor", monitor)
    # The same seed would suggest the same again, at another start or in another command.
    worker = zlib.crc32(f"{socket.gethostname()} {os.getpid()}".encode()) * bool(config.storage)
    seed = (config.seed + len(study.trials) + worker) % 2**32
    study.sampler = optuna.samplers.TPESampler(seed=seed)
    return study


def _storage(folder: Path, address: str | None) -> "str | BaseStorage":
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if address is None:
        return _sqlite(folder / "search.db")
    if "://" in address:
        return address
    Path(address).absolute().parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(address))


def _sqlite(file: Path) -> "BaseStorage":
    """Return the storage in a file, opened by its path.

    In an address some letters of a path, `?` for one, mean something else.
    """
    from optuna.storages import RDBStorage

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(file, timeout=SECONDS_FOR_LOCK, check_same_thread=False)

    return RDBStorage(f"sqlite:///{quote(str(file))}", {"creator": connect})


def _pruner(name: str) -> "BasePruner":
    from optuna import pruners

    none, median, hyperband = pruners.NopPruner, pruners.MedianPruner, pruners.HyperbandPruner
    known: dict[str, Any] = {"none": none, "median": median, "hyperband": hyperband}
    pruner: BasePruner = find(name, known, "hydra.sweeper.pruner")()
    return pruner


@dataclass
class Search:
    """The loop that asks Optuna for settings, trains them, and tells it the result."""

    study: "Study"
    sweep: Sweep
    space: "Mapping[str, BaseDistribution]"
    fixed: Sequence[str]
    monitor: str
    config: SearchConfig

    def __post_init__(self) -> None:
        from optuna.trial import TrialState

        self.states, self.first_number = TrialState, len(self.study.trials)

    def run(self) -> None:
        """Do trials until the study has them all; wait for those of other commands."""
        with self.sweep.folder.turn():
            self._take_up_failed()
        while True:
            with self.sweep.folder.turn():  # two commands must not both ask for the last trial
                self._take_up_lost()
                trials = self.study.trials
                number = self._num_counted(trials)
                trial = self._ask() if number < self.config.n_trials else None
            if trial is not None:
                self._train(trial, number + 1)
            elif any(one.state == self.states.RUNNING for one in trials):
                time.sleep(WAIT)
            else:
                break
        ours = {trial.user_attrs.get(FOLDER) for trial in trials}
        self.sweep.jobs = [job for job in self.sweep.folder.jobs() if job.name in ours]

    def _num_counted(self, trials: "Sequence[FrozenTrial]") -> int:
        """Return how many trials are of the `n_trials`; one that is tried again counts once."""
        states = self.states
        retried = {trial.user_attrs.get(RETRIES) for trial in trials}
        failed = {trial.number for trial in trials if trial.state == states.FAIL}
        ours = {number for number in failed - retried if number >= self.first_number}
        others = sum(t.state in (states.COMPLETE, states.PRUNED, states.RUNNING) for t in trials)
        return others + len(ours)

    def _take_up_failed(self) -> None:
        """Queue the settings that have failed, unless they were tried again since."""
        trials = self.study.trials
        retried = {trial.user_attrs.get(RETRIES) for trial in trials}
        known = [trial.params for trial in trials if trial.state != self.states.FAIL]
        for trial in trials:
            if trial.state == self.states.FAIL and trial.number not in retried:
                if trial.params not in known:
                    self._try_again(trial.number, trial.params)
                known.append(trial.params)

    def _try_again(self, number: int, params: Mapping[str, Any]) -> None:
        """Queue the settings of a trial; those that were not drawn yet are drawn then."""
        self.study.enqueue_trial(dict(params), user_attrs={RETRIES: number})

    def _take_up_lost(self) -> None:
        """Queue the settings of trials whose command was killed."""
        running = [self.states.RUNNING]
        lost = {one.number for one in self.study.get_trials(states=running) if self._is_lost(one)}
        if not lost:
            return
        # A command tells its result before it unlocks the folder. A trial that looked abandoned and
        # is no longer running ended between the two looks.
        for trial in self.study.get_trials(states=running):
            if trial.number in lost:
                self._give_up(trial.number, trial.params)

    def _is_lost(self, trial: "FrozenTrial") -> bool:
        """Say whether nobody works on a running trial; its folder tells, or its signs of life."""
        if not self.sweep.folder.shared:  # the folder is locked, so nobody else works
            return True
        name = Path(trial.user_attrs.get(FOLDER, "-")).name
        job = Job(self.sweep.folder.path / name, (), {})
        if job.planned:
            return self.sweep.folder.is_abandoned(job)
        began = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        return time.time() - float(trial.user_attrs.get(ALIVE, began)) > STALE

    def _give_up(self, number: int, params: Mapping[str, Any]) -> None:
        """End a trial without a result, and have the next that asks do it."""
        self.study.tell(number, state=self.states.FAIL, skip_if_finished=True)
        self._try_again(number, params)

    def _ask(self) -> "Trial":
        try:
            return self.study.ask(dict(self.space))
        except ValueError as error:
            raise FaceproofError(
                f"the study {self.study.study_name} searched among other values before ({error}); "
                "choose another by hydra.sweeper.study_name, or another folder by hydra.sweep.dir"
            ) from error

    def _train(self, trial: "Trial", number: int) -> None:
        drawn = [f"{key}={value}" for key, value in trial.params.items()]
        job = self.sweep.plan([*self.fixed, *drawn])
        name, watch = self.config.pruner, None
        if name != "none":
            watch = EpochWatch(trial, job.run.metrics, self.monitor, name)
        with self._heartbeat(trial), self.sweep.folder.working_on(job) as lock:
            trial.set_user_attr(FOLDER, job.name)  # not before the lock, by which others see it
            try:
                self.sweep.train_one(job, number, lock, watch)
                if watch is not None:
                    watch.report_rest()
            except BaseException:  # the command is told to end
                self._give_up(trial.number, trial.params)
                raise
            if job.finished:
                self.study.tell(trial, job.value)
            else:
                self.study.tell(trial, state=self.states.PRUNED if job.pruned else self.states.FAIL)

    @contextmanager
    def _heartbeat(self, trial: "Trial") -> Iterator[None]:
        """Give signs of life of a trial of a shared study while it is trained."""
        if not self.sweep.folder.shared:
            yield
            return
        from optuna.exceptions import StorageInternalError

        over = threading.Event()

        def beat() -> None:
            while not over.wait(BEAT):
                try:
                    trial.set_user_attr(ALIVE, time.time())
                except (StorageInternalError, OSError) as error:
                    log.warning("the storage of the study cannot be reached: %s", error)

        trial.set_user_attr(ALIVE, time.time())
        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


class EpochWatch:
    """Reports a run's epochs to its trial while it trains, and says when it is to be pruned."""

    def __init__(self, trial: "Trial", metrics: Path, monitor: str, pruner: str) -> None:
        self.trial, self.metrics, self.monitor, self.pruner = trial, metrics, monitor, pruner
        self._reported: set[int] = set()

    def __call__(self) -> str:
        """Return why the run is to be stopped now, or an empty text."""
        return next(self._bad_epochs(), "")

    def report_rest(self) -> None:
        """Report the epochs since the last look; the run has ended, and is not pruned any more."""
        for _ in self._bad_epochs():
            pass

    def _bad_epochs(self) -> Iterator[str]:
        """Report each new epoch, and yield why the run should end with it, where it should."""
        for row in read_epochs(self.metrics):
            epoch, value = row["epoch"], row.get(self.monitor)
            if value is None or epoch in self._reported:
                continue
            self._reported.add(epoch)
            self.trial.report(value, epoch)
            if self.trial.should_prune():
                yield f"{self.pruner}: {self.monitor} {value:.4f} in epoch {epoch + 1}"
