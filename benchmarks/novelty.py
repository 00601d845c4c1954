"""How many images of home and of other sources a run's network calls unlike its training images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from faceproof import api
from faceproof.data.datasets import label_numbers
from faceproof.data.run_tables import read_samples, recorded_data
from faceproof.errors import FaceproofError
from faceproof.evaluation.novelty import fit_novelty_point, strange_flags
from faceproof.inference.scoring import features_of, score
from faceproof.io.run_folder import RunFolder
from faceproof.models.comparing import middle_layer
from faceproof.models.detector import Detector
from faceproof.models.novelty import Novelty, fit_novelty
from faceproof.models.weights import load_network
from faceproof.task import Task
from faceproof.workflows.novelty import MAX_FITTED, Wanted

RATE = 0.05
NEIGHBOURS = 10

Values = np.ndarray
Distance = Callable[[pa.Table], Values]  # of an image table: (N,)


def measure_novelty(run: Path, others: list[str], number: int) -> list[dict[str, object]]:
    """Return a row for home, by its test images, and for each other data set.

    `others` are names of `conf/data`, or NAME=ROOT; at most `number` images of each are looked at.
    """
    folder = RunFolder(run)
    net, task = load_network(folder), recorded_data(folder).task
    if net.input.num_passes > 1:
        raise FaceproofError(f"{run} judges an image by tiles or mirror images; name another run")
    home, listed = read_samples(folder), dict(map(_listed, others))
    train, val = Wanted(_of(home, "train"), RATE).sample, _of(home, "val")
    ways = _ways(net, train, task)
    points = {name: fit_novelty_point(of(val), RATE, MAX_FITTED) for name, of in ways.items()}
    rows, usual = [], dict[str, Values]()
    for name, images in {"home": _of(home, "test"), **listed}.items():
        chosen = images.take(_spread(images.num_rows, number))
        row: dict[str, object] = {"source": name, "images": chosen.num_rows}
        row["ROC-AUC"] = _area(label_numbers(chosen, task), score(net, chosen, task))
        for way, of in ways.items():
            values = of(chosen)
            usual.setdefault(way, values)
            row[f"{way}, called"] = float(strange_flags(values, points[way]).mean())
            told = np.concatenate([usual[way], values])
            labels = np.repeat([0, 1], [len(usual[way]), len(values)])
            row[f"{way}, told from home"] = _area(labels, told)
        rows.append(row)
    return rows


def _ways(net: Detector, train: pa.Table, task: Task) -> dict[str, Distance]:
    """Return each way to measure how far the images of a table are from those of training."""
    import torch

    ways: dict[str, Distance] = {}
    codes = label_numbers(train, task)
    for name, layer in {"middle layer": middle_layer(net), "last layer": None}.items():
        novelty = fit_novelty(features_of(net, train, task, layer=layer), codes, layer=layer)

        def away(rows: pa.Table, novelty: Novelty = novelty) -> Values:
            features = features_of(net, rows, task, layer=novelty.layer)
            return novelty(torch.from_numpy(features)).double().numpy()

        ways[name] = away
    finder = NearestNeighbors(n_neighbors=NEIGHBOURS)
    finder.fit(_unit(features_of(net, train, task)))
    ways[f"{NEIGHBOURS}th neighbour in the last"] = lambda rows: finder.kneighbors(
        _unit(features_of(net, rows, task))
    )[0][:, -1]
    return ways


def _unit(features: Values) -> Values:
    return features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)


def _of(rows: pa.Table, split: str) -> pa.Table:
    import pyarrow.compute as pc

    return rows.filter(pc.equal(rows["split"].cast(pa.string()), split))


def _spread(total: int, number: int) -> Values:
    return np.linspace(0, total - 1, min(total, number)).round().astype(np.int64)


def _listed(word: str) -> tuple[str, pa.Table]:
    """Return the name and the images of a data set, given as NAME or NAME=ROOT."""
    name, _, root = word.partition("=")
    table = api.list_data(name, **({"root": root} if root else {})).table
    return (Path(root).name or name), table


def _area(labels: Values, scores: Values | None) -> float | None:
    if scores is None or len(set(labels.tolist())) < 2:
        return None
    return float(roc_auc_score(labels, scores))
