"""`faceproof export`."""

from faceproof.cli.shell import shell
from faceproof.io.newest_runs import refuse_missing
from faceproof.words import for_shell
from faceproof.workflows.export import ExportConfig, export


@shell(example="faceproof export runs/NAME --to detector")
def command(config: ExportConfig) -> None:
    """Make a detector artifact."""
    refuse_missing(config.run, config.gate, config.detector)
    export(config)
    folder = for_shell(str(config.to))
    print(f"detector artifact: {config.to}")
    print(f"next:\n  faceproof predict IMAGES --detector {folder} --out verdicts.csv")
    print(f"  faceproof serve {folder}")
