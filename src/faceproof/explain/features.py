"""The images of a run as the head sees them: backbone features on a plane, and for the projector.

<folder>/
  features.png    PCA and t-SNE, coloured by class, source and generator
  features.json   how often an image's nearest neighbour is of its class, source, generator
  events.*, ...   TensorBoard's projector
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from torch import Tensor, nn

from faceproof.errors import FaceproofError
from faceproof.explain.subject import BATCH, Subject, read_images
from faceproof.io.atomic import atomic_folder
from faceproof.io.folders import refuse_foreign_folder
from faceproof.io.run_folder import write_text
from faceproof.models.detector import Detector
from faceproof.reports.map_plots import INK, dress, spelled
from faceproof.reports.plots import HUES, MARKERS, WIDTH, save_png

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Features = NDArray[np.float32]
Points = NDArray[np.float64]
Plane = Literal["pca", "tsne"]

FILES = (
    *("features.json", "features.png", "events.out.tfevents.*", "projector_config.pbtxt"),
    *("*/features/metadata.tsv", "*/features/tensors.tsv", "*/features/sprite.png"),
)
PLANES: dict[Plane, str] = {"pca": "PCA", "tsne": "t-SNE"}
COLUMNS = ("label", "source", "generator")
TITLES = {"label": "class", "source": "source", "generator": "generator"}
NUM_DIRECTIONS = 50  # wider features are first brought to these principal directions
PERPLEXITY = 30.0
THUMBNAIL = 48  # pixels, in the projector
MIN_IMAGES = 5
ROUNDING = 1e-6  # of a feature's largest value; what differs by less does not differ
MAX_VALUES = len(HUES) - 1  # what is rarer shares the last colour
NONE = "none"


@torch.inference_mode()
def backbone_features(net: Detector, images: Tensor) -> Features:
    """Return what the backbone makes of images, averaged over places where it keeps them.

    Args:
        net: the network; it is put into eval mode.
        images: (B, 3, S, S) in [0, 1].

    Returns:
        (B, C).

    Raises:
        FaceproofError: the backbone's output has no such shape.
    """
    net.eval()
    normed = (images.to(net.input_mean.device) - net.input_mean) / net.input_std
    values = net.backbone(normed).float()
    if values.ndim == 4:
        last = str(getattr(net.backbone, "output_fmt", "NCHW")).upper().endswith("NHWC")
        values = values.mean((1, 2) if last else (2, 3))
    elif values.ndim == 3:
        values = values.mean(1)
    if values.ndim != 2:
        raise FaceproofError(
            f"the backbone's output has the shape {tuple(values.shape)}; features are (B, C), "
            "(B, N, C) or (B, C, h, w)"
        )
    return np.asarray(values.cpu().numpy(), np.float32)


def narrowed(features: Features, seed: int = 0) -> Points:
    """Return features (N, C) in at most `NUM_DIRECTIONS` principal directions."""
    values = np.asarray(features, np.float64)
    if values.shape[1] <= NUM_DIRECTIONS:
        return values
    number = min(NUM_DIRECTIONS, len(values) - 1)
    solver = PCA(number, svd_solver="randomized", random_state=seed)
    return np.asarray(solver.fit_transform(values))


def place(features: Features, plane: Plane, seed: int = 0) -> Points:
    """Put features (N, C) on a plane, (N, 2).

    Args:
        features: of the images.
        plane: `pca`, the two directions in which they differ most, or `tsne`, which keeps
            neighbours together and distances between clusters meaningless.
        seed: of both.

    Raises:
        FaceproofError: there are too few images, their features are all the same, or one is not
            finite.
    """
    if len(features) < MIN_IMAGES:
        raise FaceproofError(
            f"{len(features)} images make no map of features; {MIN_IMAGES} at least do"
        )
    if not np.isfinite(features).all():
        raise FaceproofError(
            "the backbone gives features that are not finite; its training diverged"
        )
    floor = ROUNDING * np.abs(features).max(0) + np.finfo(float).eps
    if (np.ptp(features, axis=0) <= floor).all():
        raise FaceproofError(
            f"the backbone gives the same features for all {len(features)} images, which make no "
            "map; its training has died, or it was given one image again and again"
        )
    if plane == "pca":
        points = PCA(2, random_state=seed).fit_transform(narrowed(features, seed))
        return np.asarray(points, np.float64)
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    solver = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    return np.asarray(solver.fit_transform(narrowed(features, seed)), np.float64)


def neighbour_agreement(features: Features, words: Sequence[str]) -> tuple[float, float]:
    """Return how often an image's nearest other one has the same word, and how often by chance.

    A plane shows clusters where there are none; this is measured among the features themselves.
    """
    values = np.asarray(words)
    finder = NearestNeighbors(n_neighbors=2).fit(narrowed(features))
    found = finder.kneighbors(return_distance=False, n_neighbors=1)[:, 0]
    _, counts = np.unique(values, return_counts=True)
    number = len(values)
    chance = float((counts * (counts - 1)).sum() / (number * (number - 1)))
    return float((values[found] == values).mean()), chance


def words_of(rows: pa.Table) -> dict[str, list[str]]:
    """Return class, source and generator of each row, as far as they differ between rows."""
    found = {}
    for column in COLUMNS:
        words = [value or NONE for value in rows[column].to_pylist()]
        if len(set(words)) > 1:
            found[column] = words
    return found


def features_plot(
    planes: Mapping[Plane, Points],
    words: Mapping[str, Sequence[str]],
    title: str,
    first: Sequence[str] = (),
    shares: Sequence[float] = (),
) -> Figure:
    """Draw the planes below one another, coloured by each column of words beside one another.

    Args:
        planes: (N, 2) by kind.
        words: of each image, by column; see `words_of`. Without any, one grey column.
        title: heads the figure.
        first: words that take the first colours, in this order; the others follow by frequency.
        shares: of the features' variance, that lie along the two directions of PCA, if known.
    """
    columns = dict(words) or {"image": ["image"] * len(next(iter(planes.values())))}
    size = (0.8 * WIDTH * len(columns), 0.85 * WIDTH * len(planes) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(planes), len(columns), squeeze=False)
    for row, (plane, points) in enumerate(planes.items()):
        for column, (name, values) in enumerate(columns.items()):
            _scatter(grid[row, column], points, values, first)
            heading = f"{PLANES[plane]}, by {TITLES.get(name, name)}"
            dress(grid[row, column], heading, *_axis_names(plane, shares))
            grid[row, column].set(xticklabels=[], yticklabels=[])
            _legend_below(grid[row, column])
    figure.suptitle(spelled(title), color=INK, fontsize=11, x=0.01, ha="left")
    return figure


def _axis_names(plane: Plane, shares: Sequence[float]) -> tuple[str, str]:
    """Return what lies along both axes; those of t-SNE mean nothing."""
    if plane == "tsne":
        return "", ""
    known = [f" ({share:.0%} of the variance)" for share in shares] or ["", ""]
    return f"direction 1{known[0]}", f"direction 2{known[1]}"


def _legend_below(axes: Axes) -> None:
    """Put the legend under the drawing and its label, where no image lies."""
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, -0.07 if axes.get_xlabel() else 0),
        ncols=2,
        fontsize=9,
        frameon=False,
        labelcolor=INK,
    )


def _scatter(axes: Axes, points: Points, words: Sequence[str], first: Sequence[str]) -> None:
    """Draw a colour and a shape for each word."""
    values = np.asarray(words)
    counts = Counter(words)
    rank = {word: place for place, word in enumerate(first)}
    order = sorted(counts, key=lambda word: (rank.get(word, len(rank)), -counts[word], word))
    shown = order if len(order) <= len(HUES) else order[:MAX_VALUES]
    for number, name in enumerate(shown):
        label = f"{spelled(name)} ({(values == name).sum():,})"
        _dots(axes, points[values == name], number, label)
    rest = ~np.isin(values, shown)
    if rest.any():
        label = f"{len(order) - len(shown)} others ({rest.sum():,})"
        _dots(axes, points[rest], MAX_VALUES, label)


def _dots(axes: Axes, points: Points, number: int, label: str) -> None:
    axes.plot(
        points[:, 0], points[:, 1], linestyle="", marker=MARKERS[number], markersize=3.5,
        markeredgewidth=0, alpha=0.75, color=HUES[number], label=label,
    )  # fmt: skip


def log_projector(
    writer: "SummaryWriter",
    features: Features,
    rows: pa.Table,
    thumbnails: Tensor,
    tag: str = "features",
    seed: int = 0,
) -> None:
    """Add features to TensorBoard's projector, with images, class, source and generator.

    Features wider than `NUM_DIRECTIONS` are narrowed: the projector reads them as text.

    Args:
        writer: where the event file is; the projector's files go beside it.
        features: (N, C).
        rows: the N rows of the image table.
        thumbnails: (N, 3, s, s) in [0, 1].
        tag: the name in the projector.
        seed: of the narrowing.
    """
    header = [TITLES[column] for column in COLUMNS]
    told = [[value or NONE for value in rows[column].to_pylist()] for column in COLUMNS]
    files = [Path(path).name for path in rows["path"].to_pylist()]
    # A tab or line feed in a name would be taken for the next column or image.
    metadata = [
        [" ".join(word.split()) or NONE for word in line] for line in zip(*told, files, strict=True)
    ]
    writer.add_embedding(
        torch.from_numpy(narrowed(features, seed)).float(),
        metadata=metadata,
        label_img=thumbnails,
        tag=tag,
        metadata_header=[*header, "file"],
    )
    writer.flush()


def sample_features(subject: Subject, rows: pa.Table) -> tuple[Features, Tensor]:
    """Return the features of a table's images, one at least, (N, C), and thumbnails (N, 3, s, s).

    Raises:
        FaceproofError: an image cannot be read.
    """
    features, thumbnails = [], []
    for start in range(0, rows.num_rows, BATCH):
        paths = rows["path"].slice(start, BATCH).to_pylist()
        images = torch.from_numpy(read_images(paths, subject.net.input))
        features.append(backbone_features(subject.net, images))
        size = [THUMBNAIL, THUMBNAIL]
        thumbnails.append(nn.functional.interpolate(images, size, mode="area"))
    return np.concatenate(features), torch.cat(thumbnails)


def write_features(
    folder: Path,
    title: str,
    features: Features,
    rows: pa.Table,
    thumbnails: Tensor,
    classes: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Write figure, numbers and projector; what an earlier call has written is replaced whole.

    Returns:
        What `features.json` holds.

    Raises:
        FaceproofError: the folder holds something else, or the disk is full or cannot be written
            to; what was there still stands.
    """
    from torch.utils.tensorboard import SummaryWriter

    refuse_foreign_folder(folder, FILES)
    words = words_of(rows)
    planes: dict[Plane, Points] = {plane: place(features, plane, seed) for plane in PLANES}
    total = float(features.var(0, dtype=np.float64).sum())
    shares = (planes["pca"].var(0) / total).tolist()
    nearest = {}
    for name, values in words.items():
        share, chance = neighbour_agreement(features, values)
        nearest[TITLES[name]] = {"share": share, "chance": chance}
    found = {
        "title": title,
        "num_images": len(features),
        "num_features": features.shape[1],
        "seed": seed,
        "pca_shares_of_variance": shares,
        "nearest": nearest,
    }
    figure = features_plot(planes, words, title, classes, shares)
    with atomic_folder(folder) as partial:
        save_png(figure, partial / "features.png")
        with SummaryWriter(partial) as writer:
            log_projector(writer, features, rows, thumbnails, seed=seed)
        write_text(partial / "features.json", json.dumps(found, indent=2, allow_nan=False) + "\n")
    return found
