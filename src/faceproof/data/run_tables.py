"""The tables of images in a run folder, which may come from a stranger."""

from pathlib import Path

import pyarrow as pa

from faceproof.data.coverage import Coverage
from faceproof.data.leave_out import LeaveOutConfig
from faceproof.data.listing import DataSet
from faceproof.data.shards.known_stores import refuse_unknown_stores
from faceproof.data.table import ADDED_LATER, SCHEMA, WORD, select, validate
from faceproof.errors import FaceproofError
from faceproof.io.parquet import read_parquet
from faceproof.io.parse import parse
from faceproof.io.run_folder import COPY_AGAIN, RunFolder
from faceproof.settings import make
from faceproof.task import get_task


def read_samples(run: RunFolder, split: str | None = None) -> pa.Table:
    """Return the image table of a run, or its rows of one split.

    Raises:
        FaceproofError: it is missing or damaged, or names images in an object store that the user
            has not named.
    """
    run.require(run.samples)
    table = _read_images(run.samples)
    return table if split is None else select(table, split)


def _read_images(file: Path) -> pa.Table:
    table = read_parquet(file, SCHEMA, may_lack=ADDED_LATER, more=WORD)
    refuse_unknown_stores(table["path"], file)
    return table


def recorded_data(run: RunFolder) -> DataSet:
    """Return the images that a run was trained on, as its `samples.parquet` lists them."""
    data = run.read_config()["data"]
    for name in ("name", "task"):
        if name not in data:
            raise FaceproofError(f"{run.config} has no data.{name}; {COPY_AGAIN}")
    task = get_task(data["task"])
    table = validate(read_samples(run), task, data["name"], complete=False)
    recorded = run.read_record().get("protocols")
    coverage = parse(tuple[Coverage, ...] | None, recorded, f"{run.record}: protocols") or ()
    return DataSet(data["name"], task, table, coverage=coverage)


def read_held_out(run: RunFolder) -> pa.Table:
    """Return the images to judge of what was left out of a run; none where nothing was."""
    return _read_images(run.held_out) if run.held_out.is_file() else SCHEMA.empty_table()


def held_out_data(run: RunFolder) -> DataSet:
    """Return the images to judge of what was left out of a run, by the names of what that is.

    Raises:
        FaceproofError: nothing was left out, or nothing of it can be judged.
    """
    config = run.read_config()
    if not run.held_out.is_file():
        raise FaceproofError(
            f"{run.path} has no {run.held_out.name}: nothing was left out of its training "
            "(leave_out.source, leave_out.generator); choose another split"
        )
    left_out = make(LeaveOutConfig, config.get("leave_out", {}), "leave_out")
    table, task = read_held_out(run), get_task(config["data"].get("task", ""))
    name = "+".join(left_out.names)
    if not table.num_rows:
        raise FaceproofError(
            f"{run.path}: no image of what was left out ({name}) can be judged: it has none in its "
            "split test (leave_out.split=all takes those of every split)"
        )
    return DataSet(name, task, validate(table, task, name, complete=False))
