"""python -m tests.stress.strangers: runs and artifacts as a stranger may hand them on.

Each is a good one in which something was changed: text, types, depth, names, links, pipes. Whatever
it is, each command ends soon, with a result or with a message to the user, and writes nothing but
into the run's folder or the place that the user has named.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from faceproof.errors import FaceproofError
from faceproof.inference.predictor import load
from faceproof.workflows.compare import compare
from faceproof.workflows.compare_config import CompareConfig
from faceproof.workflows.ensemble import ensemble
from faceproof.workflows.ensemble_config import EnsembleConfig
from faceproof.workflows.explain import ExplainConfig, explain
from faceproof.workflows.export import export_run
from faceproof.workflows.features import FeaturesConfig, features
from tests.conftest import write_faces
from tests.jobs import evaluate, train

LIMIT = 120  # seconds for one command; on a machine that has much else to do
SECRET = "the reader's own secret"
HOLE = 2**40  # bytes of a file that takes no room on the disk
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 0.5, 1e300, 2**62, 2**70, "", "x", "..", ".", "../../outside", "/etc/passwd",
    "a/b", "a\\b", "\x1b[31mred\x07", "[red]bold[/]", "[/x]", "$\\frac$", "a\nb\u2028c\u202ed",
    "<script>alert(1)</script>", "${oc.env:SECRET}", "${now:}", "s3://stranger/bucket", "n" * 300,
    "\u00e9", [], [1], {}, {"a": []}, [[]], {"_target_": "os.system"}, ["x"] * 3,
    {"name": "os.system"},
)  # fmt: skip
TEXTS = (
    b"", b"[", b"{", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 200_000, b'{"a":' * 50_000,
    b"a: &a [x]\nb: [*a, *a]\n", b"- " * 5_000, b"!!python/object/apply:os.system ['touch x']\n",
    b"<<: *x\n", b"x: 2001-01-01\n", b"? [a]\n: b\n", b"0x" + b"f" * 5000, b"NaN", b"1e999",
    b'"\\ud800"', b"a: !!binary aGk=\n", b"\x00" * 100, b"a,b\n1,2\n", b"epoch\n1e9\n",
    b"--- 1\n--- 2\n",
)  # fmt: skip


_OF_JSON = (json.loads, json.dumps)


class TooSlowError(AssertionError):
    """A command has not ended in time."""


def alias_bomb() -> bytes:
    """Return some lines of YAML that stand for more values than there is memory."""
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)]
    return "\n".join([*lines, "model: *a29", "data: *a29"]).encode()


def change_values(rng: random.Random, value: Any) -> Any:
    """Return a plain value with something in it replaced, taken away or added."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value, key=str))
        draw = rng.random()
        if draw < 0.15:
            return {name: one for name, one in value.items() if name != key}
        if draw < 0.25:
            return {**value, str(rng.choice(ODD)): rng.choice(ODD)}
        return {**value, key: change_values(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.7:
        place = rng.randrange(len(value))
        return [*value[:place], change_values(rng, value[place]), *value[place + 1 :]]
    return rng.choice(ODD)


def mutate_text(rng: random.Random, file: Path) -> None:
    """Change a file of JSON or YAML by its values, or its text."""
    draw, data = rng.random(), file.read_bytes()
    if draw < 0.7:
        read, write = (yaml.safe_load, yaml.safe_dump) if file.suffix == ".yaml" else _OF_JSON
        try:
            value = read(data.splitlines()[0] if file.suffix == ".jsonl" else data)
        except (ValueError, IndexError, RecursionError, yaml.YAMLError):  # it was changed before
            return mutate_bytes(rng, file)
        file.write_bytes(write(change_values(rng, value)).encode(errors="replace"))
    elif draw < 0.85:
        file.write_bytes(rng.choice((*TEXTS, alias_bomb())))
    else:
        mutate_bytes(rng, file)
    return None


def mutate_bytes(rng: random.Random, file: Path) -> None:
    """Cut a file, or change, double or insert some of its bytes."""
    data = bytearray(file.read_bytes())
    place = rng.randrange(len(data) + 1)
    draw = rng.randrange(4)
    if draw == 0:
        del data[place:]
    elif draw == 1:
        data[place:place] = rng.randbytes(rng.randrange(1, 40))
    elif draw == 2:
        data *= 2
    else:
        for _ in range(rng.randrange(1, 30)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
    file.write_bytes(bytes(data))


def mutate_table(rng: random.Random, file: Path) -> None:
    """Change columns, types or values of a Parquet file, or its bytes."""
    try:
        table, draw = pq.read_table(file), rng.randrange(7)
    except (pa.ArrowException, OSError):  # it was changed before
        return mutate_bytes(rng, file)
    names = table.column_names
    place = rng.randrange(len(names))
    number = table.num_rows
    if draw == 0:
        return mutate_bytes(rng, file)
    if draw == 1:
        table = table.drop_columns([names[place]])
    elif draw == 2:
        odd = (
            pa.array([[1]] * number), pa.array([b"\xff"] * number), pa.array([2**62] * number),
            pa.nulls(number), pa.array([{"a": 1}] * number), pa.array([True] * number),
            pa.array([float("nan")] * number),
        )  # fmt: skip
        table = table.set_column(place, names[place], rng.choice(odd))
    elif draw == 3:
        texts = [one if isinstance(one, str) else "x" for one in rng.choices(ODD, k=number)]
        table = table.set_column(place, names[place], pa.array(texts))
    elif draw == 4:
        table = pa.table([*table.columns, table[place]], [*names, names[place]])
    elif draw == 5:
        table = table.slice(0, 0)
    else:
        table = pa.concat_tables([table] * 2)
    pq.write_table(table, file)
    return None


def mutate_folder(rng: random.Random, folder: Path, victim: Path) -> None:
    """Put links, pipes, devices, sockets, folders or holes where files and folders are."""
    places = sorted(folder.rglob("*"))
    new = ("train.log", "evaluate.log", "train.lock", "test_scorings.jsonl", "explanation",
           "features", f"record.json.partial-{socket.gethostname()}-{os.getpid()}", ".x.old",
           ".hydra", "evaluations/x", "metrics.csv", "best.ckpt", "plots")  # fmt: skip
    place = rng.choice([*places, *(folder / name for name in new)])
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    draw = rng.randrange(9)
    if draw < 3:
        place.symlink_to(
            rng.choice([victim / "own.txt", victim, victim / "new", place, "/dev/zero"])
        )
    elif draw < 5:
        os.mkfifo(place)
    elif draw == 5:
        place.mkdir()
    elif draw == 6:
        with place.open("wb") as file:
            file.truncate(HOLE)
    elif draw == 7:
        deep = place.joinpath(*["d"] * 60)
        deep.mkdir(parents=True)
    else:
        with contextlib.chdir(place.parent), socket.socket(socket.AF_UNIX) as made:
            made.bind(place.name[:90])


def mutate(rng: random.Random, folder: Path, victim: Path) -> str:
    """Change something in a folder, and say what."""
    if rng.random() < 0.2:
        mutate_folder(rng, folder, victim)
        return "folder"
    kinds: dict[str, Callable[[random.Random, Path], None]] = {
        ".json": mutate_text, ".yaml": mutate_text, ".jsonl": mutate_text,
        ".parquet": mutate_table, ".csv": mutate_bytes, ".ckpt": mutate_bytes,
        ".safetensors": mutate_bytes,
    }  # fmt: skip
    plain = [file for file in sorted(folder.rglob("*")) if file.is_file() and file.suffix in kinds]
    # Weights are large and few: what is read as text and tables is changed more often.
    weights = [1 if file.suffix in (".ckpt", ".csv", ".safetensors") else 4 for file in plain]
    (file,) = rng.choices(plain, weights)
    kinds[file.suffix](rng, file)
    return file.name


class World:
    """Good runs to change, and what must stay as it is beside them."""

    def __init__(self, root: Path) -> None:
        self.root, self.victim = root, root / "home"
        self.good, self.work = root / "good", root / "work"
        images = write_faces(root / "images", train=8, val=4, test=4)
        small = (
            "data=face_or_not", f"data.root={images}", "model=face_cnn", "model.input.size=16",
            "trainer=cpu", "trainer.max_epochs=1", "loader.batch_size=8", "loader.num_workers=0",
            "logger=csv",
        )  # fmt: skip
        for seed in range(2):
            train(self.good / f"run{seed}", *small, f"seed={seed}")
            evaluate(self.good / f"run{seed}", "loader.num_workers=0")
        both = (self.good / "run0", self.good / "run1")
        ensemble(EnsembleConfig(both, out=self.good / "both"))
        evaluate(self.good / "both", "loader.num_workers=0")
        export_run(self.good / "run0", self.good / "artifact")
        self.image = str(next(images.rglob("*.jpg")))
        self.victim.mkdir()
        (self.victim / "own.txt").write_text(SECRET)

    def fresh(self, name: str) -> Path:
        """Return a new copy of a good folder, beside an unchanged run."""
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.good / "run1", self.work / "other")
        return shutil.copytree(self.good / name, self.work / "changed")

    def outside(self) -> dict[str, tuple[int, int, bytes]]:
        """Return what lies beside the changed folder: sizes, times, bytes."""
        found = {}
        for place, folders, files in os.walk(self.root):
            here = Path(place)
            for skipped in {"changed", "named", "cache"} & set(folders):
                folders.remove(skipped)
            for name in files + folders:
                status = (here / name).lstat()
                small = (here / name).is_file() and status.st_size < 1000
                data = (here / name).read_bytes() if small else b""
                found[str(here / name)] = (status.st_size * (name in files), 0, data)
        return found


def commands(world: World) -> dict[str, tuple[str, Callable[[Path], object]]]:
    """Return each command by name: the good folder that it takes, and what calls it."""
    named = world.work / "named"
    quick = {"methods": ("occlusion",), "sample": 2, "mistakes": 1, "effort": "least"}
    other = world.work / "other"

    def resume(run: Path) -> None:
        train(run, f"resume={run}", "trainer.max_epochs=2", "loader.num_workers=0")

    def measure(run: Path) -> None:
        compare(CompareConfig((run, other), out=named, timing=False, device="cpu"))

    return {
        "evaluate": ("run0", lambda run: evaluate(run, "loader.num_workers=0")),
        "evaluate_ensemble": ("both", lambda run: evaluate(run, "loader.num_workers=0")),
        "explain": ("run0", lambda run: explain(ExplainConfig(run, **quick, device="cpu"))),
        "features": ("run0", lambda run: features(FeaturesConfig(run, device="cpu"))),
        "export": ("run0", lambda run: export_run(run, named)),
        "export_ensemble": ("both", lambda run: export_run(run, named)),
        "compare": ("run0", measure),
        "ensemble": ("run0", lambda run: ensemble(EnsembleConfig((run, other), out=named))),
        "resume": ("run0", resume),
        "predict": ("artifact", lambda folder: load(folder, "cpu")(world.image)),
    }


@contextlib.contextmanager
def in_time(seconds: int) -> Iterator[None]:
    """Let what is done inside take so long at most, even where it waits for a pipe."""

    def stop(*_: object) -> None:
        raise TooSlowError(f"it has not ended within {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def try_one(world: World, command: str, seed: int) -> str:
    """Change a folder and let a command at it; return the message, or `done`."""
    rng = random.Random(f"{command} {seed}")
    name, call = commands(world)[command]
    folder = world.fresh(name)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        mutate(rng, folder, world.victim)
    before = world.outside()
    try:
        with in_time(LIMIT):
            call(folder)
        said = "done"
    except FaceproofError as error:
        said = str(error)
    if world.outside() != before:
        raise AssertionError(f"{command} {seed} wrote outside of the run: {said}")
    if SECRET in said or any(SECRET in text for text in _written(world.work)):
        raise AssertionError(f"{command} {seed} told what the reader alone may know: {said}")
    return said


def _written(folder: Path) -> Iterator[str]:
    for kind in ("*.json", "*.html", "*.md"):
        for file in folder.rglob(kind):
            if file.is_file() and not file.is_symlink() and file.stat().st_size < 10_000_000:
                yield file.read_text(errors="replace")


def check(world: World, command: str, number: int, seed: int = 0) -> Counter[str]:
    """Let a command at so many changed folders; return how many were refused and done.

    Raises:
        AssertionError: one wrote outside, took too long, or ended otherwise than by a message.
    """
    found: Counter[str] = Counter()
    for place in range(seed, seed + number):
        try:
            said = try_one(world, command, place)
        except Exception as error:
            raise AssertionError(f"{command} on mutation {place}: {error!r}") from error
        found["done" if said == "done" else "refused"] += 1
    return found


def main() -> None:
    """Try so many changed folders with each command."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.strangers", description=__doc__)
    parser.add_argument("--mutations", type=int, default=500, help="for each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--command", action="append")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FACEPROOF_CACHE"] = f"{folder}/cache"
        os.environ["SECRET"] = SECRET
        world = World(Path(folder).resolve())
        for command in given.command or commands(world):
            began, faults, found = time.monotonic(), 0, Counter[str]()
            for seed in range(given.seed, given.seed + given.mutations):
                try:
                    found += check(world, command, 1, seed)
                except AssertionError as error:
                    faults += 1
                    print(error, file=sys.stderr, flush=True)
            print(f"{command}: {dict(found)}, {faults} faults, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
