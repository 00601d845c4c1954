"""Work that is divided into parts by number, on the workers of a cluster of Ray.

Ray hands out numbers of parts and gets back what came of each: counts, scores or file statistics.
Paths pass through it once for each machine; images never do. Used by `predict --on ray`, and by
`engine=ray` of the evaluation and the audit.
"""

import logging
import math
import queue
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from faceproof.errors import FaceproofError
from faceproof.inference.output_parts import ends_of
from faceproof.workflows.ray_cluster import CLIENT, Pool, address_of

POLL = 1.0  # seconds between two questions to a cluster that is reached by a client
PART_SIZE = 1024  # images, or the next whole number of batches
MAX_ATTEMPTS = 3  # at a part of which workers die
RESTARTS = 3  # of the process that hands out the parts, where that is on the cluster


class Work(Protocol):
    """What a worker does with a part; it is made in the worker."""

    def __call__(self, number: int) -> bytes:
        """Return what came of the part of a number."""

    def paths_of(self, number: int) -> Sequence[str]:
        """Return the paths of the part's images, to name it."""


MakeWork = Callable[[], Work]
# Of a part its number, what came of it, and why nothing did.
Told = tuple[int, bytes, str | None]


def usual_part_size(batch_size: int) -> int:
    """Return how many images are a part: a whole number of batches, as on one machine."""
    return batch_size * math.ceil(PART_SIZE / batch_size)


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
