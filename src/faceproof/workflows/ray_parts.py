"""A cluster of Ray, and the parts of a list of files on its workers; for `predict_on_ray`.

Ray hands out numbers of parts and gets counts back. Paths, images and rows never pass through it.
"""

import json
import logging
import os
import queue
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

from faceproof.errors import FaceproofError
from faceproof.inference.part_scorer import Job, PartCount, PartScorer
from faceproof.performance.cores import num_cores
from faceproof.performance.threads import wait_briefly

CLIENT, LOCAL = "ray://", "local"
POLL = 1.0  # seconds between two questions to a cluster that is reached by a client
RESTARTS = 3  # of the process that hands out the parts, where that is on the cluster
OBJECT_STORE = 100_000_000  # bytes; what passes through it are numbers
# What changes the answers or the speed of a process, and must be the same in a worker.
ENVIRONMENT = (
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
        environment: variables of each.
    """

    workers: int
    room: int
    cpus: int
    gpus: float
    environment: Mapping[str, str]


def address_of(on: str) -> str:
    """Return where the cluster is: `ray://HOST:PORT`, an address of Ray's, or `local`."""
    return on if on.startswith(CLIENT) else os.environ.get("RAY_ADDRESS", LOCAL)


@contextmanager
def connected(on: str) -> Iterator[None]:
    """Be connected to a cluster: one of this machine, the job's own, or one that is named.

    A process that is connected already stays so.
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
            options |= {"num_cpus": num_cores(), "object_store_memory": OBJECT_STORE}
            options |= {"include_dashboard": False, "_temp_dir": folder}
        try:
            ray.init(address, **options)
        except ConnectionError as error:
            raise FaceproofError(f"no Ray cluster answers at {address}: {error}") from error
        try:
            yield
        finally:
            ray.shutdown()


def _short_folder() -> str | None:
    """Return where temporary files are; Ray's sockets take a path of at most 107 bytes."""
    return "/tmp" if os.name == "posix" else None


def find_room(workers: int | Literal["auto"], cpus: int, gpus: float) -> Pool:
    """Return the workers for which the cluster has room, or as many as the user wants.

    `cpus` and `gpus` are those of each worker.

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
            f"largest has {most['CPU']:g} and {most['GPU']:g}: lower --cpus-per-worker or "
            "--gpus-per-worker"
        )
    wanted = room if workers == "auto" else workers
    if wanted > room:
        log.warning("the cluster has room for %d of %d workers now", room, wanted)
    _tell_if_busy(cpus, gpus)
    environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    return Pool(wanted, min(room, wanted), cpus, gpus, environment)


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


def count_parts(job: Job, num_parts: int, pool: Pool, on: str) -> Iterator[PartCount]:
    """Yield what came of each part, as it is judged.

    Raises:
        FaceproofError: a worker says why its part cannot be judged, or the cluster fails.
    """
    from ray.exceptions import RayError

    take = _taken_by_client if address_of(on).startswith(CLIENT) else judge_parts
    try:
        for text in take(job, num_parts, pool):
            told = json.loads(text)
            if "error" in told:
                raise FaceproofError(told["error"])
            yield PartCount(**told)
    except RayError as error:
        reason, *_ = [*str(error).strip().splitlines(), ""]
        raise FaceproofError(
            f"the cluster has failed ({type(error).__name__}: {reason}); start the same command "
            "again, and it judges what is missing"
        ) from error


class _Worker:
    """What Ray calls in each worker process."""

    def __init__(self, job: Job) -> None:
        self.score = PartScorer(job)

    def __call__(self, batch: Mapping[str, Sequence[int]]) -> dict[str, list[str]]:
        """Judge the part of a batch, and return its count or why there is none."""
        (number,) = batch["item"]
        try:
            told = asdict(self.score(int(number)))
        except FaceproofError as error:
            told = {"error": str(error)}
        return {"told": [json.dumps(told)]}


def judge_parts(job: Job, num_parts: int, pool: Pool) -> Iterator[str]:
    """Yield the count of each part as JSON, in the order in which they end.

    A worker that dies is started again, and its part is given out again. A worker has one part at
    a time and the number of the next; Ray starts more workers where those are not enough.
    """
    import ray.data

    for name in ("ray", "ray.data"):  # which ray.data has set when it was imported
        logging.getLogger(name).setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    size = ray.data.ActorPoolStrategy(
        min_size=1, max_size=pool.workers, initial_size=pool.room, max_tasks_in_flight_per_actor=2
    )
    parts = ray.data.from_items(list(range(num_parts)), override_num_blocks=num_parts)
    judged = parts.map_batches(
        _Worker,
        fn_constructor_args=(job,),
        batch_size=1,
        compute=size,
        num_cpus=pool.cpus,
        num_gpus=pool.gpus,
        runtime_env={"env_vars": dict(pool.environment)},
        udf_modifying_row_count=False,
    )
    for row in judged.iter_rows():
        yield row["told"]


class _Dispatcher:
    """Hands out the parts from within the cluster, as a client cannot: Ray Data does not take it.

    Its methods are called from two threads.
    """

    def __init__(self) -> None:
        self.told: queue.SimpleQueue[str] = queue.SimpleQueue()

    def run(self, job: Job, num_parts: int, pool: Pool) -> None:
        """Judge all parts."""
        for text in judge_parts(job, num_parts, pool):
            self.told.put(text)

    def take(self) -> list[str]:
        """Return what was told since the last call."""
        return [self.told.get() for _ in range(self.told.qsize())]


def _taken_by_client(job: Job, num_parts: int, pool: Pool) -> Iterator[str]:
    import ray

    kind: Any = ray.remote(_Dispatcher)
    dispatcher = kind.options(
        num_cpus=0, max_concurrency=2, max_restarts=RESTARTS, max_task_retries=RESTARTS
    ).remote()
    running = dispatcher.run.remote(job, num_parts, pool)
    ended = False
    while not ended:
        time.sleep(POLL)
        ended = bool(ray.wait([running], timeout=0)[0])
        yield from ray.get(dispatcher.take.remote())
    ray.get(running)  # raises what ended it
