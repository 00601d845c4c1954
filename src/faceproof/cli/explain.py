"""`faceproof explain`."""

from faceproof.cli.shell import shell
from faceproof.io.newest_runs import refuse_missing
from faceproof.workflows.explain import ExplainConfig, explain


@shell(example="faceproof explain runs/NAME my/*.jpg --methods cam")
def command(config: ExplainConfig) -> None:
    """Explain images."""
    refuse_missing(config.subject)
    explain(config)
