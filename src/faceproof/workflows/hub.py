"""`faceproof push` and `faceproof pull`: a detector to the Hugging Face hub, and from there."""

import re
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from faceproof.errors import FaceproofError
from faceproof.io.names import is_hub_place
from faceproof.io.newest_runs import refuse_missing_detector


@dataclass(frozen=True)
class PushConfig:
    """Put a detector artifact on the Hugging Face hub, for others to load.

    Its files replace what the repository holds of an earlier detector. Your token is that of hf
    auth login, or HF_TOKEN. Needs pip install 'faceproof[hub]'.

    Attributes:
        folder: the artifact's folder, made by faceproof export.
        to: the repository, as hf://OWNER/NAME; it is made if there is none.
        license: of the weights, by the hub's name for it, such as apache-2.0 or cc-by-nc-4.0; it is
            said to be unknown without.
        public: everybody may see the repository; else it is private.
        replace_page: replace the repository's page also if it was written or edited there.
    """

    folder: Path
    to: str
    _: KW_ONLY
    license: str | None = None
    public: bool = False
    replace_page: bool = False

    def __post_init__(self) -> None:
        if self.license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", self.license):
            raise FaceproofError(
                f"--license {self.license!r} is not the hub's name for a licence; write it as "
                "apache-2.0, mit, cc-by-nc-4.0 or other"
            )


@dataclass(frozen=True)
class PullConfig:
    """Fetch a detector artifact from the Hugging Face hub.

    It is data: files with other endings, and files that its card does not name, are refused, and
    the others are compared with the checksums of the card. Needs pip install 'faceproof[hub]'.

    Attributes:
        place: the repository, as hf://OWNER/NAME or hf://OWNER/NAME@REVISION.
        to: the artifact's folder, which is made.
        overwrite: replace an artifact that is there.
    """

    place: str
    _: KW_ONLY
    to: Path
    overwrite: bool = False


def fetched(detector: Path) -> Path:
    """Return the folder of a detector; one on the hub is fetched into the cache first.

    Raises:
        FaceproofError: there is no such folder, or the hub does not give it out.
    """
    if is_hub_place(detector):
        from faceproof.artifact.hub import local_folder

        return local_folder(detector)
    refuse_missing_detector(detector)
    return detector


def push(config: PushConfig) -> str:
    """Put an artifact on the hub, and return the place by which this version of it is loaded.

    Raises:
        FaceproofError: see `faceproof.artifact.hub.push`.
    """
    from faceproof.artifact import hub

    place = hub.read_place(config.to)
    commit = hub.push(config.folder, place, config.license, config.public, config.replace_page)
    return f"{place}@{commit}"


def pull(config: PullConfig) -> str:
    """Fetch an artifact from the hub, and return the place by which this version is fetched again.

    Raises:
        FaceproofError: see `faceproof.artifact.hub.pull`.
    """
    from faceproof.artifact import hub

    place = hub.read_place(config.place)
    commit = hub.pull(place, config.to, config.overwrite)
    return f"hf://{place.repository}@{commit}"
