"""The story of `faceproof audit`: look at every file of a data set before anybody trains on it."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from faceproof.io.folders import refuse_file

if TYPE_CHECKING:
    from faceproof.audit.audit import Audit
    from faceproof.data.listing import DataSet


@dataclass(frozen=True)
class AuditConfig:
    """Find leaks, shortcuts and bad files in a data set.

    Looks at every file of a data set for duplicates across splits, odd files and shortcuts, that is
    properties of the files that alone predict the class. Writes audit.html and audit.json.

    Exit code 0: neither errors nor warnings; 1: there are some; 2: the audit cannot be made.

    Attributes:
        settings: data=NAME, the data set, and data.KEY=VALUE.
        out: folder to write audit.html and audit.json to.
    """

    settings: tuple[str, ...]
    _: KW_ONLY
    out: Path = Path("audit")

    def __post_init__(self) -> None:
        refuse_file(self.out)


def audit(data: "DataSet", config: AuditConfig) -> "Audit":
    """Audit a data set, print what was found, and write the page."""
    from faceproof.audit.audit import cached_audit
    from faceproof.audit.file_statistics import file_statistics_of
    from faceproof.reports.audit_page import describe, verdict, write_audit

    found = cached_audit(data, file_statistics_of(data.table))
    page = write_audit(found, config.out)
    print(f"{data.name}: {found.num_images:,} images: {verdict(found)}\n{describe(found)}")
    what = "how well each property of the files alone predicts the class"
    if found.shortcuts:
        print(f"{what} (ROC-AUC, 95% interval):")
    for shortcut in found.shortcuts:
        limit = "" if shortcut.limit is None else f"; limit {shortcut.limit}"
        interval = f"{shortcut.low:.3f} to {shortcut.high:.3f}{limit}"
        print(f"  {shortcut.name:24} {shortcut.auroc:.3f} ({interval})")
    print(f"page: {page}")
    return found
