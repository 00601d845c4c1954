"""`faceproof spectra`."""

from faceproof.cli.shell import shell
from faceproof.workflows.spectra import SpectraConfig, spectra


@shell(example="faceproof spectra data=demo")
def command(config: SpectraConfig) -> None:
    """Show mean spectra."""
    from faceproof import app

    spectra(app.compose_data(list(config.settings)), config)
