"""python -m tests.stress.hostile: many damaged and odd files, through all that reads images.

Nothing may crash; each file is either read or named with a reason; and what is said of the good
images among them must be what is said of them alone.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import torch

from faceproof.audit.audit import cached_audit
from faceproof.audit.file_statistics import gather_file_statistics
from faceproof.audit.readable import readable_rows
from faceproof.augment.transforms import Augment
from faceproof.data.datasets import ImageDataset
from faceproof.data.listing import FolderData
from faceproof.inference.files import Loading, predict_files
from faceproof.inference.inputs import list_images
from faceproof.inference.output_parts import Row, printable
from faceproof.inference.predictor import Predictor, load
from faceproof.inference.scoring import Scoring, score
from faceproof.models.backbones import face_cnn_backbone
from faceproof.models.detector import Detector, ImageInput
from faceproof.models.heads import HiddenHead
from faceproof.reports.audit_page import write_audit
from faceproof.task import TASKS
from tests.stress.hostile_files import remove_some, write_good, write_hostile

SIZE = 48
NUM_GOOD = 20  # of each class
MAX_SENT = 2**30  # bytes: a file that is a hole cannot be sent
REFUSALS = (400, 413, 415, 422)  # what the API may say of a file that it does not judge

ROUNDING = 1e-5  # of a logit: batches that hold fewer images add up in another order


def write_images(root: Path, number: int, seed: int) -> None:
    """Write good images of two classes below `alone`, and among hostile files below `among`."""
    for name in ("real", "fake"):
        write_good(root / "alone" / name, NUM_GOOD, f"{seed}{name}")
        write_good(root / "among" / name, NUM_GOOD, f"{seed}{name}")
        write_hostile(root / "among" / name, number // 2, f"{seed}{name}")


def num_files(root: Path, nameable: bool) -> int:
    """Count the files in the folders of a folder, or those among them whose names are text."""
    names = [path.name for path in root.glob("*/*") if not path.is_dir()]
    return sum(not nameable or printable(name) == name for name in names)


def check(root: Path, number: int, seed: int) -> Iterator[str]:
    """Let hostile files through audit, loading and scoring; yield what was found."""
    write_images(root, number, seed)
    answers = {}
    torch.manual_seed(0)
    how = ImageInput(SIZE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")
    net = Detector(face_cnn_backbone(SIZE), lambda features: HiddenHead(features, 8), how)
    task = TASKS["deepfake"]
    for name in ("alone", "among"):
        words = {"real": "real", "fake": "fake"}
        data = FolderData(
            name, "deepfake", str(root / name), "{label}/*", words, max_unreadable=1
        ).list()
        listed = num_files(root / name, nameable=True)  # the others are named by a warning
        gone = remove_some(root / name)
        facts = gather_file_statistics(data.table["path"], None)
        rows, bad = readable_rows(data, root / f"{name}.csv", facts)
        if not all(bad["reason"].to_pylist()):
            raise AssertionError("a file is left out without a reason")
        if rows.num_rows + bad.num_rows != listed:
            raise AssertionError(f"of {listed} files some are neither read nor named")
        if bad["reason"].to_pylist().count("the file is not there") < gone:
            raise AssertionError("a file that has vanished is not named")
        write_audit(cached_audit(data, facts), root)
        logits = score(net, rows, task, Scoring(num_workers=2))
        images = ImageDataset(rows, task, SIZE, "bilinear").__getitems__(list(range(40)))
        Augment(rotation=10)(images.image / 255, 0, 0, images.row)
        answers[name] = dict(zip(rows["path"].to_pylist(), logits.tolist(), strict=True))
        yield f"{name}: {rows.num_rows:,} read, {bad.num_rows:,} named with a reason"
    for path, logit in answers["alone"].items():
        if answers["among"][path.replace("/alone/", "/among/")] != logit:
            raise AssertionError(f"{path} is scored otherwise among hostile files")
    yield "the good images are scored alike, alone and among them"


def check_commands(root: Path, number: int, seed: int) -> Iterator[str]:
    """Let hostile files through the commands, as a user would; yield what was found."""
    images = root / "images"
    write_images(images, number, seed)
    data = ("data=real_fake_folders", f"data.root={images / 'among'}", "data.max_unreadable=1")
    train = [sys.executable, "-P", "-m", "faceproof", "train"]
    evaluate = [sys.executable, "-P", "-m", "faceproof", "evaluate"]
    tool = [sys.executable, "-m", "faceproof"]
    run, detector, out = root / "run", root / "detector", root / "verdicts.jsonl"
    _command(root, (0, 1), *tool, "audit", *data, "--out", root / "audit")
    yield "audit: a page"
    small = ("model=face_cnn", "trainer=cpu", "trainer.max_epochs=1", "loader.num_workers=2")
    leaks = "data.allow_leaks=true"  # files that are cut short at once are alike
    _command(root, (0,), *train, *data, leaks, *small, f"hydra.run.dir={run}", "logger=csv")
    with (run / "unreadable.csv").open(newline="") as file:
        named = len(list(csv.DictReader(file)))
    trained = pq.read_metadata(run / "samples.parquet").num_rows
    if trained + named != num_files(images / "among", nameable=True):
        raise AssertionError(f"{trained} files are read and {named} named, and there are others")
    yield f"training: finished, {named:,} files named"
    _command(root, (0,), *evaluate, f"run={run}", "name=evaluated")
    table = pq.read_table(run / "evaluations" / "evaluated" / "predictions.parquet")
    evaluated = dict(zip(*(table[name].to_pylist() for name in ("path", "logit")), strict=True))
    _command(root, (0,), *tool, "export", run, "--to", detector)
    _command(root, (1,), *tool, "predict", images / "among", "--detector", detector, "--out", out)
    rows = [Row(**json.loads(line)) for line in out.read_text("utf-8").split("\n") if line]
    if len(rows) != num_files(images / "among", nameable=False):
        raise AssertionError("a file has no row")
    yield f"predict: {_said(rows)}"
    predictor = load(detector)
    alone = answers(predictor, images / "alone")
    compare(alone, {row.path: row for row in rows})
    yield f"evaluation: {compare_evaluated(alone, evaluated)} good images scored as alone"
    yield "predict: the good images get the same answers, alone and among them"
    yield f"API: {check_api(predictor, images / 'among')}"


def _command(folder: Path, allowed: tuple[int, ...], *words: str | Path) -> None:
    """Run a command; one that crashes ends the check."""
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode not in allowed or "Traceback" in done.stderr:
        raise AssertionError(f"{words[1:4]} ended with {done.returncode}: {done.stderr[-3000:]}")


def answers(predictor: Predictor, folder: Path) -> dict[str, Row]:
    """Return what a detector says of the files below a folder, some of which vanish meanwhile."""
    paths = list(list_images([str(folder)]))
    remove_some(folder)
    rows = {r.path: r for some in predict_files(predictor, paths, Loading(8, 0)) for r in some}
    if rows.keys() != {printable(path) for path in paths}:
        raise AssertionError("a file has no row")
    for row in rows.values():
        if (row.verdict is None) != bool(row.error):
            raise AssertionError(f"{row.path} has neither a verdict nor a reason, or both")
    return rows


def compare(alone: dict[str, Row], among: dict[str, Row]) -> None:
    """Hold the answers on good images against those on the same among hostile files."""
    for path, row in alone.items():
        other = among[path.replace("/alone/", "/among/")]
        if abs(other.logit - row.logit) > ROUNDING or other.verdict != row.verdict:
            raise AssertionError(
                f"{path} is judged otherwise among hostile files: {other.logit} and not {row.logit}"
            )


def compare_evaluated(alone: dict[str, Row], evaluated: dict[str, float]) -> int:
    """Hold an evaluation's scores of good images against the answers on them; say how many."""
    number = 0
    for path, row in alone.items():
        logit = evaluated.get(path.replace("/alone/", "/among/"))  # None: of another split
        if logit is not None and abs(logit - row.logit) > ROUNDING:
            raise AssertionError(f"{path} is evaluated otherwise: {logit} and not {row.logit}")
        number += logit is not None
    if not number:
        raise AssertionError("no good image was evaluated")
    return number


def _said(rows: list[Row]) -> str:
    bad = sum(bool(row.error) for row in rows)
    return f"{len(rows) - bad:,} judged, {bad:,} named with a reason"


def check_api(predictor: Predictor, folder: Path) -> str:
    """Send every file to the HTTP interface; say how many it judged and how many it refused."""
    from starlette.testclient import TestClient

    from faceproof.server.access import Access
    from faceproof.server.application import make_server
    from faceproof.server.limits import Limits

    statuses: Counter[int] = Counter()
    access = Access(allowed_hosts=("testserver",))
    with TestClient(make_server(predictor, Limits(), page=False, access=access)) as client:
        for path in sorted(folder.glob("*/*")):
            if not path.is_file() or path.stat().st_size > MAX_SENT:
                continue
            sent = client.post("/api/predict", files={"file": ("x.jpg", path.read_bytes())})
            statuses[sent.status_code] += 1
            words = sent.json()
            if sent.status_code == 200:
                if path.name.startswith("good-") and words["logit"] != predictor(path).logit:
                    raise AssertionError(f"{path} is judged otherwise by the API")
            elif sent.status_code not in REFUSALS or not words["error"]:
                raise AssertionError(f"{path} is answered by {sent.status_code}: {words}")
    judged = statuses.pop(200, 0)
    return f"{judged:,} judged, {statuses.total():,} refused in words"


def main() -> None:
    """Check so many files."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress.hostile", description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FACEPROOF_CACHE"] = f"{folder}/cache"
        (Path(folder) / "commands").mkdir()
        for line in check(Path(folder) / "images", given.files, given.seed):
            print(line, flush=True)
        for line in check_commands(Path(folder) / "commands", given.files, given.seed):
            print(line, flush=True)
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, -1)) / 2**20
    minutes = (time.monotonic() - began) / 60
    print(f"{minutes:.1f} minutes, at most {most:.1f} GiB in a process")


if __name__ == "__main__":
    main()
