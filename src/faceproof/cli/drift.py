"""`faceproof drift`."""

from faceproof.cli.shell import shell
from faceproof.workflows.drift import DriftConfig, drift


@shell(example="faceproof drift verdicts.csv --detector detector")
def command(config: DriftConfig) -> None:
    """Say whether what comes in has changed."""
    drift(config)
