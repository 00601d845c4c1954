"""The tables of images in a run folder, which may come from a stranger."""

import pyarrow as pa

from faceproof.data.shards.known_stores import refuse_unknown_stores
from faceproof.data.table import SCHEMA, select
from faceproof.io.parquet import read_parquet
from faceproof.io.run_folder import RunFolder


def read_samples(run: RunFolder, split: str | None = None) -> pa.Table:
    """Return the image table of a run, or its rows of one split.

    Raises:
        FaceproofError: it is missing or damaged, or names images in an object store that the user
            has not named.
    """
    run.require(run.samples)
    table = read_parquet(run.samples, SCHEMA, may_lack=("component",))
    refuse_unknown_stores(table["path"], run.samples)
    return table if split is None else select(table, split)
