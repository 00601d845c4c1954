"""The story of `faceproof crossval`: what a detector does on sources that it never saw.

Train once without each source (or generator), evaluate each run on what was left out and at home,
and put all into one table. It is a sweep: what is finished is not trained or evaluated again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from faceproof.data.leave_out import HELD_OUT
from faceproof.errors import FaceproofError
from faceproof.io.folders import from_here
from faceproof.settings import check, one_of
from faceproof.workflows.sweep import Overrides, Program, Sweep, say
from faceproof.workflows.sweep_folder import LOG, Job, SweepFolder

if TYPE_CHECKING:
    from faceproof.evaluation.leave_one_out import Answers


@dataclass(frozen=True)
class LeaveOneOutConfig:
    """What is left out, one in each run; `hydra.sweeper` in settings.

    Attributes:
        over: `source` for the data sets of a combined one (or other names in the column source), or
            `generator` for what made the fakes.
    """

    over: str = "source"

    def __post_init__(self) -> None:
        check(self, over=one_of("source", "generator"))

    @property
    def setting(self) -> str:
        """The setting by which the runs differ."""
        return f"leave_out.{self.over}"


@dataclass(frozen=True)
class LeftOut:
    """A run to train: without what, and by which words."""

    name: str
    overrides: Overrides


def leave_one_out(
    folder: Path, runs: Sequence[LeftOut], swept: Sequence[str], program: Program,
    config: LeaveOneOutConfig,
) -> bool:  # fmt: skip
    """Train and judge every run, write the table and its page, and say whether all went well.

    Runs whose settings in `swept` are the same but for what is left out are one configuration.

    Raises:
        FaceproofError: another sweep works in the folder, or no run can be judged.
    """
    with Sweep(SweepFolder(folder), [*swept, config.setting], program, len(runs)) as started:
        started.train([one.overrides for one in runs])
        jobs = [started.plan(one.overrides) for one in runs]
        for number, job in enumerate(jobs, 1):
            if job.finished:
                _evaluate(started, job, f"[{number}/{len(jobs)}]")
    ended_well = started.report_unfinished()
    if any(job.finished for job in jobs):
        named = [(one.name, job) for one, job in zip(runs, jobs, strict=True)]
        _write(folder, named, config)
    return ended_well


def _evaluate(started: Sweep, job: Job, place: str) -> None:
    """Evaluate a run at home and on what was left out, as far as there are images of these."""
    for split in _judged_splits(job):
        started.evaluate(job, place, split)


def _judged_splits(job: Job) -> list[str]:
    from faceproof.data.run_tables import read_held_out, read_samples

    home, held_out = read_samples(job.run, "test"), read_held_out(job.run)
    return ["test"] * bool(home.num_rows) + [HELD_OUT] * bool(held_out.num_rows)


def _write(folder: Path, jobs: Sequence[tuple[str, Job]], config: LeaveOneOutConfig) -> None:
    """Compute the table of finished runs, print it and write its page."""
    from rich.console import Console

    from faceproof.evaluation.leave_one_out import Answers, LeaveOneOut, study
    from faceproof.reports.leave_one_out_page import show, write_leave_one_out
    from faceproof.task import get_task

    say("computing the intervals")
    settings = [_without(job.settings, config.setting) for _, job in jobs]
    shown = [name for name in settings[0] if len({one.get(name) for one in settings}) > 1]
    groups: dict[tuple[tuple[str, str], ...], list[Answers]] = {}
    for (name, job), values in zip(jobs, settings, strict=True):
        key = tuple((setting, values[setting]) for setting in shown)
        groups.setdefault(key, []).append(_answers(name, job))
    data = {job.run.read_record()["data"] for _, job in jobs if job.finished}
    tasks = {job.run.read_config()["data"].get("task", "") for _, job in jobs if job.finished}
    if len(tasks) > 1:
        raise FaceproofError(f"the runs are of several tasks ({', '.join(sorted(tasks))})")
    studies = [study(dict(key), answers) for key, answers in groups.items()]
    found = LeaveOneOut(config.over, ", ".join(sorted(data)), get_task(tasks.pop()), studies)
    page = write_leave_one_out(folder, found)
    show(Console(), found, from_here(page))


def _without(settings: Mapping[str, str], name: str) -> dict[str, str]:
    return {setting: value for setting, value in settings.items() if setting != name}


def _answers(name: str, job: Job) -> "Answers":
    """Return what a run answered, as far as it was judged, or why it was not."""
    from faceproof.evaluation.leave_one_out import Answers, Judged
    from faceproof.evaluation.predictions import read_predictions
    from faceproof.evaluation.scored_runs import ReportHead
    from faceproof.evaluation.stored_evaluations import PREDICTIONS, evaluations_of, usual_name

    if not job.finished:
        return Answers(name, job.name, None, None, f"not trained: {job.read().reason}")
    judged: dict[str, Judged] = {}
    known = evaluations_of(job.run)
    for split in _judged_splits(job):
        evaluation = usual_name(job.run.read_record()["data"], split)
        if evaluation in known:
            head = ReportHead.read(job.run, evaluation)
            table = read_predictions(job.run.evaluations / evaluation / PREDICTIONS)
            judged[split] = Judged(table, head.task, head.threshold)
    reason = ""
    if HELD_OUT not in judged:
        there = HELD_OUT in _judged_splits(job)
        reason = f"not evaluated; see {LOG}" if there else "it has no test images to be judged"
    return Answers(name, job.name, judged.get(HELD_OUT), judged.get("test"), reason)
