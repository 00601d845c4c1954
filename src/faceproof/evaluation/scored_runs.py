"""Runs that scored the same images: finding them, choosing an evaluation, and reading it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceproof.data.leave_out import HELD_OUT
from faceproof.data.subgroups import refuse_missing_subgroups
from faceproof.errors import FaceproofError
from faceproof.evaluation.predictions import (
    SCHEMA,
    labelled_rows,
    read_predictions,
    subgroup_columns,
)
from faceproof.evaluation.stored_evaluations import (
    PREDICTIONS,
    evaluations_of,
    read_report,
    stale_evaluations,
    usual_name,
)
from faceproof.io.parse import parse
from faceproof.io.run_folder import RunFolder, is_member
from faceproof.task import Task, get_task
from faceproof.words import for_shell

Config = Mapping[str, Any]

MAX_NAMED = 3
AGAIN = "evaluate the run again"
# The types of what is read of a report.
REPORT: Mapping[str, Any] = {
    **dict.fromkeys(("model", "data", "split", "threshold_origin"), str),
    "threshold": float,
    "test_scorings": int | None,
    "images": str | None,
}


@dataclass(frozen=True)
class ReportHead:
    """What a comparison needs of a run's `report.json`."""

    task: Task
    model: str
    data: str
    split: str
    threshold: float
    threshold_origin: str  # in words
    criterion: str | None  # None for a threshold that was given
    test_scorings: int | None  # how often the run had scored this test split
    images: str | None  # a digest of the bytes of all images that were scored

    @classmethod
    def read(cls, run: RunFolder, evaluation: str) -> Self:
        """Read it from an evaluation, which must be of the weights that the run holds now."""
        report = read_report(run, evaluation)
        try:
            task: dict[str, Any] = parse(dict[str, Any], report.get("task"), "task")
            point: dict[str, Any] | None = parse(
                dict[str, Any] | None, report.get("operating_point"), "operating_point"
            )
            kinds = {**REPORT, "criterion": str | None}
            values = {**report, "criterion": point and point.get("criterion")}
            found = {name: parse(kind, values.get(name), name) for name, kind in kinds.items()}
            return cls(task=get_task(task.get("name", "")), **found)
        except FaceproofError as error:
            file = run.evaluations / evaluation / "report.json"
            raise FaceproofError(f"{file} is damaged: {error}; {AGAIN}") from error


@dataclass(frozen=True)
class ScoredRun:
    """A run, or a table of scores, and what it answered for the images."""

    path: Path  # the run's folder, or the table's file
    evaluation: str
    config: Config  # on one level, with dotted keys
    report: ReportHead
    predictions: pa.Table  # of the labelled images, in order of their paths
    record: Mapping[str, Any] = field(default_factory=dict)  # of the run
    metrics: Path | None = None  # of the run's epochs; None of a table

    @property
    def is_table(self) -> bool:
        """Whether it is a table of scores."""
        return self.metrics is None


def find_runs(paths: Sequence[str | Path], at_least: int = 2) -> list[RunFolder]:
    """Return the runs of these folders; one that is no run itself stands for all runs below it.

    Runs below a folder that have not finished are left out.

    Raises:
        FaceproofError: a folder holds no run, or there are too few in all.
    """
    found: dict[Path, RunFolder] = {}
    for path in map(Path, paths):
        here = [path] if _is_run(path) else _runs_below(path)
        if not here:
            raise FaceproofError(
                f"{path} is no run and holds none that has finished; name run folders that "
                "faceproof train has written, or the folder of a sweep"
            )
        found |= {run.resolve(): RunFolder(run) for run in here}
    if len(found) < at_least:
        only = ", ".join(str(run.path) for run in found.values()) or "none"
        raise FaceproofError(f"a comparison needs two runs or more; found {only}")
    return list(found.values())


def _is_run(path: Path) -> bool:
    run = RunFolder(path)
    return run.config.is_file() and run.record.is_file()


def _runs_below(path: Path) -> list[Path]:
    folders = sorted(record.parent for record in path.glob("**/record.json"))
    return [
        folder
        for folder in folders
        if _is_run(folder) and RunFolder(folder).operating_point.is_file() and not is_member(folder)
    ]


def _predictions(run: RunFolder, evaluation: str) -> Path:
    return run.evaluations / evaluation / PREDICTIONS


def choose_evaluation(runs: Sequence[RunFolder], wanted: str | None = None) -> str:
    """Return the evaluation to compare the runs by.

    It is the one wanted, else the one that all runs have, else of several the test split of the
    data set that all were trained on. A run that lacks it, or a choice of several, is an error.
    """
    have = {run.path: evaluations_of(run) for run in runs}
    counted = Counter(name for names in have.values() for name in names)
    if wanted is None:
        common = sorted(name for name, number in counted.items() if number == len(runs))
        own = {f"{run.read_record().get('data')}-test" for run in runs}
        if len(common) > 1 and len(own) == 1 and own <= set(common):
            common = sorted(own)
        if len(common) > 1:
            raise FaceproofError(
                f"the runs have several evaluations in common: {', '.join(common)}; choose one by "
                "--evaluation NAME"
            )
        if common:
            return common[0]
    name = wanted or max(sorted(counted), key=lambda name: counted[name], default=None)
    lacking = [run for run in runs if name is None or name not in have[run.path]]
    if lacking:
        raise FaceproofError(_advice(runs, lacking, have, name))
    assert name is not None
    return name


def _advice(
    runs: Sequence[RunFolder],
    lacking: Sequence[RunFolder],
    have: Mapping[Path, Sequence[str]],
    name: str | None,
) -> str:
    what = "evaluation" if name is None else f"evaluation {name}"
    with_it = [run for run in runs if run not in lacking]
    lines = []
    for run in lacking[:MAX_NAMED]:
        stale = [f"{name} ({why})" for name, why in stale_evaluations(run).items()]
        others = ", ".join([*have[run.path], *stale]) or "none"
        lines.append(f"  {run.path} has {others}: {_command(run, with_it, name)}")
    if len(lacking) > MAX_NAMED:
        lines.append(f"  and {len(lacking) - MAX_NAMED} more")
    heading = f"{len(lacking)} of {len(runs)} runs have no {what}; make it by the command named"
    return "\n".join([heading, *lines])


def _command(run: RunFolder, with_it: Sequence[RunFolder], name: str | None) -> str:
    """Return the command that gives a run an evaluation, as another run has it."""
    if not run.operating_point.is_file():
        return f"faceproof train {run.argument('resume')} (it has not finished), then evaluate it"
    command = f"faceproof evaluate {run.argument('run')}"
    if name is None:
        return command
    if not with_it:
        return f"{command} {for_shell(f'name={name}')}"
    report = ReportHead.read(with_it[0], name)
    data, split = report.data, report.split
    if split != HELD_OUT and data != run.read_record().get("data"):
        words = f"data=[{data.replace('+', ',')}]" if "+" in data else f"data={data}"
        command += f" {for_shell(words)}"
    if split != "test":
        command += f" split={split}"
    return command if name == usual_name(data, split) else f"{command} {for_shell(f'name={name}')}"


def read_runs(
    runs: Sequence[RunFolder], evaluation: str, configs: Sequence[Config]
) -> Iterator[ScoredRun]:
    """Yield what the runs answered in an evaluation, in order of the paths.

    See `ScoredRun.config` for the configs.
    """
    for run, config in zip(runs, configs, strict=True):
        report = ReportHead.read(run, evaluation)
        predictions = read_predictions(_predictions(run, evaluation))
        ordered = predictions.take(pc.sort_indices(predictions["path"]))
        record, metrics = run.read_record(), run.metrics
        yield ScoredRun(run.path, evaluation, config, report, ordered, record, metrics)


def same_images(found: Iterable[ScoredRun]) -> list[ScoredRun]:
    """Return what was answered for the labelled images, which must be the same for all.

    Raises:
        FaceproofError: they were asked different questions, or scored different images.
    """
    scored: list[ScoredRun] = []
    for one in found:
        scored.append(_refuse_unlike(scored[0], one) if scored else one)
    evaluation = scored[0].evaluation
    if not labelled_rows(scored[0].predictions).num_rows:
        raise FaceproofError(
            f"the images of evaluation {evaluation} have no labels, so no run can be called "
            "better than another"
        )
    return [replace(one, predictions=labelled_rows(one.predictions)) for one in scored]


def with_subgroups(scored: Sequence[ScoredRun], wanted: Sequence[str]) -> list[ScoredRun]:
    """Return the runs with the subgroups wanted, or with all that are known of any image.

    Raises:
        FaceproofError: nothing is known of a subgroup that is wanted.
    """
    first = scored[0].predictions
    there = [name for name in subgroup_columns(first) if first[name].null_count < first.num_rows]
    refuse_missing_subgroups(wanted, there, str(scored[0].path))
    names = [*SCHEMA.names, *(wanted or there)]
    return [replace(one, predictions=one.predictions.select(names)) for one in scored]


def _refuse_unlike(first: ScoredRun, other: ScoredRun) -> ScoredRun:
    """Return the other run with the first one's columns of the images, if these are the same."""
    here, there = first.path, other.path
    if first.report.task != other.report.task:
        raise FaceproofError(
            f"{here} answers the task {first.report.task.name} and {there} the task "
            f"{other.report.task.name}; compare runs of one task"
        )
    ours, theirs = first.predictions, other.predictions
    if not ours["path"].equals(theirs["path"]):
        raise FaceproofError(_unlike_images(here, there, ours["path"], theirs["path"]))
    if first.report.images != other.report.images and not other.is_table:
        raise FaceproofError(
            f"{here} and {there} scored files of the same names and other content: images were "
            f"changed between the two evaluations {other.evaluation}; evaluate both again"
        )
    alike = (
        ("label", "labelled"), ("group", "grouped"), ("component", "connected"), ("pair", "paired")
    )  # fmt: skip
    for column, what in alike:
        mine, yours = (table[column].cast(pa.string()) for table in (ours, theirs))
        same = pc.fill_null(pc.equal(mine, yours), False).to_numpy()
        differ = ~(same | (mine.is_null().to_numpy() & yours.is_null().to_numpy()))
        if differ.any():
            place = int(np.argmax(differ))
            raise FaceproofError(
                f"{int(differ.sum()):,} images are {what} otherwise in {there} than in {here}, "
                f"first {ours['path'][place].as_py()}: {yours[place].as_py()} there, "
                f"{mine[place].as_py()} here; evaluate both on the same table of images"
            )
    # So a million paths are in memory once.
    own = ("logit", "probability", "novelty")
    columns = [(theirs if name in own else ours)[name] for name in ours.column_names]
    return replace(other, predictions=pa.table(columns, schema=ours.schema))


def _unlike_images(here: Path, there: Path, ours: pa.Array, theirs: pa.Array) -> str:
    parts = []
    for run, mine, yours in ((here, ours, theirs), (there, theirs, ours)):
        alone = mine.filter(pc.invert(pc.is_in(mine, value_set=yours.combine_chunks())))
        if len(alone):
            named = ", ".join(alone.slice(0, MAX_NAMED).to_pylist())
            parts.append(
                f"{len(alone):,} only in {run} ({named}{', ..' * (len(alone) > MAX_NAMED)})"
            )
    return (
        f"{here} and {there} scored different images, {len(ours):,} and {len(theirs):,}: "
        f"{'; '.join(parts) or 'some are there more than once'}. Metrics of different images "
        "cannot be compared; evaluate both on the same"
    )
