"""A small run of the demonstration set, as train.py and evaluate.py leave it, without training."""

from pathlib import Path

import numpy as np
import torch
import yaml

from faceproof.audit.file_statistics import file_statistics_of
from faceproof.data.demo.make import make_demo
from faceproof.data.table import table_from_columns, write_table
from faceproof.evaluation.operating_point import DEFAULT
from faceproof.evaluation.predictions import predictions_table, sigmoid
from faceproof.inference.scoring import Scoring, score
from faceproof.io.run_folder import RunFolder
from faceproof.models.build import build_network
from faceproof.task import get_task
from tests.small_runs import write_evaluation

TASK = get_task("deepfake")
SIZE = 32
NETWORK = {
    "backbone": {"name": "face_cnn"},
    "head": {"name": "hidden", "num_hidden": 8},
    "input": {"size": SIZE, "mean": [0, 0, 0], "std": [1, 1, 1], "interpolation": "bilinear"},
}


def make_explained_run(folder: Path) -> RunFolder:
    folder.mkdir(parents=True)
    make_demo(folder.parent / "demo", TASK, num_per_class=12)
    images = sorted((folder.parent / "demo" / "pictures").glob("*/*/*.jpg"))
    rows = table_from_columns(
        {
            "path": [str(path) for path in images],
            "label": [path.parts[-3] for path in images],
            "generator": [path.parts[-2] for path in images],
            "source": ["demo"] * len(images),
            "split": ["val"] * len(images),
        }
    )
    made = RunFolder(folder)
    write_table(rows, made.samples)
    write_table(file_statistics_of(rows).select(["path", "content"]), made.seen)
    torch.manual_seed(0)
    net = build_network(NETWORK)
    with torch.no_grad():  # so that both classes are called
        net.head.logit.linear.weight *= 50
        logits = score(net, rows, TASK, Scoring(num_workers=0))
        net.head.logit.linear.bias -= float(np.median(logits))
    torch.save({"state_dict": {f"net.{k}": v for k, v in net.state_dict().items()}}, made.best)
    config = {"model": {"name": "face_cnn", **NETWORK}, "data": {"task": "deepfake"}}
    made.config.write_text(yaml.safe_dump(config))
    made.write_operating_point(DEFAULT.to_json())
    made.update_record(data="demo")
    logits = score(net, rows, TASK, Scoring(num_workers=0))
    table = predictions_table(rows, logits, sigmoid(logits))
    report = {"data": "demo", "split": "test", "threshold": 0.5, "intervals": {"metrics": {}}}
    write_evaluation(made, "demo-test", table, report | {"metrics": {"num_images": len(table)}})
    return made
