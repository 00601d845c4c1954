"""Images and videos in an object store, which `faceproof predict` reads where they lie.

A path is s3://BUCKET/NAME or gs://BUCKET/NAME, or that of an image in a shard there. Only stores
that the user has named are asked, with the credentials of this machine: those of the command, and
those of `--allow`. A list may come from a stranger, and so names none.
"""

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from faceproof.data.image_io import UnreadableImageError, read_file
from faceproof.data.image_limits import MAX_BYTES
from faceproof.data.kinds import FOLDER, IMAGE, OWN_OUTPUT, VIDEO, LeftOut, is_own_output, kind_of
from faceproof.data.shards.paths import find_member, stamp_of_image
from faceproof.data.shards.reading import INDEX, SAMPLES
from faceproof.data.shards.store import Listed, ObjectStore, TooLargeError, UnreadableObjectError
from faceproof.errors import FaceproofError
from faceproof.io.left_behind import is_left_behind_folder
from faceproof.lookup import is_allowed_place

SCHEMES = ("s3://", "gs://")
AT_ONCE = 16  # requests to a store
MAX_AT_ONCE = 2**24  # bytes of an object that is fetched with others, and waits among them
# Of what is copied to this machine.
MAX_VIDEO_BYTES = 2 * 10**9
MAX_LIST_BYTES = 2 * 10**10
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Result = TypeVar("Result")


class Fetched(NamedTuple):
    """An object's bytes and stamp, or why it cannot be read.

    One that `is_large` was not fetched with the others: `fetch_object` does when its turn comes.
    """

    data: bytes = b""
    stamp: str | None = None
    error: str | None = None
    is_large: bool = False


def is_store_url(path: str) -> bool:
    """Say whether a path is of an object store, s3://BUCKET/NAME or gs://BUCKET/NAME."""
    return path.startswith(SCHEMES)


def is_object(path: str) -> bool:
    """Say whether a path is of an object of its own in a store, not of an image in a shard."""
    return is_store_url(path) and find_member(path) is None


def is_plain_file(path: str) -> bool:
    """Say whether a path is of a file of this machine, not of an object or an image in a shard."""
    return not is_store_url(path) and find_member(path) is None


def is_set_of_shards(url: str) -> bool:
    """Say whether a URL is of a folder that `faceproof shard` has written."""
    store, name = _place(url.rstrip("/"))
    return (
        bool(name)
        and store.kind_of(name) == "folder"
        and all(store.kind_of(f"{name}/{file}") == "object" for file in (INDEX, SAMPLES))
    )


def bucket_of(path: str) -> str:
    """Return the URL of the bucket that an object or folder is in.

    Raises:
        FaceproofError: it names none; a URL that may hold a password is not repeated.
    """
    return _place(path)[0].root


def refuse_unnamed_store(path: str, where: str) -> None:
    """Refuse an object of a store that the user has not named.

    Raises:
        FaceproofError: it says how to allow it; or the URL is none.
    """
    bucket = bucket_of(path)
    if not is_allowed_place(path):
        raise FaceproofError(
            f"{where} names {path}, and {bucket} would be asked with your credentials; if that is "
            f"yours, allow it by --allow {bucket}"
        )


def list_objects(url: str, left_out: LeftOut) -> Iterator[str]:
    """Yield an object, or the images and videos in a folder and those in it, sorted by folder.

    `left_out` counts what is neither.

    Raises:
        FaceproofError: at once, if there is neither such an object nor such a folder.
    """
    url = url.rstrip("/")
    store, name = _place(url)
    kind = store.kind_of(name)
    if kind is None:
        raise FaceproofError(
            f"there is no object or folder {url}; a folder is a whole part of the name, and "
            "patterns are of files on this machine alone"
        )
    if kind == "object":
        return iter([url])
    return _below(store.root, name, store.lister(name), left_out)


def _below(
    root: str, folder: str, list_folder: Callable[[str], Listed], left_out: LeftOut
) -> Iterator[str]:
    folders, names = list_folder(folder)
    beginning = f"{folder}/" if folder else ""
    if is_own_output(names):
        left_out.add(OWN_OUTPUT, f"{root}/{folder}")
        return
    for name in names:
        path = f"{root}/{beginning}{name}"
        if (kind := kind_of(name)) in (IMAGE, VIDEO):
            yield path
        else:
            left_out.add(kind, path)
    for name in folders:
        if is_left_behind_folder(name):
            left_out.add(FOLDER, f"{root}/{beginning}{name}")
        else:
            yield from _below(root, beginning + name, list_folder, left_out)


def fetch_objects(paths: Sequence[str]) -> dict[str, Fetched]:
    """Return the objects among some paths, several requests at a time.

    Those of more than `MAX_AT_ONCE` bytes are left to `fetch_object`, so that few large ones are in
    memory at a time.

    Raises:
        FaceproofError: a store refuses everything, or does not answer: the files are not to blame.
    """
    objects = [path for path in paths if is_object(path)]
    return dict(zip(objects, _at_once(_fetch_small, objects), strict=True))


def _fetch_small(path: str) -> Fetched:
    try:
        return fetch_object(path, MAX_AT_ONCE)
    except TooLargeError:
        return Fetched(is_large=True)


def fetch_object(path: str, limit: int | None = None) -> Fetched:
    """Return an object, or why it cannot be read.

    Raises:
        TooLargeError: it has more than `limit` bytes, where that is given.
        FaceproofError: as `fetch_objects`.
    """
    store, name = _place(path)
    try:
        data, stamp = store.read_with_stamp(name, limit or MAX_BYTES)
    except UnreadableObjectError as error:
        if limit is not None and isinstance(error, TooLargeError):
            raise
        return Fetched(error=error.reason)
    return Fetched(data, stamp, None if data else "the object is empty")


def read_anywhere(path: str) -> bytes:
    """Return the bytes of an image in a file or in an object store.

    Raises:
        UnreadableImageError: it cannot be read.
    """
    if not is_object(path):
        return read_file(path)
    found = fetch_object(path)
    if found.error is not None:
        raise UnreadableImageError(found.error)
    return found.data


def stamps_of(paths: Sequence[str]) -> list[str | None]:
    """Return what changes whenever a file or object does; None where it is not there."""
    objects = [path for path in paths if is_object(path)]
    known = dict(zip(objects, _at_once(_stamp, objects), strict=True))
    return [known[path] if path in known else stamp_of_image(path) for path in paths]


def _stamp(path: str) -> str | None:
    store, name = _place(path)
    try:
        return store.stamp(name)
    except UnreadableObjectError:
        return None


@contextmanager
def as_file(path: str, limit: int | None = None) -> Iterator[str]:
    """Yield a file of this machine with what lies at a path: itself, or a copy of an object.

    Raises:
        UnreadableObjectError: the object is not there, has more than `limit` bytes (by default
            those of a video), or may not be read.
    """
    if not is_object(path):
        yield path
        return
    store, name = _place(path)
    with tempfile.TemporaryDirectory(prefix="faceproof-") as folder:
        copy = Path(folder) / f"copy{Path(name).suffix}"
        store.fetch(name, copy, limit or MAX_VIDEO_BYTES)
        yield str(copy)


def _at_once(work: Callable[[str], Result], paths: Sequence[str]) -> list[Result]:
    if not paths:
        return []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(work, paths))


def open_folder(url: str) -> ObjectStore:
    """Return a folder of an object store, which need not be there.

    Raises:
        FaceproofError: it names no folder.
    """
    bucket, name = _place(url.rstrip("/"))
    if not name:
        raise FaceproofError(f"{url} names no folder: give {url.rstrip('/')}/FOLDER")
    return ObjectStore(f"{bucket.root}/{name}")


def _place(path: str) -> tuple[ObjectStore, str]:
    """Return the bucket of an object or folder, and its name in it."""
    scheme, _, rest = path.partition("://")
    bucket, _, name = rest.partition("/")
    if not BUCKET.fullmatch(bucket):  # which may hold a password: it is not repeated
        raise FaceproofError(
            f"a URL of {scheme}:// must name a bucket of letters, digits, dots and dashes, as in "
            f"{scheme}://BUCKET/FOLDER; credentials are no part of it"
        )
    return ObjectStore(f"{scheme}://{bucket}"), name
