"""An object store on this machine, as fixtures."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from faceproof.data.shards.store import ObjectStore
from tests.small_shards import forget, wait_for


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
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the URL of a bucket of its own, and forget what is known of stores."""
    from pyarrow.fs import S3FileSystem

    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FACEPROOF_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    forget()
    name = f"bucket{os.urandom(6).hex()}"
    S3FileSystem(endpoint_override=server, allow_bucket_creation=True).create_dir(name)
    yield f"s3://{name}"
    wait_for(lambda: not [one for one in threading.enumerate() if one.name == "shards"])
    forget()


def put_folder(folder: Path, root: str) -> None:
    """Put all files below a folder into a store."""
    for file in folder.rglob("*"):
        if file.is_file():
            ObjectStore(root).put(file, file.relative_to(folder).as_posix())
