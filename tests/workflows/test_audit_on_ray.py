"""`faceproof audit engine=ray`: the words of the engine, and a machine that sees no images."""

import contextlib
import re
import socket
from types import SimpleNamespace

import pytest

from faceproof.audit import file_statistics
from faceproof.data.image_io import NOT_THERE, UnreadableImageError, read_file
from faceproof.errors import FaceproofError
from faceproof.evaluation.cluster_config import ClusterConfig
from faceproof.inference.worker_setup import WorkerSetup
from faceproof.workflows import audit_on_ray, ray_cluster
from faceproof.workflows.audit import AuditConfig
from tests.conftest import write_images


@pytest.fixture(autouse=True)
def _with_ray(monkeypatch):
    monkeypatch.setattr(ray_cluster, "find_spec", lambda _: True)


def test_the_words_of_the_engine_are_not_those_of_the_data_set():
    config = AuditConfig(("data=demo", "engine=ray", "cluster.workers=2", "data.root=x"))
    assert config.of_data == ["data=demo", "data.root=x"]
    assert config.look().args == ("ray", ClusterConfig(workers=2))
    assert AuditConfig(("data=demo",)).look() is None


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("engine=dask", "engine = 'dask' must be local, ray or ray://HOST:PORT"),
        ("engine=[", "engine = '[' must be local"),
        ("cluster.workers=2", "cluster.* are settings of engine=ray, and engine is local; set"),
        ("cluster.gpus_per_worker=1", "cluster.* are settings of engine=ray, and engine is local"),
        ("cluster.worker=2", "there is no setting cluster.worker; did you mean cluster.workers?"),
    ],
)
def test_a_word_that_has_no_meaning_is_refused(word, says):
    with pytest.raises(FaceproofError, match=re.escape(says)):
        AuditConfig(("data=demo", word)).look()


def test_an_audit_uses_no_gpus():
    words = ("data=demo", "engine=ray", "cluster.gpus_per_worker=0.5")
    with pytest.raises(FaceproofError, match=r"cluster\.gpus_per_worker = 0\.5 is of no use to an"):
        AuditConfig(words).look()


@pytest.fixture
def look(monkeypatch):
    """Let this process do what a worker does; what `read_file` is there can be changed."""

    def elsewhere(make, num_parts, pool, on):
        with monkeypatch.context() as patch:
            patch.setattr(WorkerSetup, "apply", lambda _: None)
            patch.setattr(file_statistics, "read_file", there.read_file)
            work = make()
            assert list(work.paths_of(0)) == there.paths
            result = work(0)
        yield 0, result

    there = SimpleNamespace(read_file=file_statistics.read_file, paths=[])
    monkeypatch.setattr(audit_on_ray, "pool_of", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(audit_on_ray, "results_of_parts", elsewhere)
    found = audit_on_ray.look_on_ray("ray", ClusterConfig())

    def look(paths, read_file):
        there.paths, there.read_file = paths, read_file
        return found(paths)

    return look


@pytest.mark.parametrize("reason", [NOT_THERE, "Permission denied", "Stale file handle"])
def test_what_one_machine_alone_cannot_read_is_no_finding(tmp_path, look, reason):
    files = [*map(str, write_images(tmp_path, ["a.jpg", "b.jpg"])), str(tmp_path / "gone.jpg")]
    (tmp_path / "damaged.jpg").write_bytes(b"no image")
    files.append(str(tmp_path / "damaged.jpg"))

    def fail(path):
        if path == files[1]:
            raise UnreadableImageError(reason)
        return read_file(path)

    says = f"{socket.gethostname()} says of {files[1]}: {reason}, and this machine reads it; all"
    with pytest.raises(FaceproofError, match=re.escape(says)):
        look(files, fail)
    (table,) = look(files, read_file)
    assert table.equals(file_statistics.statistics_of_files(files), check_metadata=True)
    assert table["reason"].null_count == 2
