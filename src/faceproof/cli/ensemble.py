"""`faceproof ensemble`."""

from dataclasses import replace

from faceproof.cli.shell import shell
from faceproof.io.newest_runs import named_folder
from faceproof.workflows.ensemble_config import EnsembleConfig


@shell(example="faceproof ensemble runs/A runs/B --weights fitted --out runs/both")
def command(config: EnsembleConfig) -> None:
    """Make an ensemble."""
    runs = tuple(map(named_folder, config.runs))
    from faceproof.workflows.ensemble import ensemble

    ensemble(replace(config, runs=runs))
