"""`faceproof pull`."""

from faceproof.cli.shell import shell
from faceproof.words import for_shell
from faceproof.workflows.hub import PullConfig, pull


@shell(example="faceproof pull hf://OWNER/NAME --to detector")
def command(config: PullConfig) -> None:
    """Fetch a detector from the hub."""
    place = pull(config)
    print(f"detector artifact: {config.to}, of {place}")
    print(f"next:\n  faceproof predict IMAGES --detector {for_shell(str(config.to))}")
