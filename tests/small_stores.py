"""An object store on this machine, as fixtures."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from faceproof.data.shards.store import ObjectStore
from tests.ports import free_port
from tests.small_shards import forget, wait_for

both_stores = pytest.mark.parametrize("bucket", ["s3", "gs"], indirect=True)


@pytest.fixture(scope="session")
def google() -> Iterator[str]:
    """Run a store like Google's on this machine.

    In a process of its own: pyarrow keeps Python's lock during some of its requests.
    """
    pytest.importorskip("gcp_storage_emulator")
    port = free_port()
    start = f"create_server('127.0.0.1', {port}, in_memory=True).run()"
    program = f"from gcp_storage_emulator.server import create_server; {start}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", program], **quiet) as running:
        try:
            wait_for(lambda: answers(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            running.terminate()


def answers(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """Run a store like Amazon's on this machine."""
    moto = pytest.importorskip("moto.server")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Return the URL of a bucket of its own, and forget what is known of stores.

    It is of a store like Amazon's; with `both_stores`, of one like Google's too.
    """
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    forget()
    name, scheme = f"bucket{os.urandom(6).hex()}", getattr(request, "param", "s3")
    make = make_s3_bucket if scheme == "s3" else make_gs_bucket
    make(name, request.getfixturevalue("server" if scheme == "s3" else "google"), monkeypatch)
    yield f"{scheme}://{name}"
    wait_for(lambda: not [one for one in threading.enumerate() if one.name == "shards"])
    forget()


def make_s3_bucket(name: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow.fs import S3FileSystem

    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    S3FileSystem(endpoint_override=url, allow_bucket_creation=True).create_dir(name)


def make_gs_bucket(name: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyarrow.fs import GcsFileSystem

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    scheme, _, place = url.partition("://")
    GcsFileSystem(
        anonymous=True, scheme=scheme, endpoint_override=place, project_id="faceproof"
    ).create_dir(name)


def put_folder(folder: Path, root: str) -> None:
    """Put all files below a folder into a store."""
    for file in folder.rglob("*"):
        if file.is_file():
            ObjectStore(root).put(file, file.relative_to(folder).as_posix())
