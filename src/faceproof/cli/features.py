"""`faceproof features`."""

from faceproof.cli.shell import shell
from faceproof.io.newest_runs import refuse_missing
from faceproof.workflows.features import FeaturesConfig, features


@shell(example="faceproof features runs/NAME --sample 500")
def command(config: FeaturesConfig) -> None:
    """Place images by their features."""
    refuse_missing(config.subject)
    features(config)
