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
from faceproof.inference.scoring import features_of
from faceproof.io.run_folder import RunFolder
from faceproof.models.detector import Detector
from faceproof.models.novelty import fit_novelty
from faceproof.models.weights import load_network
from faceproof.task import Task
from faceproof.workflows.novelty import MAX_FITTED, Wanted

RATE = 0.05
NEIGHBOURS = 10

Values = np.ndarray
Distance = Callable[[Values], Values]  # of features (N, C): (N,)


def measure_novelty(run: Path, others: list[str], number: int) -> list[dict[str, object]]:
    """Return a row for home, by its test images, and for each other data set.

    `others` are names of `conf/data`, or NAME=ROOT; at most `number` images of each are looked at.
    """
    folder = RunFolder(run)
    net, task = load_network(folder), recorded_data(folder).task
    if net.input.num_passes > 1:
        raise FaceproofError(f"{run} judges an image by tiles or mirror images; name another run")
    home, listed = read_samples(folder), dict(map(_listed, others))
    train = Wanted(_of(home, "train"), RATE).sample
    features = _features(net, train, task)
    distances = _distances(features, label_numbers(train, task))
    val = _features(net, _of(home, "val"), task)
    points = {name: fit_novelty_point(of(val), RATE, MAX_FITTED) for name, of in distances.items()}
    rows = []
    usual = None
    for name, images in {"home": _of(home, "test"), **listed}.items():
        chosen = images.take(_spread(images.num_rows, number))
        values = _features(net, chosen, task)
        usual = values if usual is None else usual
        row: dict[str, object] = {"source": name, "images": chosen.num_rows}
        row["ROC-AUC"] = _area(label_numbers(chosen, task), _logits(net, values))
        for method, of in distances.items():
            row[f"{method}, called"] = float(strange_flags(of(values), points[method]).mean())
            told = np.concatenate([of(usual), of(values)])
            labels = np.repeat([0, 1], [len(usual), len(values)])
            row[f"{method}, told from home"] = _area(labels, told)
        rows.append(row)
    return rows


def _distances(features: Values, labels: Values) -> dict[str, Distance]:
    """Return each way to measure how far an image is from those of training."""
    import torch

    shrunk, single = fit_novelty(features, labels), fit_novelty(features, np.zeros_like(labels))
    unit = _unit(features)
    normed = fit_novelty(unit, labels)
    finder = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(unit)
    return {
        "Mahalanobis": lambda values: shrunk(torch.from_numpy(values)).double().numpy(),
        "one mean": lambda values: single(torch.from_numpy(values)).double().numpy(),
        "normalised": lambda values: normed(torch.from_numpy(_unit(values))).double().numpy(),
        f"{NEIGHBOURS}th neighbour": lambda values: finder.kneighbors(_unit(values))[0][:, -1],
    }


def _unit(features: Values) -> Values:
    return features / np.linalg.norm(features, axis=1, keepdims=True).clip(1e-12)


def _features(net: Detector, rows: pa.Table, task: Task) -> Values:
    return features_of(net, rows, task)


def _logits(net: Detector, features: Values) -> Values | None:
    """Return the logits of features (N, C); None of a head that takes maps."""
    import torch

    try:
        with torch.inference_mode():
            return net.classify(torch.from_numpy(features)).numpy()
    except (RuntimeError, IndexError):
        return None


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
