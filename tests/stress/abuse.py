"""python -m tests.stress.abuse: send a server thousands of requests that no honest client sends.

Starts `faceproof serve` with narrow limits, on a detector of random weights unless one is named,
and sends what `malformed` makes up. No answer may be a 500 and no traceback may stand in the log;
the server must answer /health all the while, say the same of a good image before and after, close
what is left open, give memory and files back, and leave nothing on the disk when it ends.
"""

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from tests.small_servers import started
from tests.stress import hostile_files, malformed
from tests.stress.malformed import OPEN, Kind, Target, exchange, form, request

SECONDS = 2.0  # the server's --timeout
LIMITS = {
    "--max-megabytes": "1", "--max-pixels": "1000000", "--max-frames": "4", "--concurrency": "2",
    "--queue": "30", "--timeout": f"{SECONDS}", "--connections": "100",
}  # fmt: skip
TOGETHER = 16  # requests at the same time
MAX_GROWTH = 150  # MB of resident memory: what the largest images at once have once taken
OF_TORCH = "_remote_module_non_scriptable.py"  # which torch 2.6 writes when it is imported
MAX_FILES = 8  # open files more than before: connections that are kept alive a while
BUSY = 60  # seconds in which it may be too busy for a good image


@dataclass
class Found:
    """What the server did.

    Attributes:
        outcomes: of each kind, how often each status.
        faults: what must not be.
        slowest: seconds that /health took.
    """

    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    faults: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def total(self) -> Counter[str]:
        """Return how often each status came."""
        return sum(self.outcomes.values(), Counter())

    def note(self, kind: Kind, outcome: str) -> None:
        """Count an answer."""
        self.outcomes[kind.__name__][outcome] += 1
        if outcome == OPEN or (outcome.startswith("5") and outcome not in ("503", "504")):
            self.faults.append(f"{kind.__name__}: {outcome}")


def ask(port: int, image: bytes) -> object:
    """Return what the server says of a good image."""
    address = f"http://127.0.0.1:{port}/api/predict"
    headers = {"Content-Type": malformed.FORM}
    asked = urllib.request.Request(address, form(image), headers)
    end = time.monotonic() + BUSY
    while True:
        try:
            with urllib.request.urlopen(asked, timeout=60) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code not in (503, 504) or time.monotonic() > end:
                raise
            time.sleep(1)


def memory(pid: int) -> int:
    """Return the resident memory of a process in MB, on Linux."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1_000_000


def files(pid: int) -> int:
    """Return how many files, connections among them, a process has open, on Linux."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def _send(target: Target, number: int, seed: int, found: Found) -> None:
    """Send so many requests of all kinds, some at a time, and look whether the server is alive."""
    free, over = asyncio.Semaphore(TOGETHER), asyncio.Event()

    async def one(place: int) -> None:
        kind = malformed.KINDS[place % len(malformed.KINDS)]
        async with free:
            found.note(kind, await kind(target, random.Random(f"{seed} {place}")))

    async def look_in() -> None:
        while not over.is_set():
            start = time.monotonic()
            asked = request("GET", "/health", "Connection: close")
            for _ in range(3):  # on a machine that stands still a connection may end for its age
                said = await exchange(target, asked)
                if said == "200":
                    break
            else:
                found.faults.append(f"/health was not answered: {said}")
            found.slowest = max(found.slowest, time.monotonic() - start)
            await asyncio.sleep(0.5)

    looking = asyncio.create_task(look_in())
    await asyncio.gather(*(one(place) for place in range(number)))
    over.set()
    await looking


async def _crowd(target: Target, found: Found) -> None:
    """Open twice the connections that there may be, and look that more are refused meanwhile."""
    many = 2 * int(LIMITS["--connections"])
    opened = await asyncio.gather(
        *(asyncio.open_connection("127.0.0.1", target.port) for _ in range(many))
    )
    asked = request("GET", "/health", "Connection: close")
    said = await exchange(target, asked)
    if said != "503":
        found.faults.append(f"with {many} connections open the next one gets {said}")
    for _, writer in opened:
        writer.transport.abort()
    for _ in range(20):
        said = await exchange(target, asked)
        if said == "200":
            return
        await asyncio.sleep(0.1)
    found.faults.append(f"after {many} connections /health gets {said}")


def check(
    detector: Path, number: int, seed: int = 0, more: list[str] | None = None
) -> dict[str, object]:
    """Abuse a server, and return what it did.

    Args:
        detector: the artifact that it serves.
        number: requests.
        seed: of what is made up.
        more: further options of serve.
    """
    found = Found()
    good = hostile_files.encoded(hostile_files.image(random.Random(seed), (200, 220)), "jpg")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        options = [word for pair in LIMITS.items() for word in pair]
        with started(detector, folder, [*options, *(more or [])]) as (port, pid):
            target = Target(port, SECONDS, 1_000_000, good)
            said = [ask(port, good) for _ in range(5)][-1]
            # What is made once, by the largest images too, is not counted as growth.
            asyncio.run(_send(target, min(number, 5 * len(malformed.KINDS)), seed - 1, Found()))
            before = memory(pid), files(pid)
            asyncio.run(_send(target, number, seed, found))
            asyncio.run(_crowd(target, found))
            end = time.monotonic() + 20
            while files(pid) > before[1] + MAX_FILES and time.monotonic() < end:
                time.sleep(0.2)
            after = memory(pid), files(pid)
            if ask(port, good) != said:
                found.faults.append("a good image is answered otherwise than before")
        log = (folder / "log").read_text(errors="replace")
        if "/api/" in log or log.count("127.0.0.1") != 1:  # the address that it serves at
            found.faults.append("the log holds paths or addresses of clients")
        left = [str(path) for path in (folder / "temporary").rglob("*") if path.is_file()]
        left = [path for path in left if not path.endswith(OF_TORCH)]
    if after[0] - before[0] > MAX_GROWTH:
        found.faults.append(f"memory grew from {before[0]} to {after[0]} MB")
    if after[1] - before[1] > MAX_FILES:
        found.faults.append(f"{before[1]} files were open, and then {after[1]}")
    found.faults += [f"raised {many} times: {what}" for what, many in _raised(log).items()]
    if left:
        found.faults.append(f"left on the disk: {left[:5]}")
    return {
        "requests": number,
        "answers": dict(found.total().most_common()),
        "kinds": {kind: dict(counts) for kind, counts in found.outcomes.items()},
        "memory before, after, MB": (before[0], after[0]),
        "open files before, after": (before[1], after[1]),
        "/health, slowest, s": round(found.slowest, 2),
        "faults": found.faults,
    }


def _raised(log: str) -> Counter[str]:
    """Return what ended the tracebacks of a log, each with the last place of this package."""
    found = Counter[str]()
    place, inside = "", False
    for line in log.splitlines():
        if line.startswith("Traceback"):
            place, inside = "", True
        elif inside and line.startswith("  File "):
            place = line.strip()
        elif inside and line and not line.startswith((" ", "+")):
            found[f"{line[:200]} ({place})"] += 1
            inside = False
    return found


def make_detector(folder: Path) -> Path:
    """Train a small detector for a moment and return its artifact."""
    train = str(Path(__file__).parents[2] / "train.py")
    words = (
        "data=demo", "data.num_per_class=40", "model=face_cnn", "model.input.size=48",
        "trainer=cpu", "trainer.max_epochs=1", "loader.num_workers=0", "logger=csv",
    )  # fmt: skip
    run, artifact = folder / "run", folder / "detector"
    steps = [
        [train, *words, f"hydra.run.dir={run}"],
        ["-m", "faceproof", "export", str(run), "--to", str(artifact)],
    ]
    for step in steps:
        subprocess.run([sys.executable, *step], check=True, capture_output=True)
    return artifact


def main() -> None:
    """Abuse a server, print what it did, and end with 1 where it did what it must not."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.abuse", description=__doc__)
    parser.add_argument("--requests", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--detector", type=Path, help="an artifact (default: one is trained)")
    parser.add_argument("--serve", nargs=argparse.REMAINDER, default=[], help="options of serve")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        detector = given.detector or make_detector(Path(folder))
        found = check(detector, given.requests, given.seed, given.serve)
    print(json.dumps(found, indent=2))
    sys.exit(bool(found["faults"]))


if __name__ == "__main__":
    main()
