"""An object store, a detector and a cluster on this machine, for tests that judge images."""

import contextlib
import re

import pyarrow.parquet as pq
import pytest

from faceproof.cli.main import run
from faceproof.inference.worker_setup import WorkerSetup
from faceproof.workflows import predict_on_ray, ray_cluster
from tests.small_runs import write_artifact
from tests.small_stores import bucket, google, server

PLACE = re.compile(r".*@[0-9]+-[0-9]+-[0-9a-f]{8}/")  # of an image in shards

__all__ = ["bucket", "google", "server"]  # fixtures


@pytest.fixture(scope="session")
def detector(tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector")
    return write_artifact(folder)


@pytest.fixture
def cluster_of_one(monkeypatch):
    """Let this process be the worker of `--on ray`."""

    def here(make, num_parts, pool, on):
        work = make()
        return ((number, work(number)) for number in range(num_parts))

    monkeypatch.setattr(ray_cluster, "find_spec", lambda _: True)
    monkeypatch.setattr(predict_on_ray, "connected", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(predict_on_ray, "find_room", lambda *_: None)
    monkeypatch.setattr(predict_on_ray, "results_of_parts", here)
    monkeypatch.setattr(WorkerSetup, "apply", lambda _: None)


def predict(*words):
    """Run `faceproof predict`, and return its exit code."""
    return run([str(word) for word in ("predict", *words, "--device", "cpu")])


def rows_of(file, root):
    """Return the rows by the names of their images below a folder, of files or in shards."""
    return {
        PLACE.sub("", row.pop("path").removeprefix(f"{root}/")): row
        for row in pq.read_table(file).to_pylist()
    }
