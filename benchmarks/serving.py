"""`faceproof serve` asked by many clients at once, against one that waits for each answer."""

import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks.measuring import read_images

TIMEOUT = 300.0  # seconds for the server to come up, or to answer
WARM_UP = 3.0  # seconds
WORKERS, JUDGED = 2, 16  # processes; uploads judged at the same time where they are batched
WAIT_MS = 5.0
NUM_SENT = 100  # images, in turn


@dataclass(frozen=True)
class Way:
    """How a server is started, and whether many clients ask it or one."""

    name: str
    options: tuple[str, ...] = ()
    is_many: bool = True


BATCHED = ("--concurrency", f"{JUDGED}", "--batch-wait-ms", f"{WAIT_MS:g}")
WAYS = (
    Way("one by one", is_many=False),
    Way("many clients"),
    Way(f"batches, {WAIT_MS:g} ms", BATCHED),
    Way(f"{WORKERS} workers", ("--workers", f"{WORKERS}")),
    Way(f"{WORKERS} workers, batches", ("--workers", f"{WORKERS}", *BATCHED)),
)


def measure_serving(
    data: str, detector: str, clients: int, seconds: float, rounds: int
) -> list[dict[str, Any]]:
    """Return a row a way: answers a second, and seconds of an answer at 50 and 95 %.

    Ways take turns, and each figure is the median over the rounds. Clients run on the same machine,
    in one process. An answer that is no verdict is counted as refused.
    """
    images = [Path(path).read_bytes() for path in read_images(data).paths[:NUM_SENT]]
    found: dict[str, list[dict[str, float]]] = {way.name: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            number = clients if way.is_many else 1
            with _serving(detector, clients, way.options) as address:
                found[way.name].append(asyncio.run(_ask(address, images, number, seconds)))
    return [
        {
            "way": way.name,
            "clients": clients if way.is_many else 1,
            **{
                key: statistics.median(one[key] for one in found[way.name])
                for key in found[way.name][0]
            },
        }
        for way in WAYS
    ]


@contextmanager
def _serving(detector: str, clients: int, options: Sequence[str]) -> Iterator[str]:
    """Start `faceproof serve`, wait until all of it answers, and yield its address."""
    command = [sys.executable, "-m", "faceproof", "serve", detector, "--port", "0"]
    limits = ["--queue", f"{2 * clients}", "--max-pixels", "16e6", "--no-page"]
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen([*command, *limits, *options], stdout=log, stderr=log)
        try:
            yield _address(server, log, WORKERS if "--workers" in options else 0)
        finally:
            server.terminate()
            server.wait()


def _address(server: "subprocess.Popen[bytes]", log: Any, workers: int) -> str:
    """Return where a server answers, once it and so many workers have said so."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end and server.poll() is None:
        log.seek(0)
        said = log.read()
        address = re.search(r"HTTP API: (http://\S+)/", said)
        if address and said.count(" answers") >= workers:
            return address[1]
        time.sleep(0.1)
    log.seek(0)
    raise RuntimeError(f"the server has not come up: {log.read()[-2000:]}")


async def _ask(
    address: str, images: Sequence[bytes], clients: int, seconds: float
) -> dict[str, float]:
    """Have so many clients send images, one after the other, for some seconds."""
    took: list[float] = []
    refused = 0
    begins = time.perf_counter() + min(WARM_UP, seconds)
    ends = begins + seconds

    async def go_on(client: httpx.AsyncClient, number: int) -> None:
        nonlocal refused
        while (asked := time.perf_counter()) < ends:
            file = {"file": ("image", images[number % len(images)])}
            answer = await client.post("/api/predict", files=file)
            number += 1
            if begins <= (answered := time.perf_counter()) < ends:
                if answer.status_code == 200:
                    took.append(answered - asked)
                else:
                    refused += 1

    every = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=TIMEOUT, limits=every) as client:
        await asyncio.gather(*(go_on(client, one) for one in range(clients)))
    median, late = np.quantile(took, (0.5, 0.95)) if took else (np.nan, np.nan)
    return {
        "answers a second": len(took) / seconds,
        "median, s": float(median),
        "95 %, s": float(late),
        "refused": float(refused),
    }
