"""`faceproof export`."""

from faceproof.cli.shell import shell
from faceproof.workflows.export import ExportConfig, export


@shell(example="faceproof export runs/NAME --to detector")
def command(config: ExportConfig) -> None:
    """Make a detector artifact."""
    export(config)
    print(f"detector artifact: {config.to}")
