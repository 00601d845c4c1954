"""`faceproof explain`."""

from dataclasses import replace

from faceproof.cli.shell import shell
from faceproof.io.newest_runs import named_folder
from faceproof.workflows.explain import ExplainConfig, explain


@shell(example="faceproof explain runs/NAME my/*.jpg --methods cam")
def command(config: ExplainConfig) -> None:
    """Explain images."""
    explain(replace(config, subject=named_folder(config.subject)))
