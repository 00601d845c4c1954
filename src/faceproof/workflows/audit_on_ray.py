"""`faceproof audit engine=ray`: the workers of a cluster look at the files of a data set.

paths, in parts --> a worker for each share of the cluster --> size, hashes, sharpness ... of each
file --> the same audit as on one machine
"""

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from faceproof.audit.file_statistics import PART, Look, statistics_of_files
from faceproof.data.image_io import NOT_THERE
from faceproof.errors import FaceproofError
from faceproof.evaluation.cluster_config import ClusterConfig
from faceproof.inference.worker_setup import WorkerSetup
from faceproof.io.progress import progress
from faceproof.lookup import allowed
from faceproof.workflows.ray_parts import (
    from_bytes,
    pool_of,
    require_ray,
    results_of_parts,
    to_bytes,
)


@dataclass(frozen=True)
class Job:
    """What a worker process needs to know.

    Attributes:
        paths: of all files.
        part_size: how many of them are a part.
        setup: what the process takes over from the command.
    """

    paths: pa.Array
    part_size: int
    setup: WorkerSetup


def look_on_ray(engine: str, cluster: ClusterConfig) -> Look:
    """Return what computes the statistics of files by the workers of a cluster.

    Raises:
        FaceproofError: Ray is not installed; when it looks, as `results_of_parts`.
    """
    require_ray(f"engine={engine}")
    return partial(_look, engine, cluster)


def _look(engine: str, cluster: ClusterConfig, names: list[str]) -> Iterable[pa.Table]:
    setup = WorkerSetup(cluster.cpus_per_worker, tuple(allowed()))
    job, num_parts = Job(pa.array(names, pa.string()), PART, setup), math.ceil(len(names) / PART)
    with pool_of(engine, cluster) as pool:
        results = results_of_parts(partial(_looker, job), num_parts, pool, engine)
        found = dict(progress(results, "looking at files", num_parts))
    tables = [from_bytes(found[number]) for number in range(num_parts)]
    for table in tables:
        gone = table.filter(pc.equal(table["reason"], NOT_THERE))["path"].to_pylist()
        if unseen := [path for path in gone if os.path.lexists(path)]:
            raise FaceproofError(
                f"a machine of the cluster does not see {unseen[0]}, which is there; all must see "
                "the images by the same paths"
            )
    return tables


def _looker(job: Job) -> Callable[[int], bytes]:
    """Return what a worker does with the number of a part."""
    is_ready = False

    def work(number: int) -> bytes:
        nonlocal is_ready
        if not is_ready:
            job.setup.apply()
            is_ready = True
        names = job.paths.slice(number * job.part_size, job.part_size).to_pylist()
        return to_bytes(statistics_of_files(names))

    return work
