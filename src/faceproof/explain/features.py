"""Place images on a plane by the features that the backbone gives the head of a network.

A plane can show clusters where there are none, so what nearest neighbours share is measured on the
features themselves.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from faceproof.errors import FaceproofError
from faceproof.explain.features_results import PLANES, TITLES, FeatureMap, Plane, Points
from faceproof.explain.loaded_detector import BATCH, Subject, read_images
from faceproof.models.detector import Detector, pool_features

Features = NDArray[np.float32]

THUMBNAIL = 48  # pixels a side, in TensorBoard's projector
NUM_DIRECTIONS = 50  # wider features are first projected to so many principal directions
PERPLEXITY = 30.0
MIN_IMAGES = 5
ROUNDING = 1e-6  # of a feature's largest value; smaller differences do not count
NONE = "none"


@torch.inference_mode()
def backbone_features(net: Detector, images: Tensor) -> Features:
    """Return the features (B, C) of images, averaged over places where the backbone keeps places.

    Args:
        net: the network; it is put into eval mode.
        images: (B, 3, S, S) in [0, 1].

    Raises:
        FaceproofError: the backbone's output has no such shape.
    """
    net.eval()
    values = pool_features(net, net.features(images.to(net.input_mean.device)))
    return np.asarray(values.cpu().numpy(), np.float32)


def sample_features(subject: Subject, rows: pa.Table) -> tuple[Features, Tensor]:
    """Return the features (N, C) of the images of a table, and thumbnails (N, 3, s, s).

    Raises:
        FaceproofError: an image cannot be read.
    """
    features, thumbnails = [], []
    for start in range(0, rows.num_rows, BATCH):
        paths = rows["path"].slice(start, BATCH).to_pylist()
        images = torch.from_numpy(read_images(paths, subject.net.input))
        features.append(backbone_features(subject.net, images))
        thumbnails.append(nn.functional.interpolate(images, [THUMBNAIL] * 2, mode="area"))
    return np.concatenate(features), torch.cat(thumbnails)


def map_features(features: Features, rows: pa.Table, title: str, seed: int) -> FeatureMap:
    """Place the images of a table by their features (N, C) on the planes of PCA and t-SNE.

    Raises:
        FaceproofError: the features cannot be placed; see `place`.
    """
    planes = {plane: place(features, plane, seed) for plane in PLANES}
    total = float(features.var(0, dtype=np.float64).sum())
    names = differing_names(rows)
    return FeatureMap(
        title=title,
        num_images=len(features),
        num_features=features.shape[1],
        seed=seed,
        planes=planes,
        names=names,
        shares=(planes["pca"].var(0) / total).tolist(),
        nearest={TITLES[name]: neighbour_agreement(features, of) for name, of in names.items()},
    )


def narrowed(features: Features, seed: int = 0) -> Points:
    """Return features (N, C) projected to at most `NUM_DIRECTIONS` principal directions."""
    values = np.asarray(features, np.float64)
    if values.shape[1] <= NUM_DIRECTIONS:
        return values
    number = min(NUM_DIRECTIONS, len(values) - 1)
    solver = PCA(number, svd_solver="randomized", random_state=seed)
    return np.asarray(solver.fit_transform(values))


def place(features: Features, plane: Plane, seed: int = 0) -> Points:
    """Return the places of features (N, C) on a plane, (N, 2).

    Args:
        features: of the images.
        plane: `pca`, the two directions of the largest variance, or `tsne`, which keeps neighbours
            together and makes distances between clusters meaningless.
        seed: of both.

    Raises:
        FaceproofError: there are too few images, their features are all the same, or one is not
            finite.
    """
    if len(features) < MIN_IMAGES:
        raise FaceproofError(
            f"{len(features)} images are too few for a map of features; give at least {MIN_IMAGES}"
        )
    if not np.isfinite(features).all():
        raise FaceproofError(
            "the backbone gives features that are not finite; its training diverged"
        )
    floor = ROUNDING * np.abs(features).max(0) + np.finfo(float).eps
    if (np.ptp(features, axis=0) <= floor).all():
        raise FaceproofError(
            f"the backbone gives the same features for all {len(features)} images, so there is no "
            "map; its training has collapsed, or all images are the same"
        )
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    solver = (
        PCA(2, random_state=seed)
        if plane == "pca"
        else TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    )
    return np.asarray(solver.fit_transform(narrowed(features, seed)), np.float64)


def neighbour_agreement(features: Features, names: Sequence[str]) -> tuple[float, float]:
    """Return how often an image's nearest neighbour has the same name, and how often by chance."""
    values = np.asarray(names)
    finder = NearestNeighbors(n_neighbors=2).fit(narrowed(features))
    found = finder.kneighbors(return_distance=False, n_neighbors=1)[:, 0]
    _, counts = np.unique(values, return_counts=True)
    number = len(values)
    chance = float((counts * (counts - 1)).sum() / (number * (number - 1)))
    return float((values[found] == values).mean()), chance


def differing_names(rows: pa.Table) -> dict[str, list[str]]:
    """Return class, source and generator of each row, for the columns that differ between rows."""
    columns = {name: [value or NONE for value in rows[name].to_pylist()] for name in TITLES}
    return {name: values for name, values in columns.items() if len(set(values)) > 1}
