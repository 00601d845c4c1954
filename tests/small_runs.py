"""Run folders as train.py leaves them, with random weights, made at once."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml

from faceproof.data.image_io import read_image
from faceproof.data.model_input import fit_image
from faceproof.data.table import table_from_columns, write_table
from faceproof.evaluation.calibration import Calibration
from faceproof.evaluation.operating_point import OperatingPoint
from faceproof.evaluation.predictions import predictions_table, write_predictions
from faceproof.io.run_folder import RunFolder
from faceproof.models.build import build_network
from faceproof.task import get_task
from faceproof.workflows.ensemble import FORMAT
from faceproof.workflows.export import export_run
from tests.conftest import write_images

POINT = OperatingPoint(Calibration("temperature", 0.5), 0.5, "youden", None, 4, 4)


def description(size=16, num_hidden=8):
    return {
        "backbone": {"name": "face_cnn"},
        "head": {"name": "hidden", "num_hidden": num_hidden, "num_outputs": 2},
        "input": {"size": size, "mean": [0.4] * 3, "std": [0.1] * 3, "interpolation": "bilinear"},
    }


def write_tiny(root: Path, task):
    """Write sixteen images and return their columns of an image table."""
    columns = {"path": [], "label": [], "split": []}
    for seed, split in enumerate(("train", "val")):
        for label in get_task(task).classes:
            place, names = root / "tiny" / split / label, [f"{n}.jpg" for n in range(4)]
            for path in write_images(place, names, seed=seed, face=label in ("face", "fake")):
                columns["path"].append(str(path))
                columns["label"].append(label)
                columns["split"].append(split)
    return columns


def write_network(folder: Path, task="deepfake", seed=0, size=16, gain=1.0, backbone=None):
    """Write what a run keeps of its network."""
    folder.mkdir(parents=True)
    network = description(size)
    network["backbone"] = backbone or network["backbone"]
    config = {"model": {"name": "face_cnn", **network}, "data": {"task": task}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    torch.manual_seed(seed)
    net = build_network(network)
    files = sorted(write_tiny(folder.parent, task)["path"])
    images = torch.stack([fit_image(read_image(p), size, "bilinear") for p in files]) / 255
    with torch.no_grad():  # so that images get answers that differ
        net.head.logit.linear.weight.mul_(gain)
        net.head.logit.linear.bias.zero_()
        net.head.logit.linear.bias[0] = net.eval()(images).median() + 0.01
    state = {f"net.{key}": value for key, value in net.state_dict().items()}
    torch.save({"state_dict": state}, folder / "best.ckpt")
    record = {"model": "face_cnn", "data": "tiny", "weights": f"random {seed}", "versions": {}}
    (folder / "record.json").write_text(json.dumps(record))
    return folder


def write_run(folder: Path, task="deepfake", seed=0, size=16, point=POINT, gain=1.0):
    """Write a run of eight validation images."""
    write_network(folder, task, seed, size, gain)
    return finish_run(folder, task, point)


def write_artifact(folder: Path) -> Path:
    """Export a run whose scores are far apart, and return the artifact."""
    export_run(write_run(folder / "run", gain=40.0), folder / "artifact")
    return folder / "artifact"


def finish_run(folder: Path, task="deepfake", point=POINT):
    """Write what a run keeps beside its network, or networks."""
    RunFolder(folder).write_operating_point(point.to_json())
    columns = write_tiny(folder.parent, task)
    write_table(table_from_columns(columns), folder / "samples.parquet")
    digests = [hashlib.md5(Path(p).read_bytes()).digest() for p in columns["path"]]
    seen = {"path": columns["path"], "content": pa.array(digests, pa.binary(16))}
    pq.write_table(pa.table(seen), folder / "seen.parquet")
    return folder


def write_ensemble(folder: Path, average="probability", sizes=(16, 20), task="deepfake"):
    """Write a run that is an ensemble of two."""
    members = []
    for seed, size in enumerate(sizes):
        write_network(folder / "members" / f"m{seed}", task, seed, size, gain=20.0)
        calibration = Calibration("temperature", 0.5 + seed).to_json()
        member = {"name": f"m{seed}", "folder": f"members/m{seed}", "weight": (1 + seed) / 3}
        members.append({**member, "calibration": calibration})
    notes = {"format": FORMAT, "average": average, "members": members}
    (folder / "ensemble.json").write_text(json.dumps(notes))
    record = {"model": "ensemble of two", "data": "tiny"}
    (folder / "record.json").write_text(json.dumps(record))
    return finish_run(folder, task)


def no_predictions() -> pa.Table:
    return predictions_table(table_from_columns({"path": []}), np.zeros(0), np.zeros(0))


def write_evaluation(run: RunFolder, name: str, predictions: pa.Table, report=None):
    """Write an evaluation of the weights that a run holds now, and return its folder."""
    folder = run.evaluations / name
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(predictions, folder / "predictions.parquet")
    digest = hashlib.sha256((folder / "predictions.parquet").read_bytes()).hexdigest()
    origin = {"detector": run.detector_digest, "predictions": digest}
    (folder / "report.json").write_text(json.dumps(origin | dict(report or {})))
    return folder


def images_of(run: Path) -> list[str]:
    return pq.read_table(run / "samples.parquet")["path"].to_pylist()


def change_card(folder: Path, change):
    """Change a card as a stranger would."""
    file = folder / "card.json"
    card = json.loads(file.read_text())
    change(card)
    file.write_text(json.dumps(card))


def network_of(card):
    """Return the first network's entry in a card of plain values."""
    return card["detector"]["networks"][0]


def change_weights(folder: Path, change, name="model.safetensors"):
    """Change the weights, and the checksum with them."""
    import safetensors.torch

    file = folder / name
    state = change(safetensors.torch.load(file.read_bytes()))
    replace_weights(folder, safetensors.torch.save(state), name)


def replace_weights(folder: Path, data: bytes, name="model.safetensors"):
    (folder / name).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    change_card(folder, lambda card: network_of(card)["weights"].update(sha256=digest))
