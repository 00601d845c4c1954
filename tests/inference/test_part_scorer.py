"""A scorer of parts: the rows of one machine, and no machine that differs from the command's."""

from dataclasses import replace

import pytest
import torch

from faceproof.errors import FaceproofError
from faceproof.inference.files import Loading, predict_files
from faceproof.inference.part_folder import PartOutput
from faceproof.inference.part_scorer import Job, PartScorer
from faceproof.inference.predictor import load
from faceproof.inference.worker_setup import WorkerSetup
from faceproof.performance import cores
from faceproof.workflows.export import export_run
from tests.conftest import write_images
from tests.small_runs import write_run


@pytest.fixture(autouse=True)
def _all_cores():
    """Give this process its cores back."""
    threads = torch.get_num_threads()
    yield
    cores._share = None
    torch.set_num_threads(threads)


@pytest.fixture
def job(tmp_path):
    export_run(write_run(tmp_path / "run", gain=40.0), tmp_path / "artifact")
    paths = list(map(str, write_images(tmp_path / "photos", [f"{n}.jpg" for n in range(11)])))
    (tmp_path / "photos/3.jpg").write_bytes(b"no image")
    output = PartOutput(tmp_path / "out", {}, paths, 8)
    predictor = load(tmp_path / "artifact", "cpu")
    return Job(
        output.folder, tmp_path / "artifact", predictor.fingerprint, "torch", "cpu",
        Loading(batch_size=4), WorkerSetup(1, places=(str(tmp_path / "photos"),)),
    )  # fmt: skip


def test_parts_have_the_rows_of_one_machine(job):
    score = PartScorer(job)
    first, second = score(0), score(1)
    assert (first.files, first.was_there, first.unreadable) == (8, False, 1)
    assert (second.files, sum(second.verdicts.values())) == (3, 3)
    paths = job.folder.paths(0) + job.folder.paths(1)
    batches = predict_files(load(job.detector, "cpu"), paths, job.loading)
    expected = [(row.path, row.logit, row.error) for rows in batches for row in rows]
    tables = [job.folder.read(number, job.folder.paths(number)) for number in (0, 1)]
    rows = [row for table in tables for row in table.to_pylist()]
    assert [(row["path"], row["logit"], row["error"]) for row in rows] == expected
    assert cores.num_cores() == torch.get_num_threads() == 1

    again = PartScorer(job)(0)
    assert again == replace(first, was_there=True)


def test_a_machine_that_differs_is_refused(job, tmp_path):
    with pytest.raises(FaceproofError, match=r"has faceproof .* and the command 0\.0\.0"):
        PartScorer(replace(job, setup=replace(job.setup, version="0.0.0")))(0)
    with pytest.raises(FaceproofError, match="is another detector on"):
        PartScorer(replace(job, fingerprint="0"))(0)
    (tmp_path / "photos").rename(tmp_path / "moved")
    with pytest.raises(FaceproofError, match=r"does not see .*photos; all machines of the cluster"):
        PartScorer(job)(0)
