"""The features of images on planes, as plain data; `explain.features` computes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Plane = Literal["pca", "tsne"]

PLANES: dict[Plane, str] = {"pca": "PCA", "tsne": "t-SNE"}
TITLES = {"label": "class", "source": "source", "generator": "generator"}  # by column


@dataclass(frozen=True)
class FeatureMap:
    """N images placed on planes by the features of a backbone.

    Attributes:
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
    detector: str = ""  # a digest of what gave the features

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        return {
            "title": self.title,
            "detector": self.detector,
            "num_images": self.num_images,
            "num_features": self.num_features,
            "seed": self.seed,
            "pca_shares_of_variance": list(self.shares),
            "nearest": {
                name: {"share": share, "chance": chance}
                for name, (share, chance) in self.nearest.items()
            },
        }
