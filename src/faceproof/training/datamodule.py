"""The LightningDataModule: training and validation rows as batches on the device."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from faceproof.augment.transforms import Augment
from faceproof.data.datasets import AnyDataset, Batch, CachedFeatures, FeatureBatch, ImageDataset
from faceproof.data.loaders import make_loader
from faceproof.data.model_input import to_unit
from faceproof.data.samplers import EpochSampler
from faceproof.data.shards.order import find_shards
from faceproof.data.table import select
from faceproof.models.detector import Detector, ImageInput
from faceproof.task import Task
from faceproof.training.caching import BackbonePass, CacheSettings, cached_features, cached_images

Found = TypeVar("Found")


class ImageDataModule(LightningDataModule):
    """Training and validation images; the test rows are not even given to it.

    Args:
        table: rows of the splits train and val; others are left out.
        task: the task.
        input: how the network wants its images.
        augment: the change made to training images, on the device.
        batch_size: images a step.
        num_workers: loading processes, or `auto`.
        seed: of order and augmentation.
        cache: what is decoded once and kept.
        frozen_backbone: the backbone trains in no epoch, so that its features may be kept.
        limited: only some of the images are looked at, so that keeping all is not worth it.
    """

    def __init__(
        self,
        table: pa.Table,
        task: Task,
        input: ImageInput,
        augment: Augment,
        batch_size: int = 32,
        num_workers: int | str = "auto",
        seed: int = 0,
        cache: CacheSettings | None = None,
        frozen_backbone: bool = False,
        limited: bool = False,
    ) -> None:
        super().__init__()
        self.train_rows = select(table, "train")
        val = select(table, "val")
        self.shards = find_shards(self.train_rows["path"])
        # A table lists class by class; mixed, a limited validation still sees both.
        if (shards := find_shards(val["path"])) is None:
            order = np.random.default_rng(seed).permutation(val.num_rows)
        else:  # a few shards at a time, each of which may hold one class alone
            order = shards.order(seed, 0)
        self.val_rows = val.take(order)
        self.task = task
        self.input = input
        self.augment = augment
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.cache = cache or CacheSettings()
        self.caches_features, self.why = _caches_features(
            frozen_backbone, augment, self.cache, limited
        )

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the training images in an order that is a function of (seed, epoch)."""
        trainer = self.trainer
        rank, num_ranks = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        number = self.train_rows.num_rows
        sampler = EpochSampler(number, self.seed, rank, num_ranks, self.shards)
        views = self.cache.views if self.augment.changes else None
        dataset = self._dataset(self.train_rows, self.augment, views or 1, sampler)
        return make_loader(dataset, self.batch_size, self.num_workers, sampler, self._device)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation images in a fixed order."""
        dataset = self._dataset(self.val_rows, Augment(), 1, None)
        return make_loader(dataset, self.batch_size, self.num_workers, device=self._device)

    @property
    def _device(self) -> str:
        """Return the type of device that the batches go to."""
        return self.trainer.strategy.root_device.type if self.trainer else "cpu"

    def _dataset(
        self, rows: pa.Table, augment: Augment, views: int, sampler: EpochSampler | None
    ) -> AnyDataset:
        """Return images from their files, or decoded ones or features that are kept."""
        size, interpolation = self.input.size, self.input.interpolation
        files = ImageDataset(rows, self.task, size, interpolation)
        if self.caches_features:
            found = self._on_this_machine(lambda: self._features(files, rows, augment, views))
            if found is not None:
                return CachedFeatures(found, files.labels, sampler)
            self.why = "computed every time: there was no room to keep them"
        if self.cache.images == "memory":  # of each process its own
            return cached_images(files, rows, self.cache, self.num_workers, self._device)
        return self._on_this_machine(
            lambda: cached_images(files, rows, self.cache, self.num_workers, self._device)
        )

    def _features(
        self, files: ImageDataset, rows: pa.Table, augment: Augment, views: int
    ) -> np.ndarray | None:
        """Return the frozen backbone's features of images."""
        assert self.trainer is not None
        net, plugin = self.trainer.lightning_module.net, self.trainer.precision_plugin
        assert isinstance(net, Detector)
        precision, autocast = str(plugin.precision), plugin.forward_context
        backbone = BackbonePass(net, precision, autocast, augment, self.seed, views)
        return cached_features(files, rows, backbone, self.cache, self.num_workers)

    def _on_this_machine(self, compute: Callable[[], Found]) -> Found:
        """Compute in one process of a machine, and let the others find it."""
        if self.trainer is None or self.trainer.world_size == 1:
            return compute()
        first = self.trainer.local_rank == 0
        found = compute() if first else None
        self.trainer.strategy.barrier()
        return found if first else compute()  # type: ignore[return-value]

    def on_after_batch_transfer(
        self, batch: Batch | FeatureBatch, dataloader_idx: int
    ) -> Batch | FeatureBatch:
        """Bring images to [0, 1], and change them where they are trained on."""
        if isinstance(batch, FeatureBatch):
            return batch
        image = to_unit(batch.image)
        if self.augment.changes and self.trainer is not None and self.trainer.training:
            epoch = self.trainer.current_epoch
            view = epoch % self.cache.views if self.cache.views else epoch
            image = self.augment(image, self.seed, view, batch.row)
        return batch._replace(image=image)


def _caches_features(
    frozen_backbone: bool, augment: Augment, cache: CacheSettings, limited: bool
) -> tuple[bool, str]:
    """Say whether backbone features are computed once and kept, and why."""
    if not frozen_backbone:
        return False, "computed every time: the backbone trains"
    if cache.features == "none":
        return False, "computed every time: cache.features=none"
    if augment.changes and cache.views is None:
        return False, (
            "computed every time: the augmentation is random; cache.views=4 would train on four "
            "kept views of each image, augment=none on the image itself"
        )
    if limited:
        return False, "computed every time: the trainer is limited to some of the batches"
    views = cache.views if augment.changes else None
    return True, f"computed once and kept, {views or 1} view(s) of each training image"
