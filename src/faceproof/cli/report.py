"""`faceproof report`."""

from faceproof.cli.shell import shell
from faceproof.workflows.report_config import ReportConfig


@shell(example="faceproof report scores.csv --score probability --out report")
def command(config: ReportConfig) -> None:
    """Write the report of a table of scores."""
    from faceproof.workflows.report import report

    report(config)
