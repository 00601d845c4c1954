"""`faceproof compare`."""

from dataclasses import replace

from faceproof.cli.shell import shell
from faceproof.io.newest_runs import named_folder
from faceproof.workflows.compare_config import CompareConfig, is_table


@shell(example="faceproof compare multirun/2026-01-12_10-00-00 --out comparison")
def command(config: CompareConfig) -> None:
    """Write the page of a comparison."""
    runs = tuple(path if is_table(path) else named_folder(path) for path in config.runs)
    from faceproof.workflows.compare import compare

    compare(replace(config, runs=runs))
