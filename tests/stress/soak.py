"""python -m tests.stress.soak: kill a small run at random moments and see whether it ends the same.

A process is killed by SIGKILL at a moment drawn at random: from the whole of its training, or as
soon as it writes a checkpoint after such a moment, or while it starts, before its first checkpoint.
The run is gone on with by a new process with another number of worker processes; begun again where
there was no checkpoint. Its weights, optimizer, learning rates, early stopping and figures must be
those of a run that was never killed, bit for bit.
"""

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from faceproof.io.run_folder import RunFolder, read_epochs

TRAIN = (sys.executable, "-P", "-m", "faceproof", "train")
# Dropout, random augmentation, a backbone that thaws, a plateau, accumulated gradients.
RUN = (
    "data=demo_faces", "data.num_per_class=60", "model=face_cnn", "trainer=cpu",
    "trainer.max_epochs=3", "trainer.accumulate_grad_batches=2", "loader.batch_size=4",
    "augment=colour", "freeze.stages=[{from_epoch: 0, train: head}, {from_epoch: 1, train: all}]",
    "scheduler=plateau", "scheduler.patience=0", "patience=1", "checkpoint.steps=1", "logger=csv",
)  # fmt: skip


def start(folder: Path, workers: int, resume: bool) -> subprocess.Popen[bytes]:
    """Start a run, or go on with one."""
    begin = [*RUN, f"hydra.run.dir={folder}", f"data.root={folder.parent / 'demo_faces'}"]
    words = [f"resume={folder}"] if resume else begin
    command = [*TRAIN, *words, f"loader.num_workers={workers}"]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a run to end well."""
    _, errors = process.communicate()
    if process.returncode:
        raise SystemExit(f"a run ended with {process.returncode}: {errors.decode()[-2000:]}")


def equal(first: object, second: object) -> bool:
    """Say whether two checkpoints hold the same numbers."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(equal(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return bool(first == second)


def state(folder: Path) -> dict[str, object]:
    """Return what must be the same of a finished run."""
    run = RunFolder(folder)
    last = torch.load(run.last, weights_only=True)
    best = torch.load(run.best, weights_only=True)["state_dict"]
    kept = {key: last[key] for key in ("state_dict", "optimizer_states", "lr_schedulers")}
    rows = read_epochs(run.metrics)
    kept["figures"] = [{k: v for k, v in row.items() if "per_second" not in k} for row in rows]
    kept |= {key: last["callbacks"][key] for key in last["callbacks"] if "EarlyStop" in key}
    return {**kept, "best": best, "best_epoch": run.read_record()["best_epoch"]}


def place(folder: Path) -> str:
    """Say how far a run that was killed had come, by its last checkpoint."""
    if not (folder / "last.ckpt").is_file():
        return "before its first checkpoint"
    checkpoint = torch.load(folder / "last.ckpt", weights_only=True)
    return f"after epoch {checkpoint['epoch']}, step {checkpoint['global_step']}"


def half_written(folder: Path) -> list[str]:
    """Return the names of the checkpoints that are being written, or never were to their end."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if ".ckpt.partial-" in entry.name]


TRAINING, WRITING, STARTING = "in training", "in writing", "in starting"
MOMENTS = (TRAINING, WRITING, TRAINING, WRITING, STARTING)  # in turns


@dataclass(frozen=True)
class Course:
    """How long a run that is not killed takes.

    Attributes:
        starting: seconds until its first checkpoint.
        training: seconds from there to its end.
        writing: seconds from there to its last checkpoint.
    """

    starting: float
    training: float
    writing: float


def run_whole(folder: Path) -> Course:
    """Run from start to end, and say how long that took."""
    began, last = time.time(), folder / "last.ckpt"
    process = start(folder, 0, resume=False)
    while not last.is_file() and process.poll() is None:
        time.sleep(0.005)
    first = time.time()
    finish(process)
    return Course(first - began, time.time() - first, last.stat().st_mtime - first)


def kill_once(folder: Path, course: Course, draw: random.Random, moment: str) -> bool:
    """Kill a run at a random moment, and say whether it was still under way.

    Args:
        folder: of the run.
        course: how long it takes.
        draw: draws the moment.
        moment: in what it is killed.
    """
    process = start(folder, draw.choice([0, 1, 2]), resume=False)
    if moment == STARTING:
        time.sleep(draw.uniform(0, course.starting))
    else:
        while not (folder / "last.ckpt").is_file():
            if process.poll() is not None:
                finish(process)
            time.sleep(0.005)
        time.sleep(draw.uniform(0, course.writing if moment == WRITING else course.training))
    while moment == WRITING and not half_written(folder) and process.poll() is None:
        pass  # a checkpoint is written within milliseconds
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.killpg(process.pid, 9)
    process.communicate()
    return RunFolder(folder).read_record().get("status") != "finished"


def main() -> None:
    """Kill so many runs, and end with 1 if one of them ended otherwise."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as temporary:
        whole = Path(temporary) / "whole"
        course = run_whole(whole)
        expected = state(whole)
        same = done = in_writing = 0
        while done < given.kills:
            folder = Path(temporary) / str(done)
            if not kill_once(folder, course, draw, MOMENTS[done % len(MOMENTS)]):
                print("it had finished before it could be killed; again", flush=True)
                subprocess.run(["rm", "-r", folder], check=True)
                continue
            where, half = place(folder), half_written(folder)
            in_writing += bool(half)
            begun = (folder / "last.ckpt").is_file()
            finish(start(folder, draw.choice([0, 1, 2]), resume=begun))
            alike = equal(expected, state(folder))
            same, done = same + alike, done + 1
            where += f", while {half[0].partition('.partial')[0]} was written" if half else ""
            print(f"{done}: killed {where}: {'the same' if alike else 'OTHERWISE'}", flush=True)
    print(
        f"{same} of {done} runs ended bit for bit as the one that was never killed; "
        f"{in_writing} of the kills fell while a checkpoint was written"
    )
    sys.exit(same < done)


if __name__ == "__main__":
    main()
