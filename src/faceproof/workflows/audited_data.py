"""Looks at every file of a data set before a training, and stops one whose splits leak."""

import logging

import pyarrow as pa
import pyarrow.compute as pc

from faceproof.audit.audit import cached_audit
from faceproof.audit.file_statistics import file_statistics_of
from faceproof.audit.readable import readable_rows
from faceproof.audit.seen import seen_images
from faceproof.data.listing import DataSet
from faceproof.data.table import write_table
from faceproof.errors import FaceproofError
from faceproof.io.run_folder import RunFolder
from faceproof.reports.audit_page import describe, write_audit

log = logging.getLogger(__name__)


def audited_rows(run: RunFolder, data: DataSet) -> tuple[pa.Table, pa.Table]:
    """Return the readable rows and their file statistics.

    The findings go to the run's `unreadable.csv`, `audit.json`, `audit.html` and record.
    """
    statistics = file_statistics_of(data.table)
    rows, _ = readable_rows(data, run.unreadable, statistics)
    audit = cached_audit(data, statistics)
    write_audit(audit, run.path)
    run.update_record(audit=[f"{f.kind}, {f.count:,}: {f.text}" for f in audit.findings])
    if audit.leaks and not data.allow_leaks:
        raise FaceproofError(
            f"data set {data.name} leaks across its splits, so that no metric on them means "
            f"anything:\n{describe(audit)}\nSee {run.path / 'audit.html'}. Mend the splits, "
            "or train all the same with data.allow_leaks=true"
        )
    if not audit.clear:
        log.warning("the audit of %s found:\n%s", data.name, describe(audit))
    write_table(seen_images(rows, statistics), run.seen)
    return rows, statistics.filter(pc.is_null(statistics["reason"]))
