"""`faceproof compare`."""

from faceproof.cli.shell import shell
from faceproof.io.newest_runs import refuse_missing
from faceproof.workflows.compare_config import CompareConfig


@shell(example="faceproof compare multirun/2026-01-12_10-00-00 --out comparison")
def command(config: CompareConfig) -> None:
    """Write the page of a comparison."""
    refuse_missing(*config.runs)
    from faceproof.workflows.compare import compare

    compare(config)
