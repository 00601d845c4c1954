"""Hands a detector artifact on through the Hugging Face hub, and fetches one from there.

A repository of the hub holds the files of one artifact, with the card for people as its page. It
may be a stranger's: its list of files is checked before anything is fetched, and every file against
the checksum in `card.json` before anything is used. huggingface_hub talks to the hub; it finds the
user's token itself.
"""

import logging
import re
import shutil
import tempfile
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from faceproof.artifact.artifact import (
    CARD,
    MAX_CARD,
    README,
    read_card,
    read_file,
    refuse_occupied,
)  # fmt: skip
from faceproof.artifact.card import MAX_NETWORKS, Card
from faceproof.artifact.hub_answers import ask, make_client
from faceproof.artifact.hub_card import hub_card, is_signed_page, sign_page
from faceproof.errors import FaceproofError
from faceproof.io.atomic import atomic_folder
from faceproof.io.cache import cache_folder
from faceproof.io.left_behind import is_left_behind
from faceproof.io.locks import Lock
from faceproof.io.names import is_hub_place
from faceproof.io.plain_files import printable, read_bytes

if TYPE_CHECKING:
    from huggingface_hub import HfApi

ENDINGS = (".safetensors", ".json", ".onnx", ".parquet", ".md")  # of data, none of which runs code
OF_THE_HUB = ".gitattributes"  # the hub puts it into every repository
MAX_README = 1_000_000  # bytes
MAX_BYTES = 8 * 2**30  # of all files together
MAX_FILES = 3 * MAX_NETWORKS + 10
TIMEOUT = 10.0  # seconds until the hub answers
WRITTEN = re.compile(r"hf:/{1,2}([^/@]+)/([^/@]+)(?:@(.+))?")  # a path has one slash of the two
NAME = re.compile(r"(?a)(?!.*(?:--|\.\.))\w(?:[\w.-]{0,94}\w)?")
REVISION = re.compile(r"(?a)(?!.*\.\.)\w[\w./-]{0,250}")
COMMIT = re.compile(r"[0-9a-f]{40}")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubPlace:
    """A repository of the hub, at a branch, tag or commit; None is its main branch."""

    owner: str
    name: str
    revision: str | None = None

    @property
    def repository(self) -> str:
        """The name that the hub has for it."""
        return f"{self.owner}/{self.name}"

    def __str__(self) -> str:
        at = "" if self.revision is None else f"@{self.revision}"
        return f"hf://{self.repository}{at}"


def read_place(text: str | Path) -> HubPlace:
    """Return the place that `hf://OWNER/NAME` or `hf://OWNER/NAME@REVISION` names.

    Raises:
        FaceproofError: it is written otherwise.
    """
    found = WRITTEN.fullmatch(str(text))
    named = found and NAME.fullmatch(found[1]) and NAME.fullmatch(found[2])
    if found and named and (found[3] is None or REVISION.fullmatch(found[3])):
        return HubPlace(found[1], found[2], found[3])
    raise FaceproofError(
        f"{text} names no repository of the hub; write hf://OWNER/NAME, or "
        "hf://OWNER/NAME@REVISION for a branch, tag or commit"
    )


def push(
    folder: Path, place: HubPlace, license: str | None = None, public: bool = False,
    replace_page: bool = False,
) -> str:  # fmt: skip
    """Put an artifact into a repository of the hub, in one commit, and return that commit's hash.

    The repository is made if there is none, private unless it is to be `public`; one that is there
    must be as visible as that. It holds the files of this artifact afterwards and no others.

    Args:
        folder: the artifact's.
        place: without a revision.
        license: of the weights, by the hub's name for it, such as `apache-2.0`.
        public: everybody may read the repository.
        replace_page: also a page that somebody has edited there.

    Raises:
        FaceproofError: the artifact is not whole or holds something else, the repository holds
            something else or a page that was edited there, or the hub refuses or does not answer.
    """
    if place.revision is not None:
        raise FaceproofError(f"{place} names a revision; push to hf://{place.repository}")
    client = make_client()
    files = _whole_files(folder)
    card = read_card(folder)
    page = hub_card(card, files[README].decode(), place.repository, license)
    files[README] = sign_page(page).encode()
    before = _files_to_replace(client, place, public)
    if README in before.sizes and not replace_page:
        _refuse_edited_page(client, place, before)
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    gone = [CommitOperationDelete(name) for name in sorted(before.sizes.keys() - files.keys())]
    added = [CommitOperationAdd(name, data) for name, data in sorted(files.items())]
    with warnings.catch_warnings():
        # It takes every table for a data set's, and calls its HTTP library in a deprecated way.
        warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")
        warnings.simplefilter("ignore", DeprecationWarning)
        made = ask(
            place, client.create_commit, place.repository, [*added, *gone],
            commit_message=f"Detector {card.name}", parent_commit=before.commit,
        )  # fmt: skip
    commit: str = made.oid
    return commit


def pull(place: HubPlace, to: Path, overwrite: bool = False) -> str:
    """Fetch an artifact into a folder, whole and checked or not at all; return its commit's hash.

    Raises:
        FaceproofError: the repository is not there or not open to the user, it holds no artifact,
            or one with other files than its card names; or the folder is occupied.
    """
    refuse_occupied(to, overwrite)
    client = make_client()
    listed = _listed(client, place)
    _fetch(client, place, listed, to)
    return listed.commit


def local_folder(path: str | Path) -> Path:
    """Return the folder of an artifact; one on the hub is fetched into the cache first.

    Each commit is fetched once. A place without a commit's hash is looked up on the hub each time.

    Raises:
        FaceproofError: as `pull`.
    """
    if not is_hub_place(path):
        return Path(path)
    place = read_place(path)
    kept = cache_folder() / "hub" / place.owner / place.name
    named = place.revision
    if named is not None and COMMIT.fullmatch(named) and (kept / named).is_dir():
        return kept / named
    client = make_client()
    listed = _listed(client, place)
    folder = kept / listed.commit
    lock = Lock(kept / f"{listed.commit}.lock", "")
    lock.acquire(wait=True)
    try:
        if not folder.is_dir():
            _fetch(client, place, listed, folder)
    finally:
        lock.release()
    log.info("%s is commit %s of it", place, listed.commit)
    return folder


@dataclass(frozen=True)
class _Listed:
    """The files of a repository at one commit."""

    commit: str
    sizes: Mapping[str, int]  # bytes, by name
    private: bool


def _listed(client: "HfApi", place: HubPlace) -> _Listed:
    """Return the files of a repository; its list alone is fetched.

    Raises:
        FaceproofError: there are files that no artifact has, too many or too large ones.
    """
    found = ask(
        place, client.model_info, place.repository, revision=place.revision, timeout=TIMEOUT,
        files_metadata=True,
    )  # fmt: skip
    if found.sha is None or not COMMIT.fullmatch(found.sha):
        raise FaceproofError(f"the hub did not say which commit {place} is; try again")
    named = place.revision
    if named is not None and COMMIT.fullmatch(named) and found.sha != named:
        raise FaceproofError(
            f"{place} names a commit, and the hub answers with another, {found.sha}; nothing was "
            "fetched. Name the commit that you want"
        )
    sizes: dict[str, int] = {}
    for one in found.siblings or ():
        if one.rfilename == OF_THE_HUB:
            continue
        if not re.fullmatch(r"\w[\w.-]*", one.rfilename) or not one.rfilename.endswith(ENDINGS):
            raise FaceproofError(
                f"{place} holds {printable(one.rfilename)}, which is no part of a detector "
                f"artifact; files of one end with {', '.join(ENDINGS)}, so nothing was fetched"
            )
        if one.size is None:
            raise FaceproofError(f"the hub did not say how large {one.rfilename} is; try again")
        sizes[one.rfilename] = one.size
    _refuse_too_large(place, sizes)
    return _Listed(found.sha, sizes, bool(found.private))


def _refuse_too_large(place: HubPlace, sizes: Mapping[str, int]) -> None:
    limits = {CARD: MAX_CARD, README: MAX_README}
    large = [name for name, size in sizes.items() if size > limits.get(name, MAX_BYTES)]
    total = sum(sizes.values())
    if large or len(sizes) > MAX_FILES or total > MAX_BYTES:
        which = f" ({large[0]} has {sizes[large[0]]:,})" if large else ""
        raise FaceproofError(
            f"{place} has {total:,} bytes in {len(sizes):,} files{which}, more than a detector "
            "has; nothing was fetched"
        )


def _fetch(client: "HfApi", place: HubPlace, listed: _Listed, to: Path) -> None:
    """Fetch the files of a commit into a folder, which stands only if they are what its card says.

    Raises:
        FaceproofError: a file is missing, additional or not the one of the card.
    """
    if CARD not in listed.sizes:
        raise FaceproofError(f"{place} holds no detector artifact: there is no {CARD} in it")
    with atomic_folder(to) as partial:
        try:
            _download(client, place, listed, CARD, partial)
            card = read_card(partial)
            _refuse_others(str(place), card, listed.sizes.keys())
            for name in sorted(listed.sizes.keys() - {CARD}):
                _download(client, place, listed, name, partial)
            for _ in _checked_files(partial, card):
                pass
        except FaceproofError as error:
            reason = str(error).replace(str(partial), str(place))
            raise FaceproofError(f"{reason}; nothing of it was stored") from error
        shutil.rmtree(partial / ".cache", ignore_errors=True)  # huggingface_hub's notes


def _download(client: "HfApi", place: HubPlace, listed: _Listed, name: str, to: Path) -> None:
    fetch = client.hf_hub_download
    ask(place, fetch, place.repository, name, revision=listed.commit, local_dir=to)
    size = (to / name).stat().st_size
    if size != listed.sizes[name]:
        raise FaceproofError(
            f"{name} of {place} has {size:,} bytes, and the hub's list says "
            f"{listed.sizes[name]:,}; try again"
        )


def _files_to_replace(client: "HfApi", place: HubPlace, public: bool) -> _Listed:
    """Return what a repository holds that a push replaces; make the repository if there is none.

    Raises:
        FaceproofError: it holds something else than an artifact.
    """
    ask(place, client.create_repo, place.repository, private=not public, exist_ok=True)
    found = _listed(client, place)
    if CARD not in found.sizes and found.sizes.keys() - {README}:
        raise FaceproofError(
            f"{place} holds something else than a detector: {min(found.sizes.keys() - {README})}; "
            "name another repository"
        )
    if found.private == public:
        there = "private" if found.private else "public"
        raise FaceproofError(
            f"{place} is {there}: {'leave out' if public else 'say'} --public to push there, or "
            "change that on its page; nothing was pushed"
        )
    return found


def _refuse_edited_page(client: "HfApi", place: HubPlace, listed: _Listed) -> None:
    """Refuse to replace a page that is not the one which an earlier push has put there.

    Raises:
        FaceproofError: somebody has written or edited it.
    """
    with tempfile.TemporaryDirectory(prefix="faceproof-") as folder:
        _download(client, place, listed, README, Path(folder))
        page = read_bytes(Path(folder) / README, MAX_README)
    if not is_signed_page(page.decode(errors="replace")):
        raise FaceproofError(
            f"the page of {place} (its README.md) is not as a push has put it there: somebody has "
            "written or edited it, or an earlier version of faceproof has; copy what is yours into "
            "the README.md of the detector's folder, and push with --replace-page"
        )


def _whole_files(folder: Path) -> dict[str, bytes]:
    """Return the bytes of an artifact's files by their names, each compared with its checksum."""
    card = read_card(folder)
    names = {one.name for one in folder.iterdir() if not is_left_behind(one.name)}
    _refuse_others(str(folder), card, names)
    return {CARD: read_bytes(folder / CARD, MAX_CARD), **dict(_checked_files(folder, card))}


def _refuse_others(place: str, card: Card, names: Collection[str]) -> None:
    """Refuse files that are missing, or that the card does not name."""
    named = {CARD, README, *(one.file for part in card.parts.values() for one in part.files)}
    if odd := sorted(name for name in named if not name.endswith(ENDINGS)):
        raise FaceproofError(
            f"the card of {place} names {odd[0]}; files of a detector end with {', '.join(ENDINGS)}"
        )
    if missing := sorted(named - set(names)):
        raise FaceproofError(f"{place} is not whole: {missing[0]} is not there")
    if more := sorted(set(names) - named):
        raise FaceproofError(
            f"{place} holds {printable(more[0])}, which its card does not name; a detector is what "
            "its card names and nothing else: remove that file"
        )


def _checked_files(folder: Path, card: Card) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of the README and of each file that a card names, checked."""
    readme = read_bytes(folder / README, MAX_README)
    try:
        readme.decode()
    except UnicodeDecodeError as error:
        raise FaceproofError(f"{folder / README} is no text in UTF-8") from error
    yield README, readme
    for part in card.parts.values():
        for stored in part.files:
            yield stored.file, read_file(folder, stored, MAX_BYTES)
