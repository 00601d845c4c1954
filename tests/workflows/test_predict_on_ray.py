"""Work on a cluster of Ray: the same as on one machine, and after a death only what is missing.

Evaluation and audit are here too, so that the clusters, which take seconds to start, are the same.
"""

import contextlib
import json
import re
import shutil
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceproof.audit.file_statistics import statistics_of_files
from faceproof.augment.corruptions import Corruption
from faceproof.cli.main import run
from faceproof.data.loader_config import LoaderConfig
from faceproof.errors import FaceproofError
from faceproof.evaluation.cluster_config import ClusterConfig
from faceproof.evaluation.config import EvaluateConfig
from faceproof.io.run_folder import RunFolder
from faceproof.task import get_task
from faceproof.workflows import audit_on_ray, ray_cluster, ray_parts
from faceproof.workflows.audit_on_ray import look_on_ray
from faceproof.workflows.evaluate_on_ray import make_cluster_scorer
from faceproof.workflows.export import export_run
from faceproof.workflows.scorers import make_scorer
from tests.conftest import write_images
from tests.small_clusters import export_dying, needs_ray, small_cluster
from tests.small_runs import write_run

PART = 32  # one batch
TASK = get_task("deepfake")
# Ray warns of defaults of its own, and leaves files of its logs open.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray[.]"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A working folder with 150 images, one of which is none, and a detector."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    write_images(tmp_path / "photos", [f"{n:03}.jpg" for n in range(149)])
    (tmp_path / "photos" / "070b.jpg").write_bytes(b"no image")
    export_run(write_run(tmp_path / "run", gain=40.0), tmp_path / "artifact")
    return tmp_path


def predict(*words, detector="artifact"):
    return run([str(word) for word in ("predict", "photos", "--detector", detector, *words)])


def summary(capsys):
    """Return the line with the counts of the verdicts."""
    return next(line for line in capsys.readouterr().out.splitlines() if "unreadable" in line)


def test_without_ray_it_says_what_to_install(world, monkeypatch):
    monkeypatch.setattr("faceproof.workflows.ray_cluster.find_spec", lambda _: None)
    with pytest.raises(FaceproofError, match=r"pip install 'faceproof\[ray\]'"):
        predict("--on", "ray", "--out", "rows")
    assert not (world / "rows").exists()


@needs_ray
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--on", "dask", "--out", "rows"], "--on dask must be ray, or ray://HOST:PORT"),
        (["--on", "ray"], "--on needs --out"),
        (["--on", "ray", "--out", "rows", "--contact-sheet", "a.png"], "drawn on one machine"),
        (["--on", "ray", "--out", "rows", "--device", "cuda"], "--device cuda is not what"),
        (["--on", "ray", "--out", "rows", "--gpus-per-worker", "1.5"], "a whole number"),
        (["--on", "ray", "--out", "rows", "--workers", "0"], "--workers 0 is of one machine"),
        (["--on", "ray", "--out", "rows", "--part-size", "33"], "multiple of --batch-size 32"),
        (["--out", "rows.csv", "--part-size", "32"], "are of a cluster; give --on too"),
    ],
)
def test_what_has_no_meaning_is_refused(world, words, says):
    with pytest.raises(FaceproofError, match=re.escape(says)):
        predict(*words)


@needs_ray
def test_three_machines_give_what_one_gives_and_lose_nothing(world, capsys, monkeypatch):
    """A client's commands come first; of either a worker dies."""
    sign, allowed = world / "die", ("--allow", "dying_networks")
    detector = export_dying(world / "dying", sign)
    assert predict("--out", "one.parquet", *allowed, detector=detector) == 1
    said = summary(capsys)
    with small_cluster(nodes=3) as (_, address):
        on_ray = ("--on", address, "--out", "rows", "--part-size", PART, "--workers", 2)
        sign.touch()
        assert predict(*on_ray, *allowed, detector=detector) == 1
        assert not sign.exists()
        assert summary(capsys) == said
        assert pq.read_table("rows").equals(pq.read_table("one.parquet"))  # to the last bit
        manifest = json.loads((world / "rows/_manifest.json").read_text())
        assert (manifest["files"], manifest["parts"], manifest["finished"]) == (150, 5, True)
        assert not list((world / "rows").glob("*.partial-*"))

        sign.touch()
        assert_same_scores(world / "dying" / "run", address, sign)
        written = spoil(world)
        assert predict("--out", "one.parquet", "--overwrite", *allowed, detector=detector) == 1
        capsys.readouterr()
        assert predict("--on", "ray", *on_ray[2:], "--keep-going", *allowed, detector=detector) == 0
        assert "32 images were judged before, and hold" in capsys.readouterr().out
        assert pq.read_table("rows").equals(pq.read_table("one.parquet"))
        again = {part.name: part.stat().st_mtime_ns for part in (world / "rows").glob("part-*")}
        assert written.keys() == again.keys()
        held = [name for name in sorted(written) if again[name] == written[name]]
        assert held == [sorted(written)[3]]

        files = sorted(map(str, (world / "photos").iterdir()))
        monkeypatch.setattr(audit_on_ray, "PART", 64)
        found = pa.concat_tables(look_on_ray("ray", ClusterConfig())(files))
        assert found.equals(statistics_of_files(files))
        with ray_cluster.connected("ray"):
            attempts = ray_parts._AttemptsElsewhere()
            assert [attempts.begin(7) for _ in range(2)] == [1, 2]
            attempts.end(7)
            assert attempts.begin(7) == 1
        with pytest.raises(FaceproofError, match=r"has 99 CPUs .* lower --cpus-per-worker or --gp"):
            predict("--on", "ray", "--out", "other", "--cpus-per-worker", 99)


def spoil(world):
    """Lose two parts, damage the third, change an image of the last; say when each was written."""
    parts = sorted((world / "rows").glob("part-*"))
    written = {part.name: part.stat().st_mtime_ns for part in parts}
    for part in parts[:2]:
        part.unlink()
    damaged = bytearray(parts[2].read_bytes())
    damaged[len(damaged) // 3] ^= 255
    parts[2].write_bytes(damaged)
    shutil.copy("photos/001.jpg", "photos/148.jpg")
    return written


def assert_same_scores(folder, engine, sign):
    """Score the images of a run here and on a cluster, without a corruption and under one."""
    run, rows = RunFolder(folder), pq.read_table(folder / "samples.parquet")
    config = EvaluateConfig(
        str(folder), loader=LoaderConfig(3), device="cpu", engine=engine,
        cluster=ClusterConfig(workers=2),
    )  # fmt: skip
    jpeg = Corruption("jpeg", 40)
    found = make_cluster_scorer(run, TASK, config, [jpeg], run.detector_digest)
    scored = [found(rows, corruption) for corruption in (None, jpeg)]
    assert not sign.exists()
    here = make_scorer(run, TASK, config)
    for (logits, novelties), corruption in zip(scored, (None, jpeg), strict=True):
        assert novelties is None
        assert np.array_equal(logits, here(rows, corruption)[0])  # to the last bit
    assert not np.array_equal(scored[0][0], scored[1][0])


@needs_ray
@pytest.mark.parametrize("words", [["--frames", 3], ["--batch-size", 16], ["--part-size", 64]])
def test_other_settings_are_refused(begun, words):
    with pytest.raises(FaceproofError, match="begun with another detector, other options or"):
        predict(*begun, *words)


@needs_ray
def test_another_detector_and_other_files_are_refused(begun, world):
    export_run(write_run(world / "second/run", seed=1), world / "second/artifact")
    with pytest.raises(FaceproofError, match="begun with another detector"):
        predict(*begun, detector="second/artifact")
    (world / "photos/000.jpg").unlink()
    with pytest.raises(FaceproofError, match="begun with other files: 150 then, 149 now"):
        predict(*begun)


@needs_ray
def test_the_address_of_the_environment_may_be_a_client_s_too(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    told = [(0, b"what came of it", None)] * 2  # once more by one that was started again
    told.append((0, b"", "its workers died"))  # which is no loss now
    monkeypatch.setattr(ray_parts, "_taken_by_client", lambda *_: iter(told))
    monkeypatch.setattr(ray_parts, "work_on_parts", lambda *_: pytest.fail("no client takes this"))
    assert list(ray_parts.results_of_parts(None, 1, None, "ray")) == [told[0][:2]]


@needs_ray
@pytest.mark.parametrize(
    ("free", "gpus", "busy"),
    [
        ({"CPU": 4.0}, 0, False),
        ({"CPU": 1.0}, 0, True),
        ({}, 0, True),  # as Ray says of a cluster of which nothing is free
        ({"CPU": 4.0, "GPU": 0.25}, 0.25, False),
        ({"CPU": 4.0, "GPU": 0.2}, 0.25, True),
    ],
)
def test_a_busy_cluster_is_told_before_it_is_waited_for(monkeypatch, caplog, free, gpus, busy):
    ray = pytest.importorskip("ray")
    machine = {"Alive": True, "Resources": {"CPU": 4.0, "GPU": 1.0}}
    monkeypatch.setattr(ray, "nodes", lambda: [machine])
    monkeypatch.setattr(ray, "available_resources", lambda: free)
    assert ray_cluster.find_room("auto", 2, gpus, "").workers == 2
    assert ("the cluster is busy" in caplog.text) is busy
    if busy:
        assert "a worker wants 2 and" in caplog.text


@needs_ray
@pytest.mark.parametrize(
    ("errors", "calls", "says"),
    [
        ([], 1, None),
        ([ConnectionAbortedError("Traceback:\nno server")] * 2, 3, None),
        (
            [ConnectionAbortedError("Traceback:\nno server")] * 3,
            3,
            "refused this client in 3 attempts: no server",
        ),
        ([ConnectionError("timeout")], 1, "no Ray cluster answers at ray://head:10001: timeout"),
    ],
)
def test_a_cluster_that_begins_no_server_for_a_client_is_asked_again(
    monkeypatch, errors, calls, says
):
    ray = pytest.importorskip("ray")
    asked, left = [], list(errors)

    def init(address, **_):
        asked.append(address)
        if left:
            raise left.pop()

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray_cluster, "PAUSE", 0)
    with (
        pytest.raises(FaceproofError, match=says) if says else contextlib.nullcontext(),
        ray_cluster.connected("ray://head:10001"),
    ):
        assert says is None
    assert asked == ["ray://head:10001"] * calls


def test_a_cluster_that_fails_is_told_in_a_sentence(monkeypatch):
    from ray.exceptions import RayError

    def fail(*_):
        raise RayError("the head is gone")
        yield

    monkeypatch.setattr(ray_parts, "work_on_parts", fail)
    with pytest.raises(
        FaceproofError,
        match=r"the cluster has failed \(RayError: the head is gone\); start the same",
    ):
        list(ray_parts.results_of_parts(None, 1, None, "ray"))
    monkeypatch.setattr(ray_parts, "work_on_parts", lambda *_: iter([]))
    with pytest.raises(FaceproofError, match="without an answer for 2 of 2 parts; start the same"):
        list(ray_parts.results_of_parts(None, 2, None, "ray"))


def test_a_part_of_which_workers_die_again_and_again_ends_the_command():
    class Work:
        def __call__(self, number):
            if number in dies:
                raise ConnectionError("the process died")
            return b"done"

        def paths_of(self, number):
            return [f"{number}/first.jpg", f"{number}/between.jpg", f"{number}/last.jpg"]

    dies = {7}
    work = ray_parts._Worker(Work, ray_parts._Attempts(), "--cpus-per-worker")
    for _ in range(2 * ray_parts.MAX_ATTEMPTS):  # as where results are lost: nobody has died
        assert work({"item": [6]}) == {"number": [6], "result": [b"done"], "error": [""]}
    for _ in range(ray_parts.MAX_ATTEMPTS):
        with pytest.raises(ConnectionError):
            work({"item": [7]})
    (error,) = work({"item": [7]})["error"]
    assert error.startswith("7/first.jpg to 7/last.jpg: 3 worker processes died at these files")
    assert error.endswith("give a worker more of a machine by --cpus-per-worker")


def test_a_detector_of_the_hub_is_refused_as_one_machine_alone_would_have_it():
    says = "--detector hf://me/net@main is on the hub, and all machines of the cluster must see"
    words = ("predict", "photos", "--detector", "hf://me/net@main", "--out", "rows", "--on", "ray")
    with pytest.raises(FaceproofError, match=re.escape(says)):
        run(list(words))


@pytest.fixture
def begun(world, monkeypatch):
    """The words of a command that was stopped as it reached for the cluster."""

    def stop(_):
        raise KeyboardInterrupt

    words = ("--on", "ray", "--out", "rows")
    with monkeypatch.context() as patch:
        patch.setattr("faceproof.workflows.predict_on_ray.connected", stop)
        with pytest.raises(KeyboardInterrupt):
            predict(*words)
    return words
