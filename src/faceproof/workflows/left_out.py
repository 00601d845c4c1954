"""What an evaluation leaves out: images that the run was trained on or chosen by."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from faceproof.audit.seen import FOUND, NEAR, SAME, find_seen, has_looks, read_seen
from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RunFolder

log = logging.getLogger(__name__)

SKIPPED = "Images skipped because the model saw them in training"
NEARLY = "Near-duplicates among the skipped images"
NO_HASHES = (
    "copies that were encoded again, because the run is of an earlier version, which stored no "
    "perceptual hashes; train it again to have them searched for"
)


@dataclass(frozen=True)
class LeftOut:
    """The images left out, each with why and what it is a copy of; see `audit.seen.FOUND`.

    Attributes:
        images: a table, a row an image.
        not_looked_for: what could not be looked for, and why; None if everything was.
    """

    images: pa.Table = field(default_factory=FOUND.empty_table)
    not_looked_for: str | None = None

    @property
    def num_near(self) -> int:
        """Return how many are no equal files, but look the same."""
        return int(pc.sum(pc.equal(self.images["why"], NEAR)).as_py() or 0)

    def record(self) -> Mapping[str, str | int]:
        """Return what a report says of it."""
        found: dict[str, str | int] = {SKIPPED: self.images.num_rows}
        if self.num_near:
            found[f"{NEARLY} (encoded again, resized, brightened)"] = self.num_near
        if self.not_looked_for is not None:
            found["Not searched for"] = self.not_looked_for
        return found


def leave_out_seen(
    run: RunFolder, rows: pa.Table, statistics: pa.Table, of_training: bool = False
) -> LeftOut:
    """Find the rows that a run was trained on or chosen by, wherever they lie and however encoded.

    Args:
        run: the run.
        rows: the images to score, all readable.
        statistics: their content and look, row by row.
        of_training: a training or validation split is asked for, so that the run's own files stay;
            copies of them are still left out.

    Raises:
        FaceproofError: no image is left.
    """
    seen = read_seen(run.seen)
    found = find_seen(seen, rows, statistics)
    if of_training:
        found = found.filter(pc.not_equal(found["why"], SAME))
    left_out = LeftOut(found, None if has_looks(seen) else NO_HASHES)
    if left_out.not_looked_for is not None:
        log.warning("%s: not searched for: %s", run.path, left_out.not_looked_for)
    if not found.num_rows:
        return left_out
    first = found.slice(0, 1).to_pylist()[0]
    near = left_out.num_near
    named = f"{first['path']} is the first ({first['why']}: {first['seen']})"
    of_them = f" ({near:,} as near-duplicates: encoded again, resized ...)" if near else ""
    if found.num_rows == rows.num_rows:
        raise FaceproofError(
            f"LEAK: {run.path} saw all of these {found.num_rows:,} images in training or "
            f"validation{of_them}, so no metric on them means anything. {named}. Name another "
            "data set or split"
        )
    log.warning(
        "LEAK: %s of %s images skipped because the model saw them in training or validation%s; "
        "left_out.parquet of the evaluation lists them: %s",
        f"{found.num_rows:,}", f"{rows.num_rows:,}", of_them, named,
    )  # fmt: skip
    return left_out
