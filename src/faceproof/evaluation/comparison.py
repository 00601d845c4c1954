"""Comparison of runs that scored the same images: who is better, by how much, and is it real.

Every figure has a 95 % interval by bootstrap over groups; all runs are drawn the same resamples. A
pair of runs is compared on the images they share, which is far sharper than a look at whether
two intervals overlap: ROC-AUC after DeLong, accuracy at each run's stored threshold after McNemar,
either with groups counted in (`faceproof.evaluation.statistics`). The p-values are corrected for the number of
pairs by Holm's rule, those of ROC-AUC and those of accuracy as two families.

Such a test speaks of two trained networks. What another seed would give is told by the spread over
runs that differ in nothing but their seed.
"""

import itertools
import json
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceproof.errors import FaceproofError
from faceproof.evaluation import intervals, metrics
from faceproof.evaluation.groups import unit_codes
from faceproof.evaluation.intervals import MIN_UNITS
from faceproof.evaluation.predictions import (
    Flags,
    is_positive,
    label_numbers,
    labelled_rows,
    logits_of,
    probabilities_of,
    read_predictions,
)
from faceproof.evaluation.statistics import (
    LEVEL,
    Codes,
    Difference,
    auc_difference,
    holm,
    share_difference,
)
from faceproof.io.run_folder import RunFolder, is_member
from faceproof.task import Task

Comparison = dict[str, Any]
Config = Mapping[str, Any]

SIGNIFICANCE = 0.05
FIGURES = (
    "roc_auc",
    "accuracy",
    "precision",
    "recall",
    "f1",
    "average_precision",
    "jaccard",
    "eer",
    "tpr_at_1pct_fpr",
)
LOWER_IS_BETTER = ("eer",)
TESTED = ("roc_auc", "accuracy")
MAX_NAMED = 3
# Settings that say where or how often, and not what was trained.
SEED = "seed"
INCIDENTAL = (
    *("resume", "compare", "logger.tensorboard", "loader.num_workers", "checkpoint.minutes"),
    *("checkpoint.steps", "cache.images", "cache.features", "cache.max_gb"),
)


@dataclass(frozen=True)
class Cost:
    """What the network of a run costs; None where it was not measured.

    Attributes:
        parameters: how many.
        multiply_adds: of one image, in convolutions and matrix products.
        milliseconds: per image, the median over batches.
        milliseconds_range: the quartiles of it.
    """

    parameters: int | None = None
    multiply_adds: int | None = None
    milliseconds: float | None = None
    milliseconds_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class ScoredRun:
    """A run and what it said of the images.

    Attributes:
        folder: where it lies.
        evaluation: which of its evaluations.
        config: its settings on one level, with dotted keys.
        report: the numbers of the evaluation.
        predictions: its predictions of the labelled images, in order of their paths.
    """

    folder: RunFolder
    evaluation: str
    config: Config
    report: Mapping[str, Any]
    predictions: pa.Table

    @property
    def task(self) -> Task:
        """Name the classes."""
        return Task(**self.report["task"])

    @property
    def threshold(self) -> float:
        """Return the threshold that the run was evaluated at."""
        return float(self.report["threshold"])

    @property
    def criterion(self) -> str | None:
        """Return what the threshold was chosen for."""
        point = self.report.get("operating_point")
        return point and str(point["criterion"])


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
                "train.py has written, or the folder of a sweep"
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


def evaluations_of(run: RunFolder) -> list[str]:
    """Return the names of a run's evaluations."""
    reports = sorted(run.evaluations.glob("[!.]*/report.json"))
    return [file.parent.name for file in reports if _predictions(run, file.parent.name).is_file()]


def _predictions(run: RunFolder, evaluation: str) -> Path:
    return run.evaluations / evaluation / "predictions.parquet"


def choose_evaluation(runs: Sequence[RunFolder], wanted: str | None = None) -> str:
    """Return the evaluation to compare the runs by.

    It is the one wanted, else the one that all runs have, else of several the test split of the
    data set that all were trained on.

    Raises:
        FaceproofError: a run lacks it, or it is not clear which is meant.
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
    """Say which runs lack an evaluation, and the commands that make it."""
    what = "evaluation" if name is None else f"evaluation {name}"
    with_it = [run for run in runs if run not in lacking]
    lines = []
    for run in lacking[:MAX_NAMED]:
        others = ", ".join(have[run.path]) or "none"
        lines.append(f"  {run.path} has {others}: {_command(run, with_it, name)}")
    if len(lacking) > MAX_NAMED:
        lines.append(f"  and {len(lacking) - MAX_NAMED} more")
    heading = f"{len(lacking)} of {len(runs)} runs have no {what}; make it by the command named"
    return "\n".join([heading, *lines])


def _command(run: RunFolder, with_it: Sequence[RunFolder], name: str | None) -> str:
    """Return the command that gives a run an evaluation, as another run has it."""
    if not run.operating_point.is_file():
        return f"python train.py {run.argument('resume')} (it has not finished), then evaluate it"
    command = f"python evaluate.py {run.argument('run')}"
    if name is None:
        return command
    if not with_it:
        return f"{command} name={name}"
    report = json.loads((with_it[0].evaluations / name / "report.json").read_text())
    data, split = str(report["data"]), str(report["split"])
    if data != run.read_record().get("data"):
        command += f" data=[{data.replace('+', ',')}]" if "+" in data else f" data={data}"
    if split != "test":
        command += f" split={split}"
    return command if name == f"{data}-{split}" else f"{command} name={name}"


def read_scored(
    runs: Sequence[RunFolder], evaluation: str, configs: Sequence[Config]
) -> list[ScoredRun]:
    """Read what the runs said in an evaluation.

    Args:
        runs: the runs.
        evaluation: a folder below each run's `evaluations`.
        configs: the settings of each, on one level with dotted keys.

    Raises:
        FaceproofError: they were asked different questions, or scored different images.
    """
    scored: list[ScoredRun] = []
    for run, config in zip(runs, configs, strict=True):
        report = json.loads((run.evaluations / evaluation / "report.json").read_text())
        predictions = read_predictions(_predictions(run, evaluation))
        ordered = predictions.take(pc.sort_indices(predictions["path"]))
        one = ScoredRun(run, evaluation, config, report, ordered)
        if scored:
            one = _refuse_unlike(scored[0], one)
        scored.append(one)
    if not labelled_rows(scored[0].predictions).num_rows:
        raise FaceproofError(
            f"the images of evaluation {evaluation} have no labels, so no run can be called "
            "better than another"
        )
    return [replace(one, predictions=labelled_rows(one.predictions)) for one in scored]


def _refuse_unlike(first: ScoredRun, other: ScoredRun) -> ScoredRun:
    """Return the other run, its facts of the images those of the first, if they are the same.

    Raises:
        FaceproofError: they are not.
    """
    here, there = first.folder.path, other.folder.path
    if first.task != other.task:
        raise FaceproofError(
            f"{here} answers the task {first.task.name} and {there} the task {other.task.name}; "
            "compare runs of one task"
        )
    ours, theirs = first.predictions, other.predictions
    if not ours["path"].equals(theirs["path"]):
        raise FaceproofError(_unlike_images(here, there, ours["path"], theirs["path"]))
    for column, what in (("label", "labelled"), ("group", "grouped")):
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
    scores = [theirs["logit"], theirs["probability"]]
    shared = [ours[name] for name in ours.column_names[: -len(scores)]]
    # So a million paths are in memory once.
    return replace(other, predictions=pa.table([*shared, *scores], schema=ours.schema))


def _unlike_images(here: Path, there: Path, ours: pa.Array, theirs: pa.Array) -> str:
    """Say how the images of two evaluations differ."""
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
        f"{'; '.join(parts) or 'some are there more than once'}. Figures of different images "
        "cannot be set against each other; evaluate both on the same"
    )


def name_runs(scored: Sequence[ScoredRun]) -> list[str]:
    """Name each run by the settings in which they differ, or by its folder where that is shorter.

    A folder that is but a number, as those of a sweep are, says nothing and names no run.
    """
    folders = [one.folder.path.resolve() for one in scored]
    by_folder = [folder.name for folder in folders]
    if len(set(by_folder)) < len(by_folder):
        by_folder = [f"{folder.parent.name}/{folder.name}" for folder in folders]
    by_settings = [" ".join(words) for words in _differing_words(scored)]
    distinct = len(set(by_settings)) == len(by_settings) and all(by_settings)
    telling = len(set(by_folder)) == len(by_folder) and not any(map(str.isdigit, by_folder))
    shorter = sum(map(len, by_settings)) <= sum(map(len, by_folder))
    if distinct and (shorter or not telling):
        return by_settings
    return by_folder if len(set(by_folder)) == len(by_folder) else list(map(str, folders))


def _differing_words(scored: Sequence[ScoredRun], leave_out: str = "") -> list[list[str]]:
    """Return for each run the settings in which it differs from others, as short words.

    A choice such as model=resnet18 stands for all the settings that come with it.
    """
    choices = [one.folder.read_record().get("choices") or {} for one in scored]
    groups = {key: None for chosen in choices for key in chosen}
    parted = [group for group in groups if len({str(c.get(group)) for c in choices}) > 1]
    keys = {key: None for one in scored for key in one.config}
    words: list[list[str]] = [[str(chosen.get(group)) for group in parted] for chosen in choices]
    for key in keys:
        if key in (*INCIDENTAL, leave_out) or "_target_" in key:
            continue
        group = key.partition(".")[0]
        if _differs_within(
            scored, key, [c.get(group) for c in choices] if group in parted else None
        ):
            short = key.rpartition(".")[2]
            for one, of_run in zip(scored, words, strict=True):
                of_run.append(f"{short}={one.config.get(key)}")
    return words


def _differs_within(
    scored: Sequence[ScoredRun], key: str, choices: Sequence[str | None] | None
) -> bool:
    """Say whether runs of the same choice differ in a setting."""
    values: dict[str | None, set[str]] = {}
    for number, one in enumerate(scored):
        choice = choices[number] if choices else None
        values.setdefault(choice, set()).add(str(one.config.get(key)))
    return any(len(found) > 1 for found in values.values())


def find_families(scored: Sequence[ScoredRun], names: Sequence[str]) -> list[str]:
    """Return for each run the name of the runs that differ from it in nothing but the seed."""
    settings = [
        json.dumps(
            {k: str(v) for k, v in one.config.items() if k not in (SEED, *INCIDENTAL)},
            sort_keys=True,
        )
        for one in scored
    ]
    words = [" ".join(words) for words in _differing_words(scored, leave_out=SEED)]
    sizes = Counter(settings)
    labels = {}
    for number, setting in enumerate(settings):
        if sizes[setting] == 1:
            labels[setting] = names[number]
        else:
            labels.setdefault(setting, words[number] or str(scored[number].report["model"]))
    return [labels[setting] for setting in settings]


def compare_runs(
    scored: Sequence[ScoredRun],
    costs: Sequence[Cost],
    device: str | None = None,
    num_resamples: int = intervals.NUM_RESAMPLES,
) -> Comparison:
    """Compute the comparison as plain values that JSON can hold; the best ROC-AUC stands first.

    Args:
        scored: what `read_scored` returned.
        costs: of each run's network.
        device: what the time was measured on, in words.
        num_resamples: how many bootstrap resamples the intervals want.
    """
    names = name_runs(scored)
    families = find_families(scored, names)
    rows = [
        _row(one, name, family, cost, num_resamples)
        for one, name, family, cost in zip(scored, names, families, costs, strict=True)
    ]
    order = sorted(range(len(rows)), key=lambda number: _rank(rows[number]))
    first = scored[0]
    units = unit_codes(first.predictions)
    num_units = int(units.max()) + 1
    figures = rows[0]["figures"]
    return {
        "title": f"{len(scored)} runs on {first.report['data']}",
        "task": asdict(first.task),
        "evaluation": first.evaluation,
        "data": first.report["data"],
        "split": first.report["split"],
        "num_images": first.predictions.num_rows,
        "num_by_class": {name: figures[f"num_{name}"] for name in first.task.classes},
        "num_units": num_units,
        "num_groups": pc.count_distinct(first.predictions["group"]).as_py(),
        "level": LEVEL,
        "num_resamples": intervals.affordable_resamples(first.predictions.num_rows, num_resamples),
        "device": device,
        "runs": [rows[number] for number in order],
        "pairs": _pairs([scored[n] for n in order], [names[n] for n in order], units, num_units),
        "seeds": _seeds([rows[number] for number in order]),
    }


def _rank(row: Mapping[str, Any]) -> tuple[float, float, str]:
    figures = row["figures"]
    return -(figures["roc_auc"] or 0.0), -(figures["accuracy"] or 0.0), row["name"]


def _row(one: ScoredRun, name: str, family: str, cost: Cost, num_resamples: int) -> dict[str, Any]:
    """Return the figures and facts of one run."""
    measured = one.predictions, one.task, one.threshold
    found = intervals.bootstrap_intervals(*measured, num_resamples)
    figures = metrics.figures(*measured)
    kept = [key for key in figures if key in FIGURES or key.startswith("num_")]
    return {
        "name": name,
        "family": family,
        "folder": str(one.folder.path),
        "model": one.report["model"],
        "seed": one.config.get(SEED),
        "threshold": one.threshold,
        "threshold_origin": one.report["threshold_origin"],
        "criterion": one.criterion,
        "best_epoch": one.folder.read_record().get("best_epoch"),
        "test_scorings": one.report.get("test_scorings"),
        "figures": {key: figures[key] for key in kept},
        "intervals": {key: found[key] for key in FIGURES},
        **asdict(cost),
    }


def _pairs(
    scored: Sequence[ScoredRun], names: Sequence[str], units: Codes, num_units: int
) -> list[dict[str, Any]]:
    """Compare every two runs, and correct the p-values for their number."""
    positive = label_numbers(scored[0].predictions, scored[0].task) == 1
    logits = [logits_of(one.predictions) for one in scored]
    right: list[Flags] = [
        is_positive(probabilities_of(one.predictions), one.threshold) == positive for one in scored
    ]
    compare: dict[str, Callable[[int, int], Difference | None]] = {
        "roc_auc": lambda a, b: auc_difference(logits[a], logits[b], positive, units),
        "accuracy": lambda a, b: share_difference(right[a], right[b], units),
    }
    numbers = list(itertools.combinations(range(len(scored)), 2))
    pairs: list[dict[str, Any]] = [{"first": names[a], "second": names[b]} for a, b in numbers]
    for figure, difference in compare.items():
        found = [difference(*pair) if num_units >= MIN_UNITS else None for pair in numbers]
        corrected = iter(holm([one.p_value for one in found if one is not None]))
        for pair, one in zip(pairs, found, strict=True):
            pair[figure] = None if one is None else _tested(one, next(corrected))
    return pairs


def _tested(found: Difference, corrected: float) -> dict[str, Any]:
    return {
        "difference": found.value,
        "interval": found.interval,
        "p_value": found.p_value,
        "p_holm": corrected,
        "real": corrected < SIGNIFICANCE,
    }


def _seeds(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return mean and spread over the runs that differ in nothing but their seed."""
    found = []
    for family in dict.fromkeys(row["family"] for row in rows):
        members = [row for row in rows if row["family"] == family]
        seeds = [row["seed"] for row in members]
        if len(set(seeds)) > 1:
            figures = {key: _spread([row["figures"][key] for row in members]) for key in FIGURES}
            runs = [row["name"] for row in members]
            found.append({"name": family, "runs": runs, "seeds": seeds, "figures": figures})
    return found


def _spread(values: Sequence[float | None]) -> dict[str, float] | None:
    """Return mean, standard deviation (of a sample), smallest and largest; None if any is."""
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None
    return {
        "mean": statistics.fmean(known),
        "standard_deviation": statistics.stdev(known),
        "min": min(known),
        "max": max(known),
    }
