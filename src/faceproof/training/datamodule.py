"""The LightningDataModule: training and validation rows as batches on the device."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from faceproof.data.augment import Augment
from faceproof.data.datasets import AnyDataset, Batch, FeatureBatch, KeptFeatures, PictureDataset
from faceproof.data.loading import make_loader, to_unit
from faceproof.data.order import EpochSampler
from faceproof.data.shard_order import find_shards
from faceproof.data.table import select
from faceproof.models.detector import Detector, PictureInput
from faceproof.task import Task
from faceproof.training.keeping import CacheSettings, TrunkPass, kept_features, kept_pictures

Found = TypeVar("Found")


class PictureDataModule(LightningDataModule):
    """Training and validation pictures; the test rows are not even given to it.

    Args:
        table: rows of the splits train and val; others are left out.
        task: the task.
        input: how the network wants its pictures.
        augment: the change made to training pictures, on the device.
        batch_size: pictures a step.
        num_workers: loading processes, or `auto`.
        seed: of order and augmentation.
        cache: what is decoded once and kept.
        frozen_trunk: the trunk trains in no epoch, so that its features may be kept.
        limited: only some of the pictures are looked at, so that keeping all is not worth it.
    """

    def __init__(
        self,
        table: pa.Table,
        task: Task,
        input: PictureInput,
        augment: Augment,
        batch_size: int = 32,
        num_workers: int | str = "auto",
        seed: int = 0,
        cache: CacheSettings | None = None,
        frozen_trunk: bool = False,
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
        self.keeps_features, self.why = _keeps_features(frozen_trunk, augment, self.cache, limited)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the training pictures in an order that is a function of (seed, epoch)."""
        trainer = self.trainer
        rank, num_ranks = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        number = self.train_rows.num_rows
        sampler = EpochSampler(number, self.seed, rank, num_ranks, self.shards)
        views = self.cache.views if self.augment.changes else None
        dataset = self._dataset(self.train_rows, self.augment, views or 1, sampler)
        return make_loader(dataset, self.batch_size, self.num_workers, sampler, self._device)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation pictures in a fixed order."""
        dataset = self._dataset(self.val_rows, Augment(), 1, None)
        return make_loader(dataset, self.batch_size, self.num_workers, device=self._device)

    @property
    def _device(self) -> str:
        """Return the type of device that the batches go to."""
        return self.trainer.strategy.root_device.type if self.trainer else "cpu"

    def _dataset(
        self, rows: pa.Table, augment: Augment, views: int, sampler: EpochSampler | None
    ) -> AnyDataset:
        """Return pictures from their files, or decoded ones or features that are kept."""
        size, interpolation = self.input.size, self.input.interpolation
        files = PictureDataset(rows, self.task, size, interpolation)
        if self.keeps_features:
            found = self._on_this_machine(lambda: self._features(files, rows, augment, views))
            if found is not None:
                return KeptFeatures(found, files.labels, sampler)
            self.why = "computed every time: there was no room to keep them"
        if self.cache.pictures == "memory":  # of each process its own
            return kept_pictures(files, rows, self.cache, self.num_workers, self._device)
        return self._on_this_machine(
            lambda: kept_pictures(files, rows, self.cache, self.num_workers, self._device)
        )

    def _features(
        self, files: PictureDataset, rows: pa.Table, augment: Augment, views: int
    ) -> np.ndarray | None:
        """Return the frozen trunk's features of pictures."""
        assert self.trainer is not None
        net, plugin = self.trainer.lightning_module.net, self.trainer.precision_plugin
        assert isinstance(net, Detector)
        precision, autocast = str(plugin.precision), plugin.forward_context
        trunk = TrunkPass(net, precision, autocast, augment, self.seed, views)
        return kept_features(files, rows, trunk, self.cache, self.num_workers)

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
        """Bring pictures to [0, 1], and change them where they are trained on."""
        if isinstance(batch, FeatureBatch):
            return batch
        image = to_unit(batch.image)
        if self.augment.changes and self.trainer is not None and self.trainer.training:
            epoch = self.trainer.current_epoch
            view = epoch % self.cache.views if self.cache.views else epoch
            image = self.augment(image, self.seed, view, batch.row)
        return batch._replace(image=image)


def _keeps_features(
    frozen_trunk: bool, augment: Augment, cache: CacheSettings, limited: bool
) -> tuple[bool, str]:
    """Say whether trunk features are computed once and kept, and why."""
    if not frozen_trunk:
        return False, "computed every time: the trunk trains"
    if cache.features == "none":
        return False, "computed every time: cache.features=none"
    if augment.changes and cache.views is None:
        return False, (
            "computed every time: the augmentation is random; cache.views=4 would train on four "
            "kept views of each picture, augment=none on the picture itself"
        )
    if limited:
        return False, "computed every time: the trainer is limited to some of the batches"
    views = cache.views if augment.changes else None
    return True, f"computed once and kept, {views or 1} view(s) of each training picture"
