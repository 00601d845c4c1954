"""`faceproof evaluate engine=ray`: the images of a split are scored by a cluster of machines.

rows of a split, in parts --> a worker for each share of the cluster, which has loaded the run
--> logits and novelties of each part --> the columns that one machine would have computed
"""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from faceproof import lookup
from faceproof.augment.corruptions import Corruption
from faceproof.errors import FaceproofError
from faceproof.evaluation.config import EvaluateConfig
from faceproof.evaluation.predictions import Scores
from faceproof.inference.worker_setup import WorkerSetup, working_folder
from faceproof.io.progress import progress
from faceproof.io.run_folder import RunFolder
from faceproof.task import Task
from faceproof.workflows.ray_cluster import Pool, pool_of, require_ray
from faceproof.workflows.ray_parts import from_bytes, results_of_parts, to_bytes, usual_part_size
from faceproof.workflows.scorers import Scorer, make_scorer

PARTS_PER_WORKER = 4  # at least, where there are enough batches, so that all end at about one time
NEEDED = ("path", "label")  # the columns of an image table that scoring reads

Found = tuple[Scores, Scores | None]


@dataclass(frozen=True)
class Job:
    """What a worker process needs to know.

    Attributes:
        run: the run folder.
        detector: the digest of its detector, which each worker compares with what it loads.
        task: of the run.
        config: the settings, as of one machine.
        rows: path and label of the images.
        corruptions: each image is scored under each of them; None is for no corruption.
        part_size: how many images are a part, a whole number of batches.
        setup: what the process takes over from the command.
    """

    run: Path
    detector: str
    task: Task
    config: EvaluateConfig
    rows: pa.Table
    corruptions: tuple[Corruption | None, ...]
    part_size: int
    setup: WorkerSetup

    @property
    def parts_of_each(self) -> int:
        """How many parts there are under each corruption."""
        return -(-len(self.rows) // self.part_size)

    @property
    def num_parts(self) -> int:
        """How many parts there are."""
        return len(self.corruptions) * self.parts_of_each

    def place(self, number: int) -> tuple[int, int]:
        """Return the number of a part's corruption, and its first row."""
        corruption, part = divmod(number, self.parts_of_each)
        return corruption, part * self.part_size


def make_cluster_scorer(
    run: RunFolder,
    task: Task,
    config: EvaluateConfig,
    corruptions: Sequence[Corruption],
    detector: str,
) -> Scorer:
    """Return what scores images by the workers of a cluster; see `make_scorer`.

    The images are scored once under each of the `corruptions` and without one, when the first of
    these scores is asked for.

    Raises:
        FaceproofError: Ray is not installed; when it scores, as `results_of_parts`.
    """
    require_ray(f"engine={config.engine}")
    all_of_them = (None, *corruptions)
    known: dict[Corruption | None, Found] = {}

    def score_rows(rows: pa.Table, corruption: Corruption | None) -> Found:
        if not known and rows.num_rows:
            found = _score_all(_job(run, task, config, all_of_them, detector, rows), config)
            known.update(zip(all_of_them, found, strict=True))
        return known[corruption] if rows.num_rows else (np.zeros(0), None)

    return score_rows


def _job(
    run: RunFolder,
    task: Task,
    config: EvaluateConfig,
    corruptions: tuple[Corruption | None, ...],
    detector: str,
    rows: pa.Table,
) -> Job:
    folder, allow = Path(run.path).absolute(), tuple(lookup.allowed())
    setup = WorkerSetup(
        config.cluster.cpus_per_worker, allow, working_folder(True, allow), (str(folder),)
    )
    # Without the threshold and the like, which are of the command alone.
    alone = EvaluateConfig(str(folder), loader=config.loader, device=config.worker_device)
    needed = rows.select(NEEDED).combine_chunks()
    size = usual_part_size(int(config.loader.batch_size))
    return Job(folder, detector, task, alone, needed, corruptions, size, setup)


def _score_all(job: Job, config: EvaluateConfig) -> list[Found]:
    """Return the scores of all images, once for each corruption."""
    with pool_of(config.engine, config.cluster, job.rows.nbytes) as pool:
        job = _divided(job, pool)
        results = results_of_parts(partial(_PartScorer, job), job.num_parts, pool, config.engine)
        shape = len(job.corruptions), job.rows.num_rows
        logits, novelties, knows_novelty = np.full(shape, np.nan), np.full(shape, np.nan), True
        for number, result in progress(results, "scoring", job.num_parts):
            scored = from_bytes(result)
            corruption, first = job.place(number)
            there = slice(first, first + scored.num_rows)
            logits[corruption, there] = scored["logit"].to_numpy()
            knows_novelty = knows_novelty and not scored["novelty"].null_count
            if knows_novelty:
                novelties[corruption, there] = scored["novelty"].to_numpy()
    return [
        (given, novel if knows_novelty else None)
        for given, novel in zip(logits, novelties, strict=True)
    ]


def _divided(job: Job, pool: Pool) -> Job:
    """Return a job whose parts are small enough to keep all workers busy."""
    batch_size = int(job.config.loader.batch_size)
    images = len(job.corruptions) * job.rows.num_rows
    batches = images // (batch_size * PARTS_PER_WORKER * pool.workers)
    return replace(job, part_size=min(job.part_size, batch_size * max(1, batches)))


class _PartScorer:
    """What a worker does with the number of a part."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._scorer: Scorer | None = None

    def __call__(self, number: int) -> bytes:
        """Return the logits and novelties of a part."""
        if self._scorer is None:
            self._scorer = _load(self.job)
        corruption, part = self._part(number)
        logits, novelties = self._scorer(part, corruption)
        given = [None] * part.num_rows if novelties is None else novelties
        columns = {"logit": pa.array(logits), "novelty": pa.array(given, pa.float64())}
        return to_bytes(pa.table(columns))

    def paths_of(self, number: int) -> list[str]:
        """Return the paths of a part."""
        paths: list[str] = self._part(number)[1]["path"].to_pylist()
        return paths

    def _part(self, number: int) -> tuple[Corruption | None, pa.Table]:
        corruption, first = self.job.place(number)
        return self.job.corruptions[corruption], self.job.rows.slice(first, self.job.part_size)


def _load(job: Job) -> Callable[[pa.Table, Corruption | None], Found]:
    job.setup.apply()
    run = RunFolder(job.run)
    if run.detector_digest != job.detector:
        raise FaceproofError(
            f"{run.path} has other weights on {socket.gethostname()} than where the command was "
            "started; all machines of the cluster must see the same run"
        )
    return make_scorer(run, job.task, job.config, progress=False)
