"""python -m tests.stress.search: a search by several commands on PostgreSQL, one of them killed.

Commands begin at the same time on an empty database and train tiny networks. One is killed while it
trains. Then the study must have its trials, none of them twice, and the killed command's as well.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.small_postgres import small_postgres, trials_of, why_not
from tests.small_sources import TINY, write_sources

NUM_COMMANDS = 3
WAIT = 1800.0  # seconds for something to happen
SPACE = (
    "optimizer.lr=tag(log,interval(1e-4,1e-1))", "optimizer.weight_decay=interval(0,0.1)",
    "freeze=none",  # the others that are searched leave a network of random weights as it is
)  # fmt: skip


def begin(folder: Path, file: Path, storage: str, trials: int) -> "subprocess.Popen[bytes]":
    """Start a command of the search, in a group of processes of its own."""
    words = [
        *TINY, f"data.file={file}", "data.allow_leaks=true", *SPACE, "sweep=optuna",
        f"hydra.sweeper.n_trials={trials}", "hydra.sweep.dir=sweep",
        f"hydra.sweeper.storage={storage}",
    ]  # fmt: skip
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "faceproof", "train", *words],
            cwd=folder, start_new_session=True, stdout=output, stderr=output,
        )  # fmt: skip


def notes(folder: Path) -> list[dict[str, Any]]:
    """Return what job.json says of each run."""
    return [json.loads(file.read_text()) for file in (folder / "sweep").glob("*/job.json")]


def wait_for_training(folder: Path, process: "subprocess.Popen[bytes]") -> None:
    """Wait until each command trains a run."""
    until = time.monotonic() + WAIT
    while sum(one["status"] == "running" for one in notes(folder)) < NUM_COMMANDS:
        if process.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"no trials begin: {(folder / 'output.txt').read_text()[-2000:]}")
        time.sleep(0.05)


def search(folder: Path, trials: int) -> dict[str, Any]:
    """Search while a command dies, and return the figures."""
    file, began = write_sources(folder / "data", "a"), time.monotonic()
    with small_postgres() as storage:
        commands = [begin(folder, file, storage, trials) for _ in range(NUM_COMMANDS)]
        try:
            wait_for_training(folder, commands[0])
            os.killpg(commands[0].pid, signal.SIGKILL)
            codes = [command.wait(WAIT) for command in commands]
        finally:
            for command in commands:
                if command.poll() is None:
                    os.killpg(command.pid, signal.SIGKILL)
        found = trials_of(storage, "sweep")
    states = Counter(trial.state.name for trial in found)
    whole = [trial for trial in found if trial.state.name == "COMPLETE"]
    runs = notes(folder)
    return {
        "trials": trials, "commands": NUM_COMMANDS, "exit codes": codes, **states,
        "folders of trials": len({trial.user_attrs["folder"] for trial in whole}),
        "settings of trials": len({json.dumps(trial.params) for trial in whole}),
        "runs": len(runs), "finished runs": sum(one["status"] == "finished" for one in runs),
        "attempts": dict(Counter(len(one["attempts"]) for one in runs)),
        "taken up": sum("retries" in trial.user_attrs for trial in whole),
        "seconds": round(time.monotonic() - began),
    }  # fmt: skip


def is_right(found: dict[str, Any]) -> bool:
    """Say whether no trial is lost or was trained twice, but for the killed command's."""
    trials = found["trials"]
    counts = ("COMPLETE", "folders of trials", "settings of trials", "runs", "finished runs")
    return (
        all(found[name] == trials for name in counts)
        and found["attempts"] == {1: trials - 1, 2: 1}
        and found["taken up"] == found.get("FAIL") == 1
        and found["exit codes"] == [-signal.SIGKILL, *[0] * (NUM_COMMANDS - 1)]
    )


def main() -> None:
    """Run it, print the figures, and fail where they are wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.search", description=__doc__)
    parser.add_argument("--trials", type=int, default=30)
    given = parser.parse_args()
    if reason := why_not():
        raise SystemExit(f"cannot be run here: it {reason}")
    with tempfile.TemporaryDirectory() as folder:
        found = search(Path(folder), given.trials)
    print(", ".join(f"{name}: {value}" for name, value in found.items()))
    raise SystemExit(0 if is_right(found) else 1)


if __name__ == "__main__":
    main()
