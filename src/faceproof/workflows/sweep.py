"""Train many runs, each in a process of its own, and keep a leaderboard.

A run that fails is recorded and the others follow; a sweep that is started again does what is
missing or has failed, and nothing else. Nothing here knows Hydra or torch: `Program` says how a
run is started.
"""

import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from faceproof import lookup
from faceproof.io.folders import from_here
from faceproof.io.locks import Lock
from faceproof.io.progress import time_left
from faceproof.words import for_shell
from faceproof.workflows.run_process import one_line, run_process
from faceproof.workflows.sweep_folder import LOG, Job, SweepFolder

COMPARE = "the same command with compare=true evaluates all runs and compares them"
REFRESH = 20  # seconds between two leaderboards while the runs are elsewhere

Overrides = Sequence[str]
Assigned = tuple[Overrides, Path]  # what to train, and the run folder


@dataclass(frozen=True)
class Program:
    """How the runs of a sweep are started.

    Attributes:
        train: returns the command that trains a run in a folder.
        evaluate: returns the command that evaluates a run on a split of its images.
        compare: writes the page that compares run folders into another folder, and returns it.
        check: says why overrides make no run, or returns an empty text.
        check_data: lists the data set of a run, and says why it cannot be used, or returns an empty
            text.
        launch: trains runs elsewhere, as on a cluster, and says of each why it failed, or returns
            an empty text for it; None for processes of this machine, one after the other.
    """

    train: Callable[[Overrides, Path], list[str]]
    evaluate: Callable[[Path, str], list[str]]
    compare: Callable[[list[Path], Path], Path]
    check: Callable[[Overrides], str] = lambda overrides: ""
    check_data: Callable[[Overrides], str] = lambda overrides: ""
    launch: Callable[[list[Assigned]], list[str]] | None = None


def sweep(
    folder: Path,
    runs: Sequence[Overrides],
    swept: Sequence[str],
    program: Program,
    compare: bool = False,
) -> bool:
    """Train every run that is not finished, and say whether all went well.

    A run is given by its overrides, such as `("model=resnet18", "seed=1")`. The keys in `swept`, by
    which the runs differ, name their folders. With `compare`, the finished runs are evaluated and
    compared on a page.

    Raises:
        FaceproofError: another sweep works in the folder.
    """
    with Sweep(SweepFolder(folder), swept, program, len(runs)) as started:
        started.train(runs)
        if compare:
            started.compare()
    return started.report()


class Sweep:
    """A sweep at work, between the locking of its folder and the last leaderboard."""

    def __init__(
        self, folder: SweepFolder, swept: Sequence[str], program: Program, total: int
    ) -> None:
        self.folder, self.swept, self.program, self.total = folder, swept, program, total
        self.jobs: list[Job] = []
        self.not_compared: list[Job] = []
        self.page: Path | None = None  # of the comparison

    def __enter__(self) -> Self:
        self.folder.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Write the leaderboard a last time and let the folder go."""
        for job in self.jobs:
            if job.read().status == "running" and self.folder.is_abandoned(job):
                job.note(status="interrupted")
        self.folder.write_leaderboard()
        self.folder.__exit__(*error)

    def train(self, runs: Sequence[Overrides]) -> None:
        """Train the runs that are not finished; each may fail alone."""
        jobs = [self.plan(overrides) for overrides in runs]
        placed = [(job, self._place(job, number)) for number, job in enumerate(jobs, 1)]
        todo = [(job, place) for job, place in placed if not self._is_settled(job, place)]
        self.folder.write_leaderboard()
        if self.program.launch is not None:
            self._train_elsewhere(todo)
            return
        begin, number = time.monotonic(), 0
        while todo:
            (job, place), *todo = todo
            self._train_here(job, place, self.folder.lock)
            number += 1
            todo = self._without_refused_data(job, todo)
            if to_come := len(todo):
                each = (time.monotonic() - begin) / number
                runs = "run" if to_come == 1 else "runs"
                say(f"{time_left(each * to_come)}, for {to_come} more {runs}")

    def _without_refused_data(
        self, job: Job, todo: Sequence[tuple[Job, str]]
    ) -> list[tuple[Job, str]]:
        """Return the runs to do; those that would fail as this one has, by their data, are not.

        Before its training a run that failed has no configuration yet. If its data set refuses
        itself, with the same words, all runs of that data set would fail alike.
        """
        same = [one for one, _ in todo if _data_words(one) == _data_words(job)]
        if not same or job.finished or job.run.config.is_file():
            return [*todo]
        reason = job.read().reason
        if not reason or one_line(self.program.check_data(job.overrides)) != reason:
            return [*todo]
        for one in same:
            self.folder.end(one, reason)
        self.folder.write_leaderboard()
        runs = "run has" if len(same) == 1 else "runs have"
        say(f"{len(same)} more {runs} the same data and would fail alike; not tried")
        return [(one, place) for one, place in todo if one not in same]

    def train_one(
        self, job: Job, number: int, lock: Lock, watch: Callable[[], str] | None = None
    ) -> None:
        """Train a planned run, unless it is finished.

        Its process holds the lock while it lives; `watch` says why the run is to be pruned.
        """
        place = self._place(job, number)
        if self._is_settled(job, place, pruned=watch is not None):
            self.folder.write_leaderboard()
        elif self.program.launch is not None:
            self._train_elsewhere([(job, place)])
        else:
            self._train_here(job, place, lock, watch)

    def plan(self, overrides: Overrides) -> Job:
        """Return the run of these overrides, with its folder."""
        job = self.folder.plan(overrides, self.swept)
        if job.folder not in {known.folder for known in self.jobs}:
            self.jobs.append(job)
        return job

    def _place(self, job: Job, number: int) -> str:
        return f"[{number}/{self.total}] {job.name}"

    def _is_settled(self, job: Job, place: str, pruned: bool = False) -> bool:
        """Say whether there is nothing to train: it was done before, or makes no run."""
        if job.finished:
            job.note(status="finished", reason="")
            say(f"{place}: finished before, {job.describe()}")
        elif pruned and job.pruned:
            say(f"{place}: pruned before, {job.read().reason}")
        elif reason := self.program.check(job.overrides):
            self.folder.start(job)
            self._end(job, place, reason, 0.0)
        else:
            return False
        return True

    def _train_here(
        self, job: Job, place: str, lock: Lock, watch: Callable[[], str] | None = None
    ) -> None:
        overrides = self.folder.start(job)
        how = "resumes from its last.ckpt" if overrides != job.overrides else "runs"
        say(f"{place}: {how} ({from_here(job.folder / LOG)})")
        self.folder.write_leaderboard()
        pruned = ""

        def watched() -> str:
            nonlocal pruned
            assert watch is not None
            pruned = watch()
            return pruned

        begin = time.monotonic()
        command, log = self.program.train(overrides, job.folder), job.folder / LOG
        reason = run_process(command, log, lock, None if watch is None else watched)
        status = "pruned" if pruned else "failed"
        self._end(job, place, reason, time.monotonic() - begin, status)

    def _train_elsewhere(self, todo: Sequence[tuple[Job, str]]) -> None:
        if not todo:
            return
        launch = self.program.launch
        assert launch is not None
        assigned: list[Assigned] = []
        for job, place in todo:
            say(f"{place}: launched")
            assigned.append((self.folder.start(job), job.folder))
        self.folder.write_leaderboard()
        over = threading.Event()
        live = threading.Thread(target=self._refresh, args=(over,), daemon=True)
        live.start()
        try:
            reasons = launch(assigned)
        finally:
            over.set()
            live.join()
        for (job, place), reason in zip(todo, reasons, strict=True):
            self._end(job, place, reason, _seconds_written(job))

    def _refresh(self, over: threading.Event) -> None:
        """Keep the leaderboard live while the runs are elsewhere."""
        while not over.wait(REFRESH):
            for job in self.jobs:
                if job.read().status == "running" and job.finished:
                    job.note(status="finished")
            self.folder.write_leaderboard()

    def _end(
        self, job: Job, place: str, reason: str, seconds: float, status: str = "failed"
    ) -> None:
        self.folder.end(job, reason, seconds, status)
        self.folder.write_leaderboard()
        if job.finished:
            say(f"{place}: finished in {seconds:.0f} s, {job.describe()}")
        else:
            say(f"{place}: {status}: {job.read().reason}")

    def compare(self) -> None:
        """Evaluate every finished run that is not yet, and compare all on a page."""
        finished = [job for job in self.jobs if job.finished]
        with self.folder.turn():
            total = len(finished)
            ready = [
                job for n, job in enumerate(finished, 1) if self.evaluate(job, f"[{n}/{total}]")
            ]
            if len(ready) > 1:
                self.page = self.program.compare(
                    [job.folder for job in ready], self.folder.path / "comparison"
                )
            else:
                say("fewer than two runs could be evaluated, so there is nothing to compare")

    def evaluate(self, job: Job, place: str, split: str = "test") -> bool:
        """Evaluate a run on a split of its images unless it is; say whether it is evaluated now."""
        # Not above: a second of imports.
        from faceproof.evaluation.stored_evaluations import evaluations_of, usual_name

        if usual_name(job.run.read_record()["data"], split) in evaluations_of(job.run):
            return True
        say(f"{place} {job.name}: is evaluated on the {split} split")
        command = self.program.evaluate(job.folder, split)
        if reason := run_process(command, job.folder / LOG, self.folder.lock):
            say(f"{place} {job.name}: is not compared, because it cannot be evaluated: {reason}")
            self.not_compared.append(job)
        return not reason

    def report_unfinished(self) -> bool:
        """Print what failed or was pruned, and why; say whether all went well."""
        from rich.console import Console
        from rich.table import Column, Table
        from rich.text import Text

        from faceproof.io.plain_files import printable

        others = [(job, job.read()) for job in self.jobs if not job.finished]
        pruned = sum(notes.status == "pruned" for _, notes in others)
        failed = len(others) - pruned
        if others:
            counts = {"failed": failed, "pruned": pruned}
            title = [f"{n} of {len(self.jobs)} runs {what}" for what, n in counts.items() if n]
            columns = [Column(name, overflow="fold") for name in ("run", "status", "why")]
            table = Table(*columns, title=", ".join(title))
            for job, notes in others:
                table.add_row(*map(Text, (job.name, notes.status, printable(notes.reason))))
            Console(highlight=False).print(table)
        if failed:
            console = Console(soft_wrap=True, highlight=False)
            console.print("the same command tries the failed runs again, and nothing else")
        return not failed and not self.not_compared

    def report(self) -> bool:
        """Print what failed or was pruned and where the results are; say whether all went well."""
        from rich.console import Console

        from faceproof.workflows.sweep_ranking import print_ranking

        ended_well, console = self.report_unfinished(), Console(soft_wrap=True, highlight=False)
        if finished := self.folder.best_first():
            print_ranking(finished)
        console.print(f"leaderboard: {from_here(self.folder.leaderboard)}", markup=False)
        console.print("next:", *self._next(finished), sep="\n", markup=False)
        return ended_well

    def _next(self, finished: Sequence[Job]) -> list[str]:
        """Return what to do with the runs: to compare them, or to read the comparison."""
        from faceproof.workflows.sweep_ranking import has_seeds

        lines = []
        if self.page is not None:
            lines.append(f"  open {for_shell(from_here(self.page))} in a browser")
        elif finished:
            allow = "".join(f" --allow {for_shell(name)}" for name in lookup.allowed())
            if not has_seeds(finished):
                lines.append(f"  faceproof evaluate {finished[0].run.argument('run')}{allow}")
            if len(finished) > 1:
                lines.append(f"  {COMPARE}")
        return [*lines, f"  tensorboard --logdir {for_shell(from_here(self.folder.path))}"]


def _data_words(job: Job) -> set[str]:
    """Return the words of a run that decide on its data set."""
    return {word for word in job.overrides if re.match(r"\+*(data[.@=]|experiments=)", word)}


def say(text: str) -> None:
    """Print a line of progress at once."""
    print(text, flush=True)


def _seconds_written(job: Job) -> float:
    """Return the seconds between the first and the last file of a finished run."""
    first, last = job.run.config, job.run.operating_point
    return last.stat().st_mtime - first.stat().st_mtime if job.finished else 0.0
