"""`faceproof push`."""

from faceproof.cli.shell import shell
from faceproof.io.newest_runs import refuse_missing_detector
from faceproof.workflows.hub import PushConfig, push


@shell(example="faceproof push detector hf://OWNER/NAME --license apache-2.0")
def command(config: PushConfig) -> None:
    """Put a detector on the hub."""
    refuse_missing_detector(config.folder)
    place = push(config)
    print(f"detector artifact: {place}")
    print(f"next:\n  python -c \"import faceproof; faceproof.load('{config.to}')\"")
