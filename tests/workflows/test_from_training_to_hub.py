"""The whole way: train, evaluate, export, push, and load by three lines where only those are."""

import json
import os
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
from huggingface_hub import ModelCard

import faceproof
from faceproof.cli.main import main
from tests.jobs import REPOSITORY, evaluate, train
from tests.small_hub import small_hub, use_hub

NAME = "somebody/recommended"
# The recipe itself, on few images and through a small network.
SMALL = (
    "experiments=recommended", "data=demo", "data.num_per_class=24", "trainer=smoke",
    "model.backbone.model=test_efficientnet", "model.weights=none", "model.input.size=64",
    "loader.batch_size=8", "loader.num_workers=0", "logger=csv",
)  # fmt: skip
THREE_LINES = """
import faceproof
detector = faceproof.load("hf://somebody/recommended")
print(detector({image!r}).probability)
"""


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setenv("FACEPROOF_CACHE", str(tmp_path / "cache"))
    with small_hub() as found:
        use_hub(monkeypatch, found.address)
        yield found


def test_the_recommended_recipe_goes_to_the_hub_and_answers_from_there(hub, tmp_path, capsys):
    run = train(tmp_path / "run", *SMALL, f"data.root={tmp_path}/demo")
    record = json.loads(run.record.read_text())
    assert record["status"] == "finished"
    evaluate(run.path)
    folder = tmp_path / "detector"
    assert main(["export", str(run.path), "--to", str(folder)]) == 0
    assert main(["push", str(folder), f"hf://{NAME}", "--license", "cc-by-nc-4.0"]) == 0
    capsys.readouterr()

    page = ModelCard(hub.files(NAME)["README.md"].decode())
    assert page.data.license == "cc-by-nc-4.0"
    measured = {one.metric_type: one for one in page.data.eval_results}
    low, high = measured["roc_auc"].metric_args["interval_95"]
    assert low <= measured["roc_auc"].metric_value <= high

    image = pq.read_table(run.samples)["path"][0].as_py()
    code = THREE_LINES.format(image=image)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {
        **os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HOME": str(elsewhere),
        "FACEPROOF_CACHE": str(elsewhere / "cache"), "PYTHONPATH": str(REPOSITORY / "src"),
    }  # fmt: skip
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=elsewhere, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert float(found.stdout) == faceproof.load(folder)(image).probability
