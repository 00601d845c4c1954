"""`trainer=ddp` by the command: two processes, one run folder."""

import json
import os
import subprocess
import sys

import pytest

from faceproof.run import is_first_process, read_epochs
from jobs import REPOSITORY


def test_two_processes_leave_one_run(small_faces, tmp_path):
    words = (
        "data=face_or_not", f"data.root={small_faces}", "model=face_cnn", "model.input.size=16",
        "logger=csv", "loader.num_workers=0", "loader.batch_size=4", "hydra.run.dir=run",
        "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.max_epochs=2",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "train.py"), *words],
        cwd=tmp_path, env=os.environ | {"TMPDIR": str(tmp_path)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["status"] == "finished"
    assert record["device"].startswith("2 x CPU")
    assert [row["epoch"] for row in read_epochs(tmp_path / "run" / "metrics.csv")] == [0, 1]
    assert (tmp_path / "run" / "operating_point.json").is_file()
    assert not list(tmp_path.glob("faceproof-*"))


@pytest.mark.parametrize(
    ("ranks", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "SLURM_PROCID": "4"}, False),
    ],
)
def test_the_first_process_is_told_by_its_ranks(monkeypatch, ranks, first):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, rank in ranks.items():
        monkeypatch.setenv(name, rank)
    assert is_first_process() is first
