"""`faceproof fetch`."""

from faceproof.cli.shell import shell
from faceproof.workflows.fetch import FetchConfig, fetch


@shell(example="faceproof fetch ciplab")
def command(config: FetchConfig) -> None:
    """Get a data set."""
    fetch(config)
