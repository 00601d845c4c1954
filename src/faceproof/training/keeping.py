"""What need not be computed again in every epoch: decoded pictures, and a frozen trunk's features.

Both are stored by what they depend on, the content of the pictures first, so that another run of
the same pictures finds them. Kept features are what the trunk would give at that moment: the same
input, the same precision, the frozen trunk in eval mode.
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

from faceproof.data.augment import Augment
from faceproof.data.datasets import KeptPictures, PictureDataset, PictureGoneError
from faceproof.data.facts import data_facts
from faceproof.data.kept import Wanted, keep, key_of
from faceproof.data.loading import make_loader, to_unit
from faceproof.errors import FaceproofError
from faceproof.memory import available_bytes
from faceproof.models.detector import Detector

FORMAT = "1"  # raised with every change to what is kept
WHERE = ("none", "memory", "disk")
NUM_CHECKED = 4  # rows that are computed again before what was kept is believed
CLOSE = 0.02  # of their spread, for features; bfloat16 and other batch sizes round differently

Array = npt.NDArray[Any]
Pictures = PictureDataset | KeptPictures

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CacheSettings:
    """What is kept.

    Args:
        pictures: decoded and resized pictures: none, in memory for this run, or on disk.
        features: a frozen trunk's features, where nothing random stands before it: auto or none.
        views: with random augmentation, train on so many kept views of each picture instead of a
            fresh one in every epoch; None for fresh ones, and then nothing is kept.
        max_gb: what either kind may take, in memory or on disk.

    Raises:
        FaceproofError: one of them makes no sense.
    """

    pictures: str = "none"
    features: str = "auto"
    views: int | None = None
    max_gb: float = 20.0

    def __post_init__(self) -> None:
        wrong = {
            "pictures": self.pictures not in WHERE,
            "features": self.features not in ("auto", "none"),
            "views": self.views is not None and not (type(self.views) is int and self.views > 0),
            "max_gb": not (isinstance(self.max_gb, int | float) and self.max_gb > 0),
        }
        for name in (name for name, is_wrong in wrong.items() if is_wrong):
            raise FaceproofError(
                f"cache.{name} = {getattr(self, name)!r}; cache.pictures is one of "
                f"{', '.join(WHERE)}, cache.features auto or none, cache.views null or a count "
                "from 1 on, cache.max_gb a number above 0"
            )

    @property
    def max_bytes(self) -> int:
        """Return the limit in bytes."""
        return int(self.max_gb * 1e9)


def kept_pictures(
    dataset: PictureDataset,
    rows: pa.Table,
    settings: CacheSettings,
    num_workers: int | str,
    device: str = "cpu",
) -> Pictures:
    """Return a data set of decoded pictures, or the one given where none are to be kept.

    Args:
        dataset: reads and resizes the pictures.
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

    if settings.pictures == "memory":
        needed = math.prod(shape)
        for allowed, by, advice in (
            (settings.max_bytes, "cache.max_gb allows", ", or a larger limit"),
            (available_bytes(), "this machine has free", ""),
        ):
            if needed > allowed:
                raise FaceproofError(
                    f"cache.pictures=memory would take {needed / 1e9:.3g} GB and {by} "
                    f"{allowed / 1e9:.3g}; use cache.pictures=disk{advice}"
                )
        values = np.empty(shape, np.uint8)
        fill(values)
        return KeptPictures(values, dataset.labels)
    if settings.pictures == "disk":
        key = key_of(_of_pictures(dataset, rows))
        checked = _spread_rows(len(dataset))

        def agrees(values: Array) -> bool:
            return np.array_equal(values[checked], dataset.__getitems__(checked).image.numpy())

        found = keep(Wanted("pictures", key, shape, np.uint8, fill, agrees), settings.max_bytes)
        return dataset if found is None else KeptPictures(found, dataset.labels)
    return dataset


def _of_pictures(dataset: PictureDataset, rows: pa.Table) -> list[str | bytes]:
    """Return what decoded pictures depend on."""
    facts = data_facts(rows)
    if facts["content"].null_count:
        path = facts["path"].filter(facts["content"].is_null())[0].as_py()
        raise PictureGoneError(f"{path} could be read when the run began and no longer can")
    contents = hashlib.sha256()
    for chunk in facts["content"].chunks:
        contents.update(b"".join(chunk.to_pylist()))
    decoders = f"torchvision {torchvision.__version__}, Pillow {pillow_version}"
    size = f"{dataset.size} {dataset.interpolation}"
    return [FORMAT, decoders, size, contents.digest()]


def _spread_rows(number: int) -> list[int]:
    """Return some rows, evenly spread."""
    places: list[int] = np.linspace(0, number - 1, min(NUM_CHECKED, number)).astype(int).tolist()
    return places


@dataclass(frozen=True)
class TrunkPass:
    """One pass of pictures through a frozen trunk.

    Attributes:
        net: the network, on its device.
        precision: the name of what it computes in.
        autocast: makes the context of that precision.
        augment: the change made to the pictures before; one view each by its epoch.
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
        """Return the features of (B, 3, S, S) uint8 pictures, (B, ...) float32."""
        device = self.net.input_mean.device
        pictures = to_unit(images.to(device))
        changed = self.augment(pictures, self.seed, view, rows.to(device))
        with self.autocast():
            features = self.net.features(changed)
        return features.float().cpu().numpy()

    def depends_on(self) -> list[str | bytes]:
        """Return what its features depend on beside the pictures."""
        state = hashlib.sha256()
        for name, tensor in self.net.state_dict().items():
            if not name.startswith("head."):
                data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
                state.update(name.encode() + data.numpy().tobytes())
        device = self.net.input_mean.device.type
        change = [repr(self.augment), str(self.seed)] if self.augment.changes else []
        versions = f"torch {torch.__version__} on {device} in {self.precision}"
        return [FORMAT, repr(self.net.trunk), state.digest(), versions, str(self.views), *change]


def kept_features(
    pictures: PictureDataset,
    rows: pa.Table,
    trunk: TrunkPass,
    settings: CacheSettings,
    num_workers: int | str,
) -> Array | None:
    """Return a frozen trunk's features, (K, N, ...) float32, or None where there is no room.

    Args:
        pictures: the pictures.
        rows: their table.
        trunk: makes the features.
        settings: how much room there is.
        num_workers: processes that decode the pictures, once.
    """
    net = trunk.net
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        checked = _spread_rows(len(pictures))
        some = pictures.__getitems__(checked)
        first = trunk(some.image, some.row, 0)
        shape = (trunk.views, len(pictures), *first.shape[1:])

        def fill(values: Array) -> None:
            device = net.input_mean.device.type
            loader = make_loader(pictures, 64, num_workers, device=device)
            for batch in track(loader, "trunk features", disable=not sys.stdout.isatty()):
                for view in range(trunk.views):
                    values[view, batch.row.numpy()] = trunk(batch.image, batch.row, view)

        def agrees(values: Array) -> bool:
            difference = np.abs(values[0, checked] - first).max()
            return bool(difference <= CLOSE * max(float(first.std()), 1e-6))

        parts = [*_of_pictures(pictures, rows), *trunk.depends_on()]
        wanted = Wanted("features", key_of(parts), shape, np.float32, fill, agrees)
        return keep(wanted, settings.max_bytes)
    finally:
        _train_again(training)


def _train_again(modules: list[nn.Module]) -> None:
    """Put modules back into train mode, each by itself."""
    for module in modules:
        module.training = True
