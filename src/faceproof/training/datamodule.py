"""The LightningDataModule: training and validation rows as batches on the device."""

import numpy as np
import pyarrow as pa
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from faceproof.data.augment import Augment
from faceproof.data.loading import Batch, EpochSampler, PictureDataset, make_loader, to_unit
from faceproof.data.table import select
from faceproof.models.detector import PictureInput
from faceproof.task import Task


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
    ) -> None:
        super().__init__()
        self.train_rows = select(table, "train")
        val = select(table, "val")
        # A table lists class by class; mixed, a limited validation still sees both.
        self.val_rows = val.take(np.random.default_rng(seed).permutation(val.num_rows))
        self.task = task
        self.input = input
        self.augment = augment
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return the training pictures in an order that is a function of (seed, epoch)."""
        dataset = self._dataset(self.train_rows)
        trainer = self.trainer
        rank, num_ranks = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        sampler = EpochSampler(len(dataset), self.seed, rank, num_ranks)
        return make_loader(dataset, self.batch_size, self.num_workers, sampler)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return the validation pictures in a fixed order."""
        return make_loader(self._dataset(self.val_rows), self.batch_size, self.num_workers)

    def _dataset(self, rows: pa.Table) -> PictureDataset:
        return PictureDataset(rows, self.task, self.input.size, self.input.interpolation)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Bring pictures to [0, 1], and change them where they are trained on."""
        image = to_unit(batch.image)
        if self.trainer is not None and self.trainer.training:
            image = self.augment(image, self.seed, self.trainer.current_epoch, batch.row)
        return batch._replace(image=image)
