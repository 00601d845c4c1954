"""python -m tests.stress.load: many clients at once against a server of its own.

Starts `faceproof serve` on an artifact, sends images from as many clients as wanted for some
time, and prints how many were answered or refused, how long that took, what of a processor's time
an answer cost the server, and the server's memory before and after. A client that is refused waits
as long as the server says.
"""

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np

from tests.small_servers import started


def main() -> None:
    """Run the load test."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.load", description=__doc__)
    parser.add_argument("detector", type=Path, metavar="DIR", help="what faceproof export made")
    parser.add_argument("images", type=Path, nargs="+", help="files to send, in turn")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--serve", nargs=argparse.REMAINDER, default=[], help="options of serve")
    given = parser.parse_args()
    found = check(given.detector, given.images, given.clients, given.seconds, given.serve)
    print(json.dumps(found, indent=2))


def check(
    detector: Path, images: Sequence[Path], clients: int, seconds: float, serve: Sequence[str] = ()
) -> dict[str, object]:
    """Start a server, send it images for a while, and return what it did.

    Args:
        detector: the artifact that it serves.
        images: files to send, in turn.
        clients: how many send at a time.
        seconds: how long.
        serve: further options of the server.
    """
    data = [path.read_bytes() for path in images]
    with (
        tempfile.TemporaryDirectory() as folder,
        started(detector, Path(folder), [*serve]) as (port, pid),
    ):
        return asyncio.run(_measure(f"http://127.0.0.1:{port}", data, clients, seconds, pid))


async def _measure(
    address: str, data: list[bytes], clients: int, duration: float, pid: int
) -> dict[str, object]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=60, limits=limits) as client:
        for number in range(20):  # what is made once is not counted as growth
            await _send(client, data[number % len(data)])
        before, seconds, outcomes = _memory(pid), [], Counter[str]()
        busy = _processor(pid)
        health: list[float] = []
        end = time.monotonic() + duration
        sending = [_go_on(client, data, n, end, seconds, outcomes) for n in range(clients)]
        await asyncio.gather(*sending, _look_in(client, end, health))
        busy = _processor(pid) - busy
        await asyncio.sleep(1)
        metrics = (await client.get("/metrics")).text
    return {
        "clients": clients,
        "seconds": duration,
        "outcomes": dict(outcomes),
        "answers a second": round(outcomes["200"] / duration, 1),
        "processor, ms an answer": round(1000 * busy / max(outcomes["200"], 1), 2),
        "median, s": round(float(np.quantile(seconds, 0.5)), 3),
        "99 %, s": round(float(np.quantile(seconds, 0.99)), 3),
        "/health, slowest, s": round(max(health), 3),
        "memory before, MB": before,
        "memory after, MB": _memory(pid),
        "still in work": next(
            line for line in metrics.splitlines() if line.startswith("faceproof_in_work ")
        ),
    }


async def _send(client: httpx.AsyncClient, data: bytes) -> httpx.Response:
    return await client.post("/api/predict", files={"file": ("image", data)})


async def _go_on(
    client: httpx.AsyncClient,
    data: list[bytes],
    number: int,
    end: float,
    seconds: list[float],
    outcomes: Counter[str],
) -> None:
    """Send one image after the other until the end."""
    while time.monotonic() < end:
        start = time.monotonic()
        try:
            answer = await _send(client, data[number % len(data)])
        except httpx.TransportError as error:
            outcomes[type(error).__name__] += 1
            continue
        number += 1
        outcomes[str(answer.status_code)] += 1
        if answer.status_code == 200:
            seconds.append(time.monotonic() - start)
        else:
            await asyncio.sleep(float(answer.headers.get("retry-after", 0.1)))


async def _look_in(client: httpx.AsyncClient, end: float, health: list[float]) -> None:
    """Ask twice a second whether the server is alive, and note how long that takes."""
    while time.monotonic() < end:
        start = time.monotonic()
        await client.get("/health")
        health.append(time.monotonic() - start)
        await asyncio.sleep(0.5)


def _memory(pid: int) -> int:
    """Return the resident memory of a process in MB, on Linux."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) // 1024


def _processor(pid: int) -> float:
    """Return the seconds that a process has had of the processor's cores, on Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
