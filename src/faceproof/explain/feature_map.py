"""Place images on a plane by their features, and measure what their nearest neighbours share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from faceproof.errors import FaceproofError

Features = NDArray[np.float32]
Points = NDArray[np.float64]
Plane = Literal["pca", "tsne"]

PLANES: dict[Plane, str] = {"pca": "PCA", "tsne": "t-SNE"}
TITLES = {"label": "class", "source": "source", "generator": "generator"}  # by column
NUM_DIRECTIONS = 50  # wider features are first projected to so many principal directions
PERPLEXITY = 30.0
MIN_IMAGES = 5
ROUNDING = 1e-6  # of a feature's largest value; smaller differences do not count
NONE = "none"


@dataclass(frozen=True)
class FeatureMap:
    """Images placed on planes by their features.

    Attributes:
        title: heads the plot.
        num_images: N.
        num_features: of the backbone.
        seed: of the projections.
        planes: (N, 2) by kind.
        names: of each image, by column; columns in which all images agree are left out.
        shares: of the features' variance along the two directions of PCA.
        nearest: by title of the column, how often the nearest neighbour has the same name, and how
            often it has by chance.
    """

    title: str
    num_images: int
    num_features: int
    seed: int
    planes: Mapping[Plane, Points]
    names: Mapping[str, Sequence[str]]
    shares: Sequence[float]
    nearest: Mapping[str, tuple[float, float]]

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        return {
            "title": self.title,
            "num_images": self.num_images,
            "num_features": self.num_features,
            "seed": self.seed,
            "pca_shares_of_variance": list(self.shares),
            "nearest": {
                name: {"share": share, "chance": chance}
                for name, (share, chance) in self.nearest.items()
            },
        }


def map_features(features: Features, rows: pa.Table, title: str, seed: int) -> FeatureMap:
    """Place images on the planes of PCA and t-SNE.

    Args:
        features: (N, C).
        rows: the N rows of the image table.
        title: heads the plot.
        seed: of the projections.

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
        nearest={
            TITLES[name]: neighbour_agreement(features, values) for name, values in names.items()
        },
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
    if plane == "pca":
        points = PCA(2, random_state=seed).fit_transform(narrowed(features, seed))
        return np.asarray(points, np.float64)
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    solver = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    return np.asarray(solver.fit_transform(narrowed(features, seed)), np.float64)


def neighbour_agreement(features: Features, names: Sequence[str]) -> tuple[float, float]:
    """Return how often an image's nearest neighbour has the same name, and how often by chance.

    A plane can show clusters where there are none; this is measured on the features themselves.
    """
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
