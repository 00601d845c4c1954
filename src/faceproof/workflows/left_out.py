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

NO_HASHES = (
    "copies that were encoded again, for the run is of an earlier version, which kept no "
    "perceptual hashes; train it again to have them looked for"
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

    def record(self) -> Mapping[str, str | int | None]:
        """Return what a report says of it."""
        return {
            "left out here, for it was trained on or chosen by them": self.images.num_rows or None,
            "of these, near-duplicates (encoded again, resized, brightened)": self.num_near or None,
            "not looked for": self.not_looked_for,
        }


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
        log.warning("%s: not looked for are %s", run.path, left_out.not_looked_for)
    if not found.num_rows:
        return left_out
    first = found.slice(0, 1).to_pylist()[0]
    near = left_out.num_near
    named = f"{first['path']} is the first ({first['why']}: {first['seen']})"
    of_them = f" ({near:,} as near-duplicates: encoded again, resized ...)" if near else ""
    if found.num_rows == rows.num_rows:
        raise FaceproofError(
            f"all of these {found.num_rows:,} images are ones that {run.path} was trained on or "
            f"chosen by{of_them}; a metric measured on them would mean nothing. {named}. Name "
            "another data set or split"
        )
    log.warning(
        "%s of %s images are ones that the run was trained on or chosen by%s; left out, and "
        "listed in the evaluation's left_out.parquet: %s",
        f"{found.num_rows:,}", f"{rows.num_rows:,}", of_them, named,
    )  # fmt: skip
    return left_out
