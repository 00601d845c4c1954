"""A small set in files and in shards, and object stores on this machine."""

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from faceproof.data import DataSet
from tests.conftest import write_faces
from tests.small_shards import (
    SMALL,
    forget,
    list_files,
    wait_for,
    write,
)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    root = write_faces(tmp_path_factory.mktemp("shards"), train=16, val=6, test=6)
    return list_files(root)


@pytest.fixture(scope="session")
def written(files: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "set"
    write(files, str(folder), SMALL)
    return folder


@pytest.fixture
def copied(written: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may spoil."""
    shutil.copytree(written, tmp_path / "set")
    return tmp_path / "set"


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
