"""How unlike the training images an image is, by the features of a layer of the detector.

The distance is Mahalanobis's to the nearest class of the training images, under one covariance of
both classes (Lee et al. 2018, "A Simple Unified Framework for Detecting Out-of-Distribution Samples
and Adversarial Attacks"), shrunk after Ledoit and Wolf (2004, "A Well-Conditioned Estimator for
Large-Dimensional Covariance Matrices"). Of the covariance only the leading directions are stored;
in the others it is taken for a sphere (Moghaddam and Pentland 1997). The square root of the
distance is divided by its median over validation: 1 is an image as usual there.
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from faceproof.errors import FaceproofError
from faceproof.models.comparing import features_to_compare, gives_features, stages
from faceproof.models.detector import Detector

MAX_DIRECTIONS = 128  # of the covariance; a file of 2,048 features takes 1 MB then
MIN_IMAGES = 10  # of training, to fit a covariance to at all
FLOOR = 1e-6  # of the largest variance; smaller ones are raised to it
MAX_CLASSES = 2
LAYER = "layer"  # in a file: the name of the layer as bytes of UTF-8; absent for the last
MAX_HEADER = 100_000  # bytes of a file beside its numbers

Features = NDArray[np.float32]


class Novelty(nn.Module):
    """Turns features (B, C) into distances from the training images, (B,).

    Args:
        means: (M, C), the mean features of each class of training.
        directions: (C, K), orthonormal.
        inverses: (K,), one over the variance in each direction.
        inverse_of_rest: (), one over the variance in every other direction.
        scale: (), the distance that counts as 1.
        layer: the stage of the backbone whose features these are, averaged over places; None for
            the features that the head is given.
    """

    means: Tensor
    directions: Tensor
    inverses: Tensor
    inverse_of_rest: Tensor
    scale: Tensor

    def __init__(
        self,
        means: Tensor,
        directions: Tensor,
        inverses: Tensor,
        inverse_of_rest: Tensor,
        scale: Tensor,
        layer: str | None = None,
    ) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("means", means)
        self.register_buffer("directions", directions)
        self.register_buffer("inverses", inverses)
        self.register_buffer("inverse_of_rest", inverse_of_rest)
        self.register_buffer("scale", scale)

    def forward(self, features: Tensor) -> Tensor:
        """Return the distance, (B,) float32 from 0 on, to the nearest class; features (B, C)."""
        away = features.float()[:, None] - self.means  # (B, M, C)
        along = away @ self.directions
        rest = away - along @ self.directions.T
        squares = (along.square() * self.inverses).sum(-1)
        squares = squares + rest.square().sum(-1) * self.inverse_of_rest
        return squares.amin(1).sqrt() / self.scale

    def scaled(self, distance: float) -> "Novelty":
        """Return the same with another distance that counts as 1."""
        state = {name: value.clone() for name, value in self.named_buffers()}
        state["scale"] = torch.tensor(distance, dtype=torch.float32)
        return Novelty(**state, layer=self.layer)


class DetectorWithNovelty(nn.Module):
    """A detector that says of each image how unlike the training images it is."""

    def __init__(self, net: Detector, novelty: Novelty) -> None:
        super().__init__()
        self.input = net.input
        self.net, self.novelty = net, novelty

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and novelties, (B,) float32 each, of (B, 3, S, S) images in [0, 1]."""
        features, compared = features_to_compare(self.net, images, self.novelty.layer)
        return self.net.classify(features), self.novelty(compared)


class FeatureNetwork(nn.Module):
    """A detector that gives the features by which images are compared, of a layer or the last."""

    def __init__(self, net: Detector, layer: str | None = None) -> None:
        super().__init__()
        self.input, self.net, self.layer = net.input, net, layer

    def forward(self, images: Tensor) -> Tensor:
        """Return the features, (B, C) float32, of (B, 3, S, S) images in [0, 1]."""
        return features_to_compare(self.net, images, self.layer)[1]


@dataclass(frozen=True)
class Spread:
    """A covariance in its leading directions, (C, K) with variances (K,), and elsewhere."""

    directions: NDArray[np.float64]
    variances: NDArray[np.float64]
    variance_of_rest: float


def fit_novelty(
    features: Features,
    labels: NDArray[np.int64],
    num_directions: int = MAX_DIRECTIONS,
    layer: str | None = None,
) -> Novelty:
    """Fit the distance to training images: features (N, C), and their classes as numbers, (N,).

    `layer` is what the features are of, as in `Novelty`.

    Raises:
        FaceproofError: the images are too few, a feature is not finite, or all images have the
            same features.
    """
    if len(features) < MIN_IMAGES:
        raise FaceproofError(
            f"{len(features)} training images are too few to tell what is unlike them; it takes "
            f"{MIN_IMAGES}"
        )
    if not np.isfinite(features).all():
        raise FaceproofError("the backbone gives features that are not finite")
    values = np.asarray(features, np.float64)
    classes, codes = np.unique(labels, return_inverse=True)
    means = np.stack([values[codes == code].mean(0) for code in range(len(classes))])
    spread = fit_spread(values - means[codes], num_directions)
    rest = spread.variance_of_rest
    numbers = {
        "means": means,
        "directions": spread.directions,
        "inverses": 1 / spread.variances,
        "inverse_of_rest": 1 / rest if rest else 0.0,
        "scale": 1.0,
    }
    return Novelty(
        **{name: torch.from_numpy(np.asarray(one, np.float32)) for name, one in numbers.items()},
        layer=layer,
    )


def fit_spread(centred: NDArray[np.float64], num_directions: int) -> Spread:
    """Return the shrunk covariance of centred features, (N, C).

    Raises:
        FaceproofError: all of them are 0.
    """
    # Not above: they take a second to import.
    import scipy.linalg
    from sklearn.covariance import ledoit_wolf_shrinkage

    num_images, num_features = centred.shape
    mean_variance = float(np.square(centred).sum()) / (num_images * num_features)
    if mean_variance <= 0:
        raise FaceproofError("the backbone gives the same features for all training images")
    wide = num_features > num_images  # then the images' products are fewer than the features'
    products = centred @ centred.T if wide else centred.T @ centred
    number = min(num_directions, *centred.shape)
    leading = len(products) - number, len(products) - 1
    sizes, vectors = scipy.linalg.eigh(products / num_images, subset_by_index=leading)
    kept = sizes > FLOOR * sizes[-1]  # the others are of rounding
    sizes, vectors = sizes[kept], vectors[:, kept]
    directions = centred.T @ vectors / np.sqrt(sizes * num_images) if wide else vectors
    num_rest = num_features - len(sizes)
    rest = max(num_features * mean_variance - float(sizes.sum()), 0.0) / max(num_rest, 1)
    shrinkage = float(ledoit_wolf_shrinkage(centred, assume_centered=True))
    shrunk = (1 - shrinkage) * np.append(sizes, rest) + shrinkage * mean_variance
    shrunk = np.maximum(shrunk, FLOOR * shrunk.max())
    return Spread(directions, shrunk[:-1], float(shrunk[-1]) if num_rest else 0.0)


def save_novelty(novelty: Novelty) -> bytes:
    """Return a fitted distance as the bytes of a safetensors file."""
    tensors = {name: value.cpu().contiguous() for name, value in novelty.named_buffers()}
    if novelty.layer is not None:
        tensors[LAYER] = torch.tensor(list(novelty.layer.encode()), dtype=torch.uint8)
    return safetensors.torch.save(tensors)


def max_bytes(net: Detector) -> int:
    """Return the most bytes that the file of a network's distance can have."""
    num_features = max(net.num_features, *stages(net.backbone).values(), 1)
    numbers = num_features * (MAX_CLASSES + MAX_DIRECTIONS) + MAX_DIRECTIONS + 2
    return 4 * numbers + MAX_HEADER


def read_novelty(path: Path, data: bytes, net: Detector) -> Novelty:
    """Make a distance of the bytes of its file, which a stranger may have written.

    `net` is the network whose features are compared; `path` is for messages.

    Raises:
        FaceproofError: the file is damaged, or of another network.
    """
    try:
        state = safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise FaceproofError(f"{path} is no whole safetensors file: {error}") from error
    layer = _layer_of(state.pop(LAYER, None), path, net)
    num_features = net.num_features if layer is None else stages(net.backbone)[layer]
    directions, means = (state.get(name) for name in ("directions", "means"))
    num_directions = 0 if directions is None else directions.shape[-1:].numel()
    num_classes = 0 if means is None else means.shape[:1].numel()
    wanted = {
        "means": (num_classes, num_features),
        "directions": (num_features, num_directions),
        "inverses": (num_directions,),
        "inverse_of_rest": (),
        "scale": (),
    }
    found = {name: tuple(value.shape) for name, value in state.items()}
    sizes = 1 <= num_classes <= MAX_CLASSES and 1 <= num_directions <= MAX_DIRECTIONS
    if found != wanted or not sizes:
        raise FaceproofError(
            f"{path} is not what tells how unlike its training images an image is, of a network "
            f"with {num_features:,} features: it holds {found}"
        )
    for name, value in state.items():
        if value.dtype != torch.float32 or not value.isfinite().all():
            raise FaceproofError(f"{path}: {name} holds what is no finite float32 number")
    positive = (
        state["scale"] > 0 and (state["inverses"] > 0).all() and state["inverse_of_rest"] >= 0
    )
    if not positive:
        raise FaceproofError(f"{path} holds variances or a scale that are not positive")
    return Novelty(**state, layer=layer)


def _layer_of(name: Tensor | None, path: Path, net: Detector) -> str | None:
    """Return the layer that a file names, None where it names none.

    Raises:
        FaceproofError: the network has no such layer.
    """
    if name is None:
        return None
    found = bytes(name.flatten().to(torch.uint8).tolist()).decode(errors="replace")
    if not gives_features(net, found):
        known = ", ".join(stages(net.backbone)) or "none that is named"
        raise FaceproofError(
            f"{path} compares images by the layer {found[:80]!r}, which this network does not "
            f"have; it has {known}"
        )
    return found


def median_distance(distances: NDArray[np.float64]) -> float:
    """Return the distance of a usual image, by which others are divided; 1 where all are 0."""
    middle = float(np.median(distances))
    return middle if middle > 0 and math.isfinite(middle) else 1.0
