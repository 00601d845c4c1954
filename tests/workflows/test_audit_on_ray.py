"""`faceproof audit engine=ray`: the words of the engine, and a machine that sees no images."""

import contextlib
import re
from pathlib import Path

import pytest

from faceproof.errors import FaceproofError
from faceproof.evaluation.cluster_config import ClusterConfig
from faceproof.workflows import audit_on_ray, ray_parts
from faceproof.workflows.audit import AuditConfig
from tests.conftest import write_images


@pytest.fixture(autouse=True)
def _with_ray(monkeypatch):
    monkeypatch.setattr(ray_parts, "find_spec", lambda _: True)


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
        ("cluster.workers=2", "cluster is of a cluster; set engine=ray too"),
        ("cluster.worker=2", "there is no setting cluster.worker; did you mean cluster.workers?"),
    ],
)
def test_a_word_that_has_no_meaning_is_refused(word, says):
    with pytest.raises(FaceproofError, match=re.escape(says)):
        AuditConfig(("data=demo", word)).look()


def test_a_machine_that_does_not_see_an_image_is_no_finding(tmp_path, monkeypatch):
    files = write_images(tmp_path, ["a.jpg", "b.jpg"])

    def elsewhere(make, num_parts, pool, on):
        job = make.args[0]
        with monkeypatch.context() as patch:
            patch.setattr(type(job.setup), "apply", lambda _: None)
            moved = Path(files[1]).rename(tmp_path / "moved")
            result = make()(0)
            moved.rename(files[1])
        yield 0, result

    monkeypatch.setattr(audit_on_ray, "pool_of", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(audit_on_ray, "results_of_parts", elsewhere)
    look = audit_on_ray.look_on_ray("ray", ClusterConfig())
    with pytest.raises(FaceproofError, match=r"does not see .*b\.jpg, which is there"):
        look([*map(str, files), str(tmp_path / "gone.jpg")])
