"""`faceproof init`."""

from faceproof.cli.shell import shell
from faceproof.workflows.init import InitConfig, init


@shell(example="faceproof init my_project")
def command(config: InitConfig) -> None:
    """Write a starter project."""
    init(config)
