"""A small artifact, which tests may damage: each gets its own copy."""

import shutil

import pytest

from faceproof.workflows.export import export_run
from tests.small_runs import write_run


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    export_run(write_run(folder / "run"), folder / "artifact")
    return folder / "artifact"


@pytest.fixture
def artifact(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "artifact")
