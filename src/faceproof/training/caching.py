"""What need not be computed again in every epoch: decoded images, and a frozen backbone's features.

Both are stored by what they depend on, the content of the images first, so that another run of
the same images finds them. Kept features are what the backbone would give at that moment: the same
input, the same precision, the frozen backbone in eval mode.
"""

import hashlib
import logging
import math
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
import torchvision
from PIL import __version__ as pillow_version
from rich.progress import track
from torch import Tensor, nn

from faceproof.audit.file_statistics import file_statistics_of
from faceproof.augment.transforms import Augment
from faceproof.data.datasets import CachedImages, ImageDataset, ImageGoneError
from faceproof.data.loaders import make_loader
from faceproof.data.model_input import to_unit
from faceproof.errors import FaceproofError
from faceproof.io.cache import Wanted, keep, key_of
from faceproof.models.detector import Detector
from faceproof.performance.memory import available_bytes

FORMAT = "1"  # raised with every change to what is kept
WHERE = ("none", "memory", "disk")
NUM_CHECKED = 4  # rows that are computed again before what was kept is believed
CLOSE = 0.02  # of their spread, for features; bfloat16 and other batch sizes round differently

Array = npt.NDArray[Any]
Images = ImageDataset | CachedImages

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CacheSettings:
    """What is kept.

    Args:
        images: decoded and resized images: none, in memory for this run, or on disk.
        features: a frozen backbone's features, where nothing random stands before it: auto or none.
        views: with random augmentation, train on so many kept views of each image instead of a
            fresh one in every epoch; None for fresh ones, and then nothing is kept.
        max_gb: what either kind may take, in memory or on disk.

    Raises:
        FaceproofError: one of them makes no sense.
    """

    images: str = "none"
    features: str = "auto"
    views: int | None = None
    max_gb: float = 20.0

    def __post_init__(self) -> None:
        wrong = {
            "images": self.images not in WHERE,
            "features": self.features not in ("auto", "none"),
            "views": self.views is not None and not (type(self.views) is int and self.views > 0),
            "max_gb": not (isinstance(self.max_gb, int | float) and self.max_gb > 0),
        }
        for name in (name for name, is_wrong in wrong.items() if is_wrong):
            raise FaceproofError(
                f"cache.{name} = {getattr(self, name)!r}; cache.images is one of "
                f"{', '.join(WHERE)}, cache.features auto or none, cache.views null or a count "
                "from 1 on, cache.max_gb a number above 0"
            )

    @property
    def max_bytes(self) -> int:
        """Return the limit in bytes."""
        return int(self.max_gb * 1e9)


def cached_images(
    dataset: ImageDataset,
    rows: pa.Table,
    settings: CacheSettings,
    num_workers: int | str,
    device: str = "cpu",
) -> Images:
    """Return a data set of decoded images, or the one given where none are to be kept.

    Args:
        dataset: reads and resizes the images.
        rows: their table.
        settings: where they are kept.
        num_workers: processes that decode them, once; see `choose_workers`.
        device: the type of device that trains.
    """
    shape = (len(dataset), 3, dataset.size, dataset.size)

    def fill(values: Array) -> None:
        loader = make_loader(dataset, 64, num_workers, device=device)
        for batch in track(loader, "decoding once", disable=not sys.stdout.isatty()):
            values[batch.row.numpy()] = batch.image.numpy()

    if settings.images == "memory":
        needed = math.prod(shape)
        for allowed, by, advice in (
            (settings.max_bytes, "cache.max_gb allows", ", or a larger limit"),
            (available_bytes(), "this machine has free", ""),
        ):
            if needed > allowed:
                raise FaceproofError(
                    f"cache.images=memory would take {needed / 1e9:.3g} GB and {by} "
                    f"{allowed / 1e9:.3g}; use cache.images=disk{advice}"
                )
        values = np.empty(shape, np.uint8)
        fill(values)
        return CachedImages(values, dataset.labels)
    if settings.images == "disk":
        key = key_of(_of_images(dataset, rows))
        checked = _spread_rows(len(dataset))

        def agrees(values: Array) -> bool:
            return np.array_equal(values[checked], dataset.__getitems__(checked).image.numpy())

        found = keep(Wanted("images", key, shape, np.uint8, fill, agrees), settings.max_bytes)
        return dataset if found is None else CachedImages(found, dataset.labels)
    return dataset


def _of_images(dataset: ImageDataset, rows: pa.Table) -> list[str | bytes]:
    """Return what decoded images depend on."""
    stats = file_statistics_of(rows)
    if stats["content"].null_count:
        path = stats["path"].filter(stats["content"].is_null())[0].as_py()
        raise ImageGoneError(f"{path} could be read when the run began and no longer can")
    contents = hashlib.sha256()
    for chunk in stats["content"].chunks:
        contents.update(b"".join(chunk.to_pylist()))
    decoders = f"torchvision {torchvision.__version__}, Pillow {pillow_version}"
    size = f"{dataset.size} {dataset.interpolation}"
    return [FORMAT, decoders, size, contents.digest()]


def _spread_rows(number: int) -> list[int]:
    """Return some rows, evenly spread."""
    places: list[int] = np.linspace(0, number - 1, min(NUM_CHECKED, number)).astype(int).tolist()
    return places


@dataclass(frozen=True)
class BackbonePass:
    """One pass of images through a frozen backbone.

    Attributes:
        net: the network, on its device.
        precision: the name of what it computes in.
        autocast: makes the context of that precision.
        augment: the change made to the images before; one view each by its epoch.
        seed: of the augmentation.
        views: how many.
    """

    net: Detector
    precision: str
    autocast: Callable[[], AbstractContextManager[None]]
    augment: Augment
    seed: int
    views: int

    @torch.inference_mode()
    def __call__(self, images: Tensor, rows: Tensor, view: int) -> Array:
        """Return the features of (B, 3, S, S) uint8 images, (B, ...) float32."""
        device = self.net.input_mean.device
        scaled = to_unit(images.to(device))
        changed = self.augment(scaled, self.seed, view, rows.to(device))
        with self.autocast():
            features = self.net.features(changed)
        return features.float().cpu().numpy()

    def depends_on(self) -> list[str | bytes]:
        """Return what its features depend on beside the images."""
        state = hashlib.sha256()
        for name, tensor in self.net.state_dict().items():
            if not name.startswith("head."):
                data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
                state.update(name.encode() + data.numpy().tobytes())
        device = self.net.input_mean.device.type
        change = [repr(self.augment), str(self.seed)] if self.augment.changes else []
        versions = f"torch {torch.__version__} on {device} in {self.precision}"
        return [FORMAT, repr(self.net.backbone), state.digest(), versions, str(self.views), *change]


def cached_features(
    images: ImageDataset,
    rows: pa.Table,
    backbone: BackbonePass,
    settings: CacheSettings,
    num_workers: int | str,
) -> Array | None:
    """Return a frozen backbone's features, (K, N, ...) float32, or None where there is no room.

    Args:
        images: the images.
        rows: their table.
        backbone: makes the features.
        settings: how much room there is.
        num_workers: processes that decode the images, once.
    """
    net = backbone.net
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        checked = _spread_rows(len(images))
        some = images.__getitems__(checked)
        first = backbone(some.image, some.row, 0)
        shape = (backbone.views, len(images), *first.shape[1:])

        def fill(values: Array) -> None:
            device = net.input_mean.device.type
            loader = make_loader(images, 64, num_workers, device=device)
            for batch in track(loader, "backbone features", disable=not sys.stdout.isatty()):
                for view in range(backbone.views):
                    values[view, batch.row.numpy()] = backbone(batch.image, batch.row, view)

        def agrees(values: Array) -> bool:
            difference = np.abs(values[0, checked] - first).max()
            return bool(difference <= CLOSE * max(float(first.std()), 1e-6))

        parts = [*_of_images(images, rows), *backbone.depends_on()]
        wanted = Wanted("features", key_of(parts), shape, np.float32, fill, agrees)
        return keep(wanted, settings.max_bytes)
    finally:
        _train_again(training)


def _train_again(modules: list[nn.Module]) -> None:
    """Put modules back into train mode, each by itself."""
    for module in modules:
        module.training = True
