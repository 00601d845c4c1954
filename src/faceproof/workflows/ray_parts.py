"""A cluster of Ray, and work that is divided into parts by number on its workers.

Ray hands out numbers of parts and gets back what came of each: counts, scores or file statistics.
Paths pass through it once for each machine; images never do. Used by `predict --on ray`, and by
`engine=ray` of the evaluation and the audit.
"""

import logging
import math
import os
import queue
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

import pyarrow as pa

from faceproof.data.shards.store import GCS_ENDPOINT, S3_ENDPOINTS
from faceproof.errors import FaceproofError
from faceproof.evaluation.cluster_config import ClusterConfig
from faceproof.inference.output_parts import ends_of
from faceproof.performance.cores import num_cores
from faceproof.performance.threads import wait_briefly

CLIENT, LOCAL = "ray://", "local"
POLL = 1.0  # seconds between two questions to a cluster that is reached by a client
PART_SIZE = 1024  # images, or the next whole number of batches
MAX_ATTEMPTS = 3  # at a part of which workers die
RESTARTS = 3  # of the process that hands out the parts, where that is on the cluster
OBJECT_STORE = 100_000_000  # bytes, beside the paths: results pass through it, no images
# What changes the answers or the speed of a process, and must be the same in a worker; and where
# object stores are. Credentials are not among it: each machine has its own, or the role of one.
ENVIRONMENT = (
    *S3_ENDPOINTS, GCS_ENDPOINT,
    "FACEPROOF_ALLOW", "FACEPROOF_MAX_PIXELS", "FACEPROOF_MAX_SCANS", "FACEPROOF_PERFORMANCE",
    "GOMP_SPINCOUNT", "OMP_WAIT_POLICY",
)  # fmt: skip


class Work(Protocol):
    """What a worker does with a part; it is made in the worker."""

    def __call__(self, number: int) -> bytes:
        """Return what came of the part of a number."""

    def paths_of(self, number: int) -> Sequence[str]:
        """Return the paths of the part's images, to name it."""


MakeWork = Callable[[], Work]
# Of a part its number, what came of it, and why nothing did.
Told = tuple[int, bytes, str | None]

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


def usual_part_size(batch_size: int) -> int:
    """Return how many images are a part: a whole number of batches, as on one machine."""
    return batch_size * math.ceil(PART_SIZE / batch_size)


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


def results_of_parts(
    make: MakeWork, num_parts: int, pool: Pool, on: str
) -> Iterator[tuple[int, bytes]]:
    """Yield each part's number and what came of it, once, in the order in which they end.

    `make` is called in each worker, and what it returns with the number of each part.

    Raises:
        FaceproofError: a worker says why its part cannot be done, or the cluster fails.
    """
    from ray.exceptions import RayError

    take = _taken_by_client if address_of(on).startswith(CLIENT) else work_on_parts
    done: set[int] = set()
    try:
        for number, result, error in take(make, num_parts, pool):
            if number in done:  # told again, by a process that was started again
                continue
            if error is not None:
                raise FaceproofError(error)
            done.add(number)
            yield number, result
    except RayError as error:
        reason, *_ = [*str(error).strip().splitlines(), ""]
        raise FaceproofError(
            f"the cluster has failed ({type(error).__name__}: {reason}); start the same "
            "command again"
        ) from error
    if missing := num_parts - len(done):
        raise FaceproofError(
            f"the cluster ended without an answer for {missing:,} of {num_parts:,} parts; start "
            "the same command again"
        )


class _Worker:
    """What Ray calls in each worker process.

    Args:
        make: returns what does the work.
        attempts: counts the attempts at each part.
        cpus_option: what gives a worker more of a machine.
    """

    def __init__(
        self, make: MakeWork, attempts: "_Attempts | _AttemptsElsewhere", cpus_option: str
    ) -> None:
        self.work, self.attempts, self.cpus_option = make(), attempts, cpus_option

    def __call__(self, batch: Mapping[str, Sequence[int]]) -> dict[str, list[Any]]:
        """Return what comes of the part of a batch, or why nothing does."""
        (number,) = batch["item"]
        result, error = b"", None
        try:
            if self.attempts.begin(int(number)) > MAX_ATTEMPTS:
                raise FaceproofError(
                    f"{ends_of(self.work.paths_of(int(number)))}: {MAX_ATTEMPTS} worker processes "
                    "died at these files, as happens when memory runs out; leave the file out "
                    f"that is to blame, or give a worker more of a machine by {self.cpus_option}"
                )
            result = self.work(int(number))
            self.attempts.end(int(number))
        except FaceproofError as refusal:
            error = str(refusal)
        return {"number": [int(number)], "result": [result], "error": [error or ""]}


class _Attempts:
    """Counts the attempts at parts of which workers died."""

    def __init__(self) -> None:
        self.begun: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        """Count an attempt at a part, and return how many there were."""
        self.begun[number] += 1
        return self.begun[number]

    def end(self, number: int) -> None:
        """Forget the attempts at a part that nobody died of: Ray may want it once more."""
        del self.begun[number]


class _AttemptsElsewhere:
    """`_Attempts` in a process of its own, which outlives the workers.

    It is on the machine that gives out the parts. Where that is lost and another one goes on, it
    counts from 0.
    """

    def __init__(self) -> None:
        import ray

        kind: Any = ray.remote(_Attempts)
        self.there = kind.options(
            num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=_on_this_machine()
        ).remote()

    def begin(self, number: int) -> int:
        """Count an attempt at a part, and return how many there were."""
        import ray

        found: int = ray.get(self.there.begin.remote(number))
        return found

    def end(self, number: int) -> None:
        """Forget the attempts at a part."""
        import ray

        ray.get(self.there.end.remote(number))


def _on_this_machine() -> Any:
    """Return what has Ray start an actor on this machine, or on another one where this is lost."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = ray.get_runtime_context().get_node_id()
    return NodeAffinitySchedulingStrategy(here, soft=True)


def work_on_parts(make: MakeWork, num_parts: int, pool: Pool) -> Iterator[Told]:
    """Yield what is told of each part, in the order in which they end.

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
    told = parts.map_batches(
        _Worker,
        fn_constructor_args=(make, _AttemptsElsewhere(), pool.cpus_option),
        batch_size=1,
        compute=size,
        num_cpus=pool.cpus,
        num_gpus=pool.gpus,
        runtime_env={"env_vars": dict(pool.environment)},
        udf_modifying_row_count=False,
    )
    for row in told.iter_rows():
        yield int(row["number"]), bytes(row["result"]), row["error"] or None


class _Dispatcher:
    """Hands out the parts from within the cluster, as a client cannot: Ray Data does not take it.

    Its methods are called from two threads.
    """

    def __init__(self) -> None:
        self.told: queue.SimpleQueue[Told] = queue.SimpleQueue()

    def run(self, make: MakeWork, num_parts: int, pool: Pool) -> None:
        """Work on all parts."""
        for told in work_on_parts(make, num_parts, pool):
            self.told.put(told)

    def take(self) -> list[Told]:
        """Return what was told since the last call."""
        return [self.told.get() for _ in range(self.told.qsize())]


def _taken_by_client(make: MakeWork, num_parts: int, pool: Pool) -> Iterator[Told]:
    import ray

    kind: Any = ray.remote(_Dispatcher)
    dispatcher = kind.options(
        num_cpus=0, max_concurrency=2, max_restarts=RESTARTS, max_task_retries=RESTARTS
    ).remote()
    running = dispatcher.run.remote(make, num_parts, pool)
    ended = False
    while not ended:
        time.sleep(POLL)
        ended = bool(ray.wait([running], timeout=0)[0])
        yield from ray.get(dispatcher.take.remote())
    ray.get(running)  # raises what ended it


def to_bytes(table: pa.Table) -> bytes:
    """Return a table as what came of a part."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def from_bytes(result: bytes) -> pa.Table:
    """Return the table of which `to_bytes` made what came of a part."""
    with pa.ipc.open_stream(result) as stream:
        return stream.read_all()
