"""Asks the Hugging Face hub, and says in a sentence what is wrong where it refuses."""

import socket
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

from faceproof import __version__
from faceproof.errors import FaceproofError
from faceproof.io.atomic import REASONS
from faceproof.io.plain_files import printable

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Answer = TypeVar("Answer")
NETWORKING = ("http", "requests", "urllib3", "hf_xet")  # how modules of the network begin
LOG_IN = "log in by hf auth login, or set HF_TOKEN"


def make_client() -> "HfApi":
    """Return what talks to the hub, at HF_ENDPOINT if that is set, with the user's own token.

    Raises:
        FaceproofError: huggingface_hub is not installed.
    """
    if find_spec("huggingface_hub") is None:
        raise FaceproofError("the hub needs huggingface_hub: pip install 'faceproof[hub]'")
    from huggingface_hub import HfApi

    return HfApi(library_name="faceproof", library_version=__version__)


def ask(place: object, call: Callable[..., Answer], *arguments: Any, **named: Any) -> Answer:
    """Return what a function of huggingface_hub answers about a place.

    Raises:
        FaceproofError: it says why there is no answer, and what to do.
    """
    try:
        return call(*arguments, **named)
    # huggingface_hub passes on the errors of its HTTP library, which changes from release to
    # release; nothing but its own code is called here.
    except Exception as error:
        if isinstance(error, OSError) and error.errno in REASONS:
            raise  # of the disk
        raise FaceproofError(_explain(place, error)) from error


def _explain(place: object, raised: Exception) -> str:
    from huggingface_hub import constants, errors

    token = _knows_token()
    chain = list(_causes(raised))
    error = next((one for one in chain if isinstance(one, errors.HfHubHTTPError)), raised)
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{place} is given out on request: ask for access on its page"
            f"{'' if token else f', and {LOG_IN}'}"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        access = "your token has no access to it" if token else f"it is private: {LOG_IN}"
        return f"the hub shows no repository {place}: there is none of this name, or {access}"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{place}: the repository has no such branch, tag or commit"
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return f"{place}: the hub lists a file that it does not give out; try again"
    if isinstance(error, errors.HfHubHTTPError):
        return _refused(place, error.response.status_code, error.server_message, token)
    if isinstance(error, errors.OfflineModeIsEnabled) or constants.is_offline_mode():
        return f"{place} is on the hub, and HF_HUB_OFFLINE forbids to ask it; unset that"
    reason, *_ = [*str(chain[-1]).splitlines(), ""]
    if not any(map(_is_of_network, chain)):
        return (
            f"huggingface_hub has failed at {place} ({type(chain[-1]).__name__}: "
            f"{printable(reason)}); pip install -U huggingface_hub may help"
        )
    return (
        f"the hub {constants.ENDPOINT} cannot be reached, or broke off "
        f"({type(chain[-1]).__name__}: {printable(reason)}); connect to the network and try again"
    )


def _is_of_network(error: BaseException) -> bool:
    known = isinstance(error, ConnectionError | TimeoutError | socket.gaierror)
    return known or type(error).__module__.startswith(NETWORKING)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what caused it, that first which was raised last."""
    while error is not None:
        yield error
        error = error.__cause__


def _refused(place: object, status: int, said: str | None, token: bool) -> str:
    because = f": {printable(said)}" if said else ""
    if status in (401, 403):
        what = "your token may not do that" if token else f"it asks for a token: {LOG_IN}"
        return f"the hub refuses {place} ({status}{because}); {what}"
    if status in (409, 412):
        return f"{place} was changed by somebody else meanwhile ({status}{because}); try again"
    return f"the hub answers {status} for {place}{because}; try again later"


def _knows_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None
