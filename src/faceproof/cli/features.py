"""`faceproof features`."""

from faceproof.cli.shell import shell
from faceproof.workflows.features import FeaturesConfig, features


@shell(example="faceproof features runs/NAME --sample 500")
def command(config: FeaturesConfig) -> None:
    """Place images by their features."""
    features(config)
