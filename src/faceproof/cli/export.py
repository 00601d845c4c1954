"""`faceproof export`."""

from faceproof.cli.shell import shell
from faceproof.io.newest_runs import refuse_missing
from faceproof.workflows.export import ExportConfig, export


@shell(example="faceproof export runs/NAME --to detector")
def command(config: ExportConfig) -> None:
    """Make a detector artifact."""
    refuse_missing(config.run, config.gate, config.detector)
    export(config)
    print(f"detector artifact: {config.to}")
