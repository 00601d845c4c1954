"""Refuse to continue a run on other images than those that it began with."""

import pyarrow as pa
import pyarrow.compute as pc

from faceproof.audit.file_statistics import file_statistics_of
from faceproof.audit.seen import read_seen
from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RunFolder


def refuse_changed_images(run: RunFolder, rows: pa.Table) -> None:
    """Refuse to resume on other images than those that the run was trained on so far."""
    run.require(run.seen)
    seen = read_seen(run.seen)
    found = file_statistics_of(rows.filter(pc.is_in(rows["path"], seen["path"])))
    before = seen["content"].take(pc.index_in(found["path"], seen["path"].combine_chunks()))
    # A file that has vanished is named when it is read.
    changed = found.filter(pc.fill_null(pc.not_equal(found["content"], before), False))
    if changed.num_rows:
        raise FaceproofError(
            f"{changed.num_rows:,} images of {run.path} have been changed since it began, first "
            f"{changed['path'][0].as_py()}; put them back, or train anew on the images of now"
        )
