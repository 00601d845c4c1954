"""An ensemble as a run: a folder that is evaluated, compared and served like any other.

FOLDER/
  ensemble.json         how the members' scores are averaged, and each one's weight
  members/NAME/         config.yaml, record.json, best.ckpt and operating_point.json of a run, and
                        novelty.safetensors of one that has it
  validation.parquet, operating_point.json, samples.parquet, seen.parquet, record.json
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceproof.audit.seen import read_seen
from faceproof.data.listing import describe_crop, framing_of
from faceproof.data.run_tables import read_held_out
from faceproof.data.table import write_table
from faceproof.errors import FaceproofError
from faceproof.evaluation.calibration import Calibration
from faceproof.evaluation.ensemble import combine, fit_weights
from faceproof.evaluation.novelty import (
    NoveltyPoint,
    combine_novelty,
    fit_novelty_point,
    novelties_of,
    read_novelty_point,
)
from faceproof.evaluation.operating_point import (
    MAX_RISK_OF_OLD,
    OperatingPoint,
    ThresholdConfig,
    fit_to_validation,
    read_operating_point,
)
from faceproof.evaluation.predictions import (
    Scores,
    label_numbers,
    logits_of,
    predictions_table,
    read_predictions,
    sigmoid,
    write_predictions,
)
from faceproof.evaluation.scored_runs import find_runs
from faceproof.evaluation.video_point import VideoConfig, fit_video_point
from faceproof.io.atomic import write_json, write_text
from faceproof.io.folders import from_here
from faceproof.io.left_behind import holds_nothing
from faceproof.io.parse import parse
from faceproof.io.plain_files import printable, read_object, yaml_text
from faceproof.io.run_folder import COPY_AGAIN, RunFolder
from faceproof.settings import NAME, make
from faceproof.task import Task, get_task
from faceproof.workflows.ensemble_config import EnsembleConfig

FORMAT = "faceproof ensemble 1"
MEMBERS = "members"
MAX_MEMBERS = 100
OF_DATA = ("data", "images", "audit", "versions", "protocols", "crop")  # what the members share
COPIED = ("config.yaml", "record.json", "best.ckpt", "operating_point.json")


@dataclass(frozen=True)
class Member:
    """A detector of an ensemble: its run, its weight, and how its logits are calibrated."""

    run: RunFolder
    weight: float
    calibration: Calibration


@dataclass(frozen=True)
class MemberNotes:
    """What `ensemble.json` says of a member; the folder is below that of the ensemble."""

    name: str
    folder: str
    weight: float
    calibration: Calibration


@dataclass(frozen=True)
class Ensemble:
    """Members, and whether their probabilities or their logits are averaged."""

    average: str
    members: tuple[Member, ...]

    def combine(self, logits: Sequence[Scores]) -> Scores:
        """Return the ensemble's logits, (N,), of the members' raw ones."""
        calibrations = [member.calibration for member in self.members]
        return combine(logits, calibrations, [one.weight for one in self.members], self.average)


def is_ensemble(run: RunFolder) -> bool:
    """Say whether a run folder is an ensemble's."""
    return run.ensemble.is_file()


def read_ensemble(run: RunFolder) -> Ensemble:
    """Return the ensemble of a run folder.

    Raises:
        FaceproofError: it is of another version, or a member is not whole.
    """
    notes = read_object(run.ensemble, COPY_AGAIN)
    if (found := notes.get("format")) != FORMAT:
        raise FaceproofError(f"{run.ensemble} is of the format {found!r}, not {FORMAT!r}")
    try:
        average: str = parse(str, notes.get("average"), "average")
        entries: tuple[MemberNotes, ...] = parse(
            tuple[MemberNotes, ...], notes.get("members"), "members"
        )
    except FaceproofError as error:
        raise FaceproofError(f"{run.ensemble} is damaged: {error}; {COPY_AGAIN}") from error
    if not 0 < len({one.folder for one in entries}) == len(entries) <= MAX_MEMBERS:
        raise FaceproofError(
            f"{run.ensemble} names {len(entries):,} members; an ensemble has up to {MAX_MEMBERS}, "
            "each in a folder of its own"
        )
    members = []
    for one in entries:
        inner = Path(one.folder)
        if len(inner.parts) != 2 or inner.parts[0] != MEMBERS or not NAME.fits(inner.name):
            raise FaceproofError(f"{run.ensemble} names a member outside of the run: {one.folder}")
        folder = RunFolder(run.path / inner)
        folder.require(folder.config, folder.best)
        members.append(Member(folder, one.weight, one.calibration))
    return Ensemble(average, tuple(members))


def ensemble(config: EnsembleConfig) -> RunFolder:
    """Make an ensemble of runs, say what to do next, and return its run folder.

    Raises:
        FaceproofError: the runs cannot be averaged, or the folder is in use.
    """
    runs = find_runs(config.runs, at_least=1)
    if ensembles := [one.path for one in runs if one.ensemble.is_file()]:
        raise FaceproofError(f"{ensembles[0]} is an ensemble itself; name its members' runs")
    if len(runs) < 2:
        raise FaceproofError(f"an ensemble needs two runs or more; found {runs[0].path}")
    first = runs[0].read_config()
    try:
        chosen = first["threshold"]["criterion"]
        read = {"fpr": "fpr", "fixed": "value"}.get(chosen)  # an older run has the other one too
        criterion = {"criterion": chosen, "calibration": first["calibration"]}
        criterion["max_risk"] = first["threshold"].get("max_risk", MAX_RISK_OF_OLD)
        if read:
            criterion[read] = first["threshold"][read]
        data, task = first["data"]["name"], get_task(first["data"]["task"])
    except (KeyError, TypeError) as error:
        raise FaceproofError(
            f"{runs[0].config} is damaged: it lacks {error}; {COPY_AGAIN}"
        ) from error
    threshold = make(ThresholdConfig, criterion, "threshold")
    video = make(VideoConfig, first.get("video") or {}, "video")  # older runs have none
    run = RunFolder(config.out)
    made = make_ensemble(run, runs, task, threshold, config.average, config.weights, video)
    members = list(map(str, config.runs))
    described = {
        "model": {"name": "ensemble"},
        "ensemble": {"average": config.average, "weights": config.weights, "members": members},
        "data": {"name": data, "task": task.name},
    }
    if left_out := _shared_left_out(runs):
        described["leave_out"] = left_out
        shutil.copyfile(runs[0].held_out, run.held_out)
    write_text(run.config, yaml_text(described))
    for member in made.members:
        print(f"{member.weight:.3f}  {printable(member.run.path.name)}")
    print(f"next:\n  faceproof evaluate {run.argument('run')}")
    return run


def _shared_left_out(runs: Sequence[RunFolder]) -> dict[str, Any]:
    """Return the `leave_out` of runs from which the same images were left out; empty otherwise."""
    if not all(one.held_out.is_file() for one in runs):
        return {}
    settings = [one.read_config().get("leave_out", {}) for one in runs]
    paths = [read_held_out(one)["path"] for one in runs]
    same = all(one == settings[0] for one in settings) and all(one == paths[0] for one in paths)
    return dict(settings[0]) if same else {}


def make_ensemble(
    run: RunFolder,
    runs: Sequence[RunFolder],
    task: Task,
    threshold: ThresholdConfig,
    average: str = "probability",
    weights: str = "equal",
    video: VideoConfig | None = None,
) -> Ensemble:
    """Make a run folder of several runs that were chosen by the same validation images.

    No image is scored: the members' validation scores are with their runs.

    Raises:
        FaceproofError: there are fewer than two, they were validated on different images, or
            the folder is in use.
    """
    if run.path.exists() and not holds_nothing(run.path):
        raise FaceproofError(f"{run.path} holds something already; choose another folder by --out")
    for one in runs:
        one.require(
            one.config, one.best, one.operating_point, one.validation, one.seen, one.samples
        )
    # Refuses scores and calibrations of other weights than the run has.
    points = [read_operating_point(one) for one in runs]
    # In order of their paths.
    tables = [read_predictions(one.validation).sort_by("path") for one in runs]
    for other, table in zip(runs[1:], tables[1:], strict=True):
        _refuse_other_images(runs[0], tables[0], other, table)
    calibrations = [point.calibration for point in points]
    logits = [logits_of(table) for table in tables]
    labels = label_numbers(tables[0], task)
    shares = np.full(len(runs), 1 / len(runs))
    if weights == "fitted":
        shares = fit_weights(labels, logits, calibrations, average)
    combined = combine(logits, calibrations, shares.tolist(), average)
    novelties, strange = _join_novelty(runs, tables, shares.tolist())
    plain = predictions_table(tables[0], combined, sigmoid(combined))
    point = fit_to_validation(plain, task, threshold)
    run.path.mkdir(parents=True, exist_ok=True)
    names = _copy_members(run, runs, points)
    described = [
        {"name": name, "folder": f"{MEMBERS}/{name}", "weight": share, "calibration": one.to_json()}
        for name, share, one in zip(names, shares.tolist(), calibrations, strict=True)
    ]
    notes = {"format": FORMAT, "average": average, "weights": weights, "members": described}
    shutil.copyfile(runs[0].samples, run.samples)
    seen = pa.concat_tables([read_seen(one.seen) for one in runs])
    write_table(seen.group_by(seen.column_names).aggregate([]), run.seen)
    probabilities = point.calibration.apply(combined)
    predictions = predictions_table(tables[0], combined, probabilities, novelties)
    how = fit_video_point(predictions, task, threshold, video or VideoConfig(), point.threshold)
    write_predictions(predictions, run.validation)
    run.update_record(**_record(runs, notes))
    write_json(run.ensemble, notes)
    of_videos, of_novelty = (None if one is None else one.to_json() for one in (how, strange))
    run.write_operating_point(point.to_json(), of_videos, of_novelty)
    return read_ensemble(run)


def _join_novelty(
    runs: Sequence[RunFolder], tables: Sequence[pa.Table], weights: Sequence[float]
) -> tuple[Scores | None, NoveltyPoint | None]:
    """Return the ensemble's novelties of validation, and a limit of its own.

    The rate is the members'. Both are None where a member does not know novelty.

    Raises:
        FaceproofError: the members' rates differ.
    """
    points = [read_novelty_point(one) for one in runs]
    first = points[0]
    novelties = combine_novelty([novelties_of(table) for table in tables], weights)
    if first is None or novelties is None or None in points:
        return None, None
    if any(point.rate != first.rate for point in points if point is not None):
        listed = "; ".join(
            f"{one.path}: {point.rate:g}"
            for one, point in zip(runs, points, strict=True)
            if point is not None
        )
        raise FaceproofError(
            f"the members have novelty.rate of different values ({listed}); an ensemble has one: "
            "resume one of them with the rate of the other, which fits it without training"
        )
    return novelties, fit_novelty_point(novelties, first.rate, first.num_training)


def _refuse_other_images(
    first: RunFolder, mine: pa.Table, other: RunFolder, theirs: pa.Table
) -> None:
    """Refuse runs that did not share a validation split: one's validation trained the other."""
    if mine["path"].equals(theirs["path"]) and mine["label"].equals(theirs["label"]):
        ours, others = (_contents(one, mine["path"]) for one in (first, other))
        if not ours.equals(others):
            raise FaceproofError(
                f"{first.path} and {other.path} were validated on files of the same names and "
                "other content: images were changed between the two trainings. Make an ensemble "
                "of runs on the same images"
            )
        return
    shared = pc.sum(pc.is_in(mine["path"], theirs["path"].combine_chunks())).as_py() or 0
    raise FaceproofError(
        f"{first.path} and {other.path} were validated on different images ({mine.num_rows:,} "
        f"and {theirs.num_rows:,}, {shared:,} of them the same): what validated one may have "
        "trained the other. Make an ensemble of runs on the same data set, splits and labels"
    )


def _contents(run: RunFolder, paths: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the digests of a run's images as they were trained on, in the order of their paths."""
    seen = read_seen(run.seen)
    chosen = seen.filter(pc.is_in(seen["path"], paths.combine_chunks()))
    return chosen.sort_by("path")["content"]


def _copy_members(
    run: RunFolder, runs: Sequence[RunFolder], points: Sequence[OperatingPoint]
) -> list[str]:
    """Copy the runs, whose operating points these were when they were read; return their names."""
    names = []
    for number, (one, point) in enumerate(zip(runs, points, strict=True)):
        name = f"{number}-{one.path.resolve().name}"
        folder = run.path / MEMBERS / name
        folder.mkdir(parents=True)
        for file in COPIED:
            shutil.copyfile(one.path / file, folder / file)
        if one.novelty.is_file():
            shutil.copyfile(one.novelty, folder / one.novelty.name)
        # Refuses weights that are not those of the point.
        if read_operating_point(RunFolder(folder)) != point:
            raise FaceproofError(
                f"{one.path} was changed while it was copied; remove {run.path} and start again "
                "when nothing trains there"
            )
        names.append(name)
    return names


def _record(runs: Sequence[RunFolder], notes: Mapping[str, Any]) -> dict[str, Any]:
    records = [one.read_record() for one in runs]
    if any(
        framing_of(record.get("crop")) != framing_of(records[0].get("crop")) for record in records
    ):
        listed = "; ".join(
            f"{one.path}: {describe_crop(record.get('crop'))}"
            for one, record in zip(runs, records, strict=True)
        )
        raise FaceproofError(
            f"the members were trained on faces that are not cut out alike ({listed}); an ensemble "
            "sees one crop of each face: train them on the same crops"
        )
    models = ", ".join(str(record.get("model")) for record in records)
    shares = ", ".join(f"{one['weight']:.3g}" for one in notes["members"])
    return {
        **{key: records[0].get(key) for key in OF_DATA},
        "model": f"ensemble of {models}",
        "weights": f"mean {notes['average']}, {notes['weights']} weights: {shares}",
        "members": [from_here(one.path) for one in runs],
        "choices": {"model": "ensemble"},
        "status": "finished",
    }
