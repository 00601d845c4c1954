"""`faceproof serve`."""

from dataclasses import replace
from typing import Annotated

from cyclopts import Parameter

from faceproof.cli.shell import shell
from faceproof.server.limits import Limits
from faceproof.workflows.hub import fetched
from faceproof.workflows.serve import ServeConfig, serve


class Options(ServeConfig):
    """Show the limits as options of the command, in a list of their own."""

    __doc__ = ServeConfig.__doc__
    limits: Annotated[Limits, Parameter(name="*", group="limits")]


@shell(example="faceproof serve detector, then open http://127.0.0.1:7860")
def command(config: Options) -> int:
    """Serve until the process is told to end; 1 if the server could not start."""
    return serve(replace(config, detector=fetched(config.detector)))
