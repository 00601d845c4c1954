"""`faceproof explore`."""

from faceproof.cli.shell import shell
from faceproof.workflows.explore import ExploreConfig, explore


@shell(example="faceproof explore data=demo")
def command(config: ExploreConfig) -> None:
    """Show what a data set holds."""
    from faceproof import app

    explore(app.compose_data(list(config.settings)), config)
