"""`faceproof ensemble`."""

from faceproof.cli.shell import shell
from faceproof.io.newest_runs import refuse_missing
from faceproof.workflows.ensemble_config import EnsembleConfig


@shell(example="faceproof ensemble runs/A runs/B --weights fitted --out runs/both")
def command(config: EnsembleConfig) -> None:
    """Make an ensemble."""
    refuse_missing(*config.runs)
    from faceproof.workflows.ensemble import ensemble

    ensemble(config)
