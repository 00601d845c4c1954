"""Tables of scores beside runs in a comparison: read, and brought to the images of the others."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from faceproof.errors import FaceproofError
from faceproof.evaluation.calibration import calibrated
from faceproof.evaluation.operating_point import OperatingPoint, ThresholdConfig, fit_to_validation
from faceproof.evaluation.path_matching import match_paths
from faceproof.evaluation.predictions import labelled_rows, subgroup_columns
from faceproof.evaluation.score_table import (
    ScoreFormat,
    ScoreTable,
    read_scores,
    refuse_unused,
    reported_split,
)
from faceproof.evaluation.scored_runs import ReportHead, ScoredRun
from faceproof.task import get_task

UNTUNED = 0.5  # the threshold where none was fixed on validation
UNTUNED_ORIGIN = f"{UNTUNED:g}, by convention: none was fixed on validation"
OF_TABLES = "tables of scores"
OF_IMAGE = ("label", "source", "generator", "group", "component", "pair")
MAX_SOURCES = 3  # by whose names a set of images is called


def read_scored_tables(
    files: Sequence[Path], how: ScoreFormat, images: Path | None = None
) -> list[ScoredRun]:
    """Read what detectors answered, from tables; validation is the rows of the split val."""
    tables = [read_scores(file, how, images) for file in files]
    refuse_unused(how, tables)
    return [_scored(table, how) for table in tables]


def _scored(table: ScoreTable, how: ScoreFormat) -> ScoredRun:
    split = reported_split(table)
    predictions, point = table.part(split), None
    if (validation := validation_rows(table, split)) is not None:
        point = fit_to_validation(labelled_rows(validation), get_task(how.task), ThresholdConfig())
        predictions = calibrated(predictions, point.calibration)
    report = ReportHead(
        task=get_task(how.task), model=table.file.stem,
        data=data_name(predictions), split=split or "all",
        threshold=UNTUNED if point is None else point.threshold,
        threshold_origin=origin_of(point), criterion=None if point is None else point.criterion,
        test_scorings=None, images=None,
    )  # fmt: skip
    return ScoredRun(table.file, OF_TABLES, {}, report, predictions)


def validation_rows(table: ScoreTable, split: str | None) -> pa.Table | None:
    """Return the rows of the split val beside the split that is reported, if there are any.

    Raises:
        FaceproofError: a group or a component of theirs is reported too.
    """
    if "val" not in table.split or split == "val":
        return None
    validation = table.part("val")
    refuse_shared_groups(table.part(split), validation, f"val and {split} of {table.file}")
    return validation


def refuse_shared_groups(ours: pa.Table, theirs: pa.Table, where: str) -> None:
    """Refuse images that are reported, `ours`, of a group or a component of validation, `theirs`.

    The frames of one video are hardly better than the same image.
    """
    for name in ("group", "component"):
        mine, known = (one[name].drop_null().unique() for one in (ours, theirs))
        shared = mine.filter(pc.is_in(mine, value_set=known)).to_pylist()
        if shared:
            raise FaceproofError(
                f"{len(shared):,} values of {name} are in both {where}, "
                f"{min(shared)} for one; a threshold that is fixed on frames of a video, or images "
                "of a person, that it is measured on says little of others: divide by "
                f"{name}, or, if these only share a name, leave the column out by "
                f"--columns.{name}=null"
            )


def origin_of(point: OperatingPoint | None) -> str:
    """Say where the threshold of a table of scores comes from."""
    return UNTUNED_ORIGIN if point is None else point.origin


def data_name(predictions: pa.Table) -> str:
    """Return what a set of images is called: by its sources, if they are few."""
    sources = sorted(filter(None, predictions["source"].unique().to_pylist()))
    return "+".join(sources) if len(sources) <= MAX_SOURCES else f"{len(sources):,} sources"


def beside_runs(runs: Sequence[ScoredRun], tables: Sequence[ScoredRun]) -> list[ScoredRun]:
    """Return runs and tables, in which the tables have the paths of the first of all.

    The first is a run or, without any, the table with labels that knows most of its images. What
    a table does not know of them, such as their labels, it takes from the first.

    Raises:
        FaceproofError: no table says what the images are.
    """
    first = runs[0] if runs else max(tables, key=_how_much_is_known)
    if "label" not in _known(first.predictions):
        raise FaceproofError(
            f"no table has labels, {first.path} for one: name the column that has them by "
            "--columns.NAME=label, or give a table that has them by --images"
        )
    others = [
        _like(first, one) if one.is_table else one for one in (*runs, *tables) if one is not first
    ]
    return [_with_subgroups_of(others, first), *others]


def _with_subgroups_of(others: Sequence[ScoredRun], first: ScoredRun) -> ScoredRun:
    """Return the first with the subgroups that tables of the same images know beside its own."""
    predictions = first.predictions
    for one in others:
        if one.is_table and one.predictions["path"].equals(predictions["path"]):
            known = [*_known(predictions), *OF_IMAGE]
            for name in [name for name in _known(one.predictions) if name not in known]:
                if name in predictions.column_names:
                    predictions = predictions.drop_columns([name])
                predictions = predictions.append_column(name, one.predictions[name])
    return replace(first, predictions=predictions)


def _known(predictions: pa.Table) -> list[str]:
    """Return the columns of the images that hold anything."""
    names = (*OF_IMAGE, *subgroup_columns(predictions))
    return [name for name in names if predictions[name].null_count < predictions.num_rows]


def _how_much_is_known(table: ScoredRun) -> tuple[bool, int]:
    known = _known(table.predictions)
    return "label" in known, len(known)


def _like(first: ScoredRun, table: ScoredRun) -> ScoredRun:
    """Return a table in the order of the first; one of other images is left as it is."""
    ours, theirs = first.predictions, table.predictions
    paths = [one["path"].to_pylist() for one in (ours, theirs)]
    places = match_paths(paths[0], first.path.parent, paths[1], table.path.parent)
    if None in places or len(places) != len(paths[1]):
        return table
    ordered, known = theirs.take(pa.array(places, pa.int64())), _known(theirs)
    taken = [name for name in ours.column_names if name in OF_IMAGE and name not in known]
    columns = {
        name: (ours if name in ("path", *taken) else ordered)[name] for name in theirs.column_names
    }
    return replace(table, predictions=pa.table(columns, schema=theirs.schema))
