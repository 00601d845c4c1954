"""`faceproof audit engine=ray`: the workers of a cluster look at the files of a data set.

paths, in parts --> a worker for each share of the cluster --> size, hashes, sharpness ... of each
file --> the same audit as on one machine
"""

import math
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from faceproof.audit.file_statistics import PART, Look, statistics_of_file, statistics_of_files
from faceproof.errors import FaceproofError
from faceproof.evaluation.cluster_config import ClusterConfig
from faceproof.inference.worker_setup import WorkerSetup
from faceproof.io.progress import progress
from faceproof.lookup import allowed
from faceproof.workflows.ray_cluster import pool_of, require_ray
from faceproof.workflows.ray_parts import from_bytes, results_of_parts, to_bytes

HOST = b"host"  # of the machine that looked, in a table's metadata


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
    with pool_of(engine, cluster, job.paths.nbytes) as pool:
        results = results_of_parts(partial(_Looker, job), num_parts, pool, engine)
        found = dict(progress(results, "looking at files", num_parts))
    return [_as_here(from_bytes(found[number])) for number in range(num_parts)]


def _as_here(table: pa.Table) -> pa.Table:
    """Return the statistics of a part; refuse a machine that fails at what this one can read.

    Whatever a machine cannot read is looked at again here, because the reason would be cached as a
    finding of the file's.
    """
    host = table.schema.metadata[HOST].decode()
    unread = table.filter(pc.is_valid(table["reason"])).select(["path", "reason"]).to_pylist()
    for path, there in (row.values() for row in unread):
        if (here := statistics_of_file(path).get("reason")) != there:
            raise FaceproofError(
                f"{host} says of {path}: {there}, and this machine "
                f"{'reads it' if here is None else f'says: {here}'}; all machines of the cluster "
                "must see the images by the same paths, and be able to read them"
            )
    return table.replace_schema_metadata(None)


class _Looker:
    """What a worker does with the number of a part."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._is_ready = False

    def __call__(self, number: int) -> bytes:
        """Return the statistics of a part's files, and which machine looked at them."""
        if not self._is_ready:
            self.job.setup.apply()
            self._is_ready = True
        found = statistics_of_files(self.paths_of(number))
        return to_bytes(found.replace_schema_metadata({HOST: socket.gethostname()}))

    def paths_of(self, number: int) -> list[str]:
        """Return the paths of a part."""
        size = self.job.part_size
        paths: list[str] = self.job.paths.slice(number * size, size).to_pylist()
        return paths
