"""The tables of images in a run folder, which may come from a stranger."""

import pyarrow as pa

from faceproof.data.coverage import Coverage
from faceproof.data.listing import DataSet
from faceproof.data.shards.known_stores import refuse_unknown_stores
from faceproof.data.table import ADDED_LATER, SCHEMA, WORD, select, validate
from faceproof.errors import FaceproofError
from faceproof.io.parquet import read_parquet
from faceproof.io.parse import parse
from faceproof.io.run_folder import COPY_AGAIN, RunFolder
from faceproof.task import get_task


def read_samples(run: RunFolder, split: str | None = None) -> pa.Table:
    """Return the image table of a run, or its rows of one split.

    Raises:
        FaceproofError: it is missing or damaged, or names images in an object store that the user
            has not named.
    """
    run.require(run.samples)
    table = read_parquet(run.samples, SCHEMA, may_lack=ADDED_LATER, more=WORD)
    refuse_unknown_stores(table["path"], run.samples)
    return table if split is None else select(table, split)


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
