"""A small set in files and in shards."""

import shutil
from pathlib import Path

import pytest

from faceproof.data import DataSet
from tests.conftest import write_faces
from tests.small_shards import (
    SMALL,
    list_files,
    write,
)
from tests.small_stores import bucket, google, server

__all__ = ["bucket", "google", "server"]  # fixtures


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
