"""Compute decoded images, or a frozen backbone's features, once for all epochs.

Both are cached under what they depend on, the content of the images first, so that other runs of
the same images find them. Cached features are what the backbone would return in training: the same
input, the same precision, the backbone in eval mode.
"""

import hashlib
import inspect
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from faceproof.audit.file_statistics import file_statistics_of
from faceproof.augment.transforms import Augment
from faceproof.data import image_io, model_input
from faceproof.data.datasets import CachedImages, ImageDataset, ImageGoneError
from faceproof.data.loader_config import CacheConfig
from faceproof.data.loaders import make_loader
from faceproof.data.model_input import to_unit
from faceproof.errors import FaceproofError
from faceproof.io.cache import Array, CachedArray, load_or_compute
from faceproof.io.progress import progress
from faceproof.io.stamps import key_of
from faceproof.models.detector import Detector
from faceproof.performance.memory import available_bytes
from faceproof.words import apart

FORMAT = "2"  # raise it with every change to what is cached
BATCH_SIZE = 64
NUM_CHECKED = 4  # rows that are computed again before a cached array is trusted
# Of their standard deviation, for features: bfloat16 and other batch sizes round differently.
TOLERANCE = 0.02

Images = ImageDataset | CachedImages


def cached_images(
    dataset: ImageDataset,
    table: pa.Table,
    config: CacheConfig,
    num_workers: int | str,
    device: str = "cpu",
) -> Images:
    """Return a data set of decoded images, or the given one if images are not cached.

    The image table has the digests of the files as `content` where they are known.

    Raises:
        FaceproofError: they do not fit into memory, or a file can no longer be read.
    """
    shape = (len(dataset), 3, dataset.size, dataset.size)

    def fill(values: Array) -> None:
        loader = make_loader(dataset, BATCH_SIZE, num_workers, device=device)
        for batch in progress(loader, "decoding once"):
            values[batch.row.numpy()] = batch.image.numpy()
        _refuse_changed(table)

    if config.images == "memory":
        _refuse_too_large(math.prod(shape), config)
        values = np.empty(shape, np.uint8)
        fill(values)
        return CachedImages(values, dataset.labels)
    if config.images == "disk":
        checked = _spread_rows(len(dataset))

        def agrees(values: Array) -> bool:
            return np.array_equal(values[checked], dataset.__getitems__(checked).image.numpy())

        table = with_content(table)
        key = key_of(_image_key(dataset, table))
        array = CachedArray("images", key, shape, np.uint8, fill, agrees)
        found = load_or_compute(array, config.max_bytes)
        return dataset if found is None else CachedImages(found, dataset.labels)
    return dataset


def _refuse_too_large(needed: int, config: CacheConfig) -> None:
    for allowed, source, advice in (
        (config.max_bytes, "cache.max_gb allows", ", or a larger limit"),
        (available_bytes(), "this machine has free", ""),
    ):
        if needed > allowed:
            more, most = apart(needed / 1e9, allowed / 1e9, ".3g")
            raise FaceproofError(
                f"cache.images=memory would take {more} GB and {source} {most}; use "
                f"cache.images=disk{advice}"
            )


def with_content(table: pa.Table) -> pa.Table:
    """Return an image table with the digests of its files as `content`."""
    if "content" in table.column_names:
        return table
    digests = file_statistics_of(table)["content"]
    if digests.null_count:
        path = table["path"].filter(digests.is_null())[0].as_py()
        raise ImageGoneError(f"{path} could be read when the run began and no longer can")
    return table.append_column("content", digests)


def _refuse_changed(table: pa.Table) -> None:
    """Refuse to keep what was computed of images that have changed since the run began."""
    if "content" not in table.column_names:
        return
    now = file_statistics_of(table)["content"]
    changed = pc.invert(pc.fill_null(pc.equal(now, table["content"]), False))
    if first := table["path"].filter(changed).slice(0, 1).to_pylist():
        raise ImageGoneError(f"{first[0]} was changed while it was read; start again")


def _image_key(dataset: ImageDataset, table: pa.Table) -> list[str | bytes]:
    """Return what decoded images depend on: bytes of the files, decoders, and size.

    Our own decoding is among it as it is written: a change may be to a few images alone, so that
    the rows that are computed again do not show it.
    """
    contents = hashlib.sha256()
    for chunk in table["content"].chunks:
        contents.update(b"".join(chunk.to_pylist()))
    decoders = " ".join(map(version, ("torchvision", "Pillow", "simplejpeg")))
    code = map(inspect.getsource, (image_io, model_input))
    size = f"{dataset.size} {dataset.interpolation}"
    return [FORMAT, decoders, *code, size, contents.digest()]


def _spread_rows(number: int) -> list[int]:
    rows: list[int] = np.linspace(0, number - 1, min(NUM_CHECKED, number)).astype(int).tolist()
    return rows


@dataclass(frozen=True)
class BackbonePass:
    """One pass of images through a frozen backbone."""

    net: Detector  # on its device
    precision: str
    autocast: Callable[[], AbstractContextManager[None]]  # makes the context of that precision
    augment: Augment  # view k is that of epoch k
    seed: int  # of the augmentation
    views: int  # of each image

    @torch.inference_mode()
    def __call__(self, images: Tensor, rows: Tensor, view: int) -> Array:
        """Return the features, (B, ...) float32, of one view of images, (B, 3, S, S) uint8."""
        device = self.net.input_mean.device
        scaled = to_unit(images.to(device))
        changed = self.augment(scaled, self.seed, view, rows.to(device))
        with self.autocast():
            features = self.net.features(changed)
        return features.float().cpu().numpy()

    def key(self) -> list[str | bytes]:
        """Return what the features depend on beside the images."""
        state = hashlib.sha256()
        for name, tensor in self.net.state_dict().items():
            if not name.startswith("head."):
                data = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
                state.update(name.encode() + data.numpy().tobytes())
        device = self.net.input_mean.device.type
        change = [repr(self.augment), str(self.seed)] if self.augment.changes else []
        names = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "timm"))
        versions = f"{names} on {device} in {self.precision}"
        parts = [repr(self.net.backbone)]
        if self.net.branch is not None:  # of a filter nothing is among the weights
            parts.append(repr(self.net.branch))
        return [FORMAT, *parts, state.digest(), versions, str(self.views), *change]


def cached_features(
    images: ImageDataset,
    table: pa.Table,
    backbone: BackbonePass,
    config: CacheConfig,
    num_workers: int | str,
) -> Array | None:
    """Return a frozen backbone's features, (K, N, ...) float32, or None if there is no room."""
    net, table = backbone.net, with_content(table)
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        checked = _spread_rows(len(images))
        sample = images.__getitems__(checked)
        first = backbone(sample.image, sample.row, 0)
        shape = (backbone.views, len(images), *first.shape[1:])

        def fill(values: Array) -> None:
            device = net.input_mean.device.type
            loader = make_loader(images, BATCH_SIZE, num_workers, device=device)
            for batch in progress(loader, "backbone features"):
                for view in range(backbone.views):
                    values[view, batch.row.numpy()] = backbone(batch.image, batch.row, view)
            _refuse_changed(table)

        def agrees(values: Array) -> bool:
            difference = np.abs(values[0, checked] - first).max()
            return bool(difference <= TOLERANCE * max(float(first.std()), 1e-6))

        key = key_of([*_image_key(images, table), *backbone.key()])
        array = CachedArray("features", key, shape, np.float32, fill, agrees)
        return load_or_compute(array, config.max_bytes)
    finally:
        for module in training:  # one by one: frozen parts stay in eval mode
            module.training = True
