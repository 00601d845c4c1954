"""`faceproof export`."""

from faceproof.cli.shell import shell
from faceproof.workflows.export import ExportConfig, export


@shell(example="faceproof export runs/NAME --to detector")
def command(config: ExportConfig) -> int:
    """Make a detector artifact."""
    export(config)
    print(f"detector artifact: {config.to}")
    return 0
