"""`faceproof features`."""

from dataclasses import replace

from faceproof.cli.shell import shell
from faceproof.io.newest_runs import named_folder
from faceproof.workflows.features import FeaturesConfig, features


@shell(example="faceproof features runs/NAME --sample 500")
def command(config: FeaturesConfig) -> None:
    """Place images by their features."""
    features(replace(config, subject=named_folder(config.subject)))
