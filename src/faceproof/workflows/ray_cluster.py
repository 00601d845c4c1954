"""A cluster of Ray: how to reach it, and for how many workers it has room.

Its workers are given work by `ray_parts`.
"""

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from faceproof.data.shards.store import GCS_ENDPOINT, S3_ENDPOINTS
from faceproof.errors import FaceproofError
from faceproof.evaluation.cluster_config import ClusterConfig
from faceproof.performance.cores import num_cores
from faceproof.performance.threads import wait_briefly

CLIENT, LOCAL = "ray://", "local"
OBJECT_STORE = 100_000_000  # bytes, beside the paths: results pass through it, no images
ATTEMPTS = 3  # at connecting to a cluster that answers, and refuses
PAUSE = 1.0  # seconds between two attempts
# What changes the answers or the speed of a process, and must be the same in a worker; and where
# object stores are. Credentials are not among it: each machine has its own, or the role of one.
ENVIRONMENT = (
    *S3_ENDPOINTS, GCS_ENDPOINT,
    "FACEPROOF_ALLOW", "FACEPROOF_MAX_PIXELS", "FACEPROOF_MAX_SCANS", "FACEPROOF_PERFORMANCE",
    "GOMP_SPINCOUNT", "OMP_WAIT_POLICY",
)  # fmt: skip

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pool:
    """How many workers there are, and what each has.

    Attributes:
        workers: at most; as many as there is room for now begin.
        room: how many the cluster has room for now.
        cpus: of each.
        gpus: of each; a fraction where several share one.
        cpus_option: what sets `cpus`, to advise on it.
        environment: variables of each.
    """

    workers: int
    room: int
    cpus: int
    gpus: float
    cpus_option: str
    environment: Mapping[str, str]


def require_ray(option: str) -> None:
    """Refuse a cluster where Ray is not installed; `option` asks for it.

    Raises:
        FaceproofError: it says what to install.
    """
    if find_spec("ray") is None:
        raise FaceproofError(f"{option} needs the extra ray: pip install 'faceproof[ray]'")


def address_of(on: str) -> str:
    """Return where the cluster is: `ray://HOST:PORT`, an address of Ray's, or `local`."""
    return on if on.startswith(CLIENT) else os.environ.get("RAY_ADDRESS", LOCAL)


@contextmanager
def pool_of(engine: str, config: ClusterConfig, num_bytes: int = 0) -> Iterator[Pool]:
    """Be connected to the cluster of `engine`, and yield its workers as the settings want them.

    `num_bytes` is what the workers need to know.
    """
    with connected(engine, num_bytes):
        yield find_room(
            config.workers, config.cpus_per_worker, config.gpus_per_worker,
            "cluster.cpus_per_worker",
        )  # fmt: skip


@contextmanager
def connected(on: str, num_bytes: int = 0) -> Iterator[None]:
    """Be connected to a cluster: one of this machine, the job's own, or one that is named.

    A process that is connected already stays so. `num_bytes` pass through it to its workers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it reports to Ray's makers
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    address = address_of(on)
    if address == LOCAL:  # its ports are then those of 127.0.0.1, on Linux too
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    wait_briefly()
    import ray

    if ray.is_initialized():
        yield
        return
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    with tempfile.TemporaryDirectory(
        prefix="faceproof-ray-", dir=_short_folder(), ignore_cleanup_errors=True
    ) as folder:
        if address == LOCAL:
            options |= {"num_cpus": num_cores(), "object_store_memory": OBJECT_STORE + num_bytes}
            options |= {"include_dashboard": False, "_temp_dir": folder}
        _connect(address, options)
        try:
            yield
        finally:
            ray.shutdown()


def _connect(address: str, options: Mapping[str, Any]) -> None:
    """Connect this process; again where the cluster answers, and refuses."""
    import ray

    for attempt in range(1, ATTEMPTS + 1):
        try:
            ray.init(address, **options)
            return
        except ConnectionAbortedError as error:  # its process for a client may die as it starts
            *_, reason = ["", *str(error).strip().splitlines()]
            if attempt == ATTEMPTS:
                raise FaceproofError(
                    f"the Ray cluster at {address} answers, and refused this client in "
                    f"{ATTEMPTS} attempts: {reason}"
                ) from error
            log.warning("the Ray cluster at %s: %s; trying again", address, reason)
            time.sleep(PAUSE)
        except ConnectionError as error:
            raise FaceproofError(f"no Ray cluster answers at {address}: {error}") from error


def _short_folder() -> str | None:
    """Return where temporary files are; Ray's sockets take a path of at most 107 bytes."""
    return "/tmp" if os.name == "posix" else None


def find_room(workers: int | str, cpus: int, gpus: float, cpus_option: str) -> Pool:
    """Return the workers for which the cluster has room, or as many as the user wants.

    `cpus` and `gpus` are those of each worker; `cpus_option` sets the former.

    Raises:
        FaceproofError: it has room for none.
    """
    import ray

    nodes: Callable[[], list[dict[str, Any]]] = ray.nodes
    room, most = 0, {"CPU": 0.0, "GPU": 0.0}
    for node in nodes():
        has = node["Resources"] if node["Alive"] else {}
        fits = int(has.get("CPU", 0.0) / cpus)
        if gpus:  # ten workers with 0.1 of a GPU are ten, whatever 1 / 0.1 is rounded to
            fits = min(fits, int(has.get("GPU", 0.0) / gpus + 1e-6))
        room += fits
        most = {name: max(most[name], has.get(name, 0.0)) for name in most}
    if not room:
        raise FaceproofError(
            f"no machine of the cluster has {cpus} CPUs and {gpus:g} GPUs for a worker; the "
            f"largest has {most['CPU']:g} and {most['GPU']:g}: lower {cpus_option} or "
            f"{cpus_option.replace('cpus', 'gpus')}"
        )
    wanted = room if workers == "auto" else int(workers)
    if wanted > room:
        log.warning("the cluster has room for %d of %d workers now", room, wanted)
    _tell_if_busy(cpus, gpus)
    environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    return Pool(wanted, min(room, wanted), cpus, gpus, cpus_option, environment)


def _tell_if_busy(cpus: int, gpus: float) -> None:
    """Say that others have the cluster, which would otherwise be waited for without a word."""
    import ray

    free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
    if free.get("CPU", 0.0) < cpus or (gpus and free.get("GPU", 0.0) < gpus):
        log.warning(
            "the cluster is busy: %g CPUs and %g GPUs are free, and a worker wants %d and %g; "
            "scoring begins when others have ended", free.get("CPU", 0.0), free.get("GPU", 0.0),
            cpus, gpus,
        )  # fmt: skip
