"""The LightningDataModule: training and validation images as batches on the device."""

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from faceproof.augment.autoencoder import read_autoencoder
from faceproof.augment.donors import Donors, Ovals
from faceproof.augment.in_loader import DrawnBy, InTurn, LoaderAugment
from faceproof.augment.synthesis import Synthesis
from faceproof.augment.synthesis_config import SynthesisConfig
from faceproof.augment.transforms import Augment
from faceproof.data.balance import Balance
from faceproof.data.datasets import (
    AnyDataset,
    Batch,
    CachedFeatures,
    FeatureBatch,
    ImageDataset,
    RandomChange,
)
from faceproof.data.loader_config import (
    BALANCED,
    PAIRED,
    CacheConfig,
    LoaderConfig,
    choose_batch_size,
)
from faceproof.data.loaders import make_loader
from faceproof.data.model_input import RandomCrop, fit_of, to_unit
from faceproof.data.pairs import Pairs
from faceproof.data.samplers import EpochSampler
from faceproof.data.shards.order import find_shards
from faceproof.data.synthesised import Synthesised, with_synthesised
from faceproof.data.table import counts, select, select_label
from faceproof.models.detector import Detector, ImageInput
from faceproof.task import Task
from faceproof.training.cache_checks import check_cache
from faceproof.training.caching import BackbonePass, cached_features, cached_images
from faceproof.training.face_places import place_faces
from faceproof.training.loss_config import ClassBalancedConfig
from faceproof.training.losses import effective_weights

Result = TypeVar("Result")

MIN_FITTED = 256  # images, for the operating point of a smoke test


@dataclass(frozen=True)
class FeatureCaching:
    """Whether backbone features are computed once and cached, and why, for the run's record."""

    enabled: bool = False
    reason: str = "not cached, because the backbone is being trained"

    @classmethod
    def choose(
        cls, frozen_backbone: bool, augment: Augment, cache: CacheConfig, limited: bool,
        against: str | None = None,
    ) -> "FeatureCaching":  # fmt: skip
        """Decide it.

        Args:
            frozen_backbone: whether the backbone never trains.
            augment: the augmentation.
            cache: what is wanted.
            limited: whether the trainer reads only some images, so that caching all costs more.
            against: what else changes the features of an image in each epoch, in words.
        """
        if not frozen_backbone:
            return cls()
        if cache.features == "none":
            return cls(reason="not cached, because cache.features=none")
        if against is not None:
            return cls(reason=f"not cached, because {against}")
        if augment.changes and cache.views is None:
            return cls(
                reason="not cached, because the augmentation is random; cache.views=4 would "
                "train on four cached views of each image, augment=none on the image itself"
            )
        if limited:
            return cls(reason="not cached, because the trainer is limited to some of the batches")
        views = (cache.views if augment.changes else None) or 1
        return cls(True, f"computed once and cached, {views} view(s) of each training image")


class ImageDataModule(LightningDataModule):
    """Training and validation images; it does not hold the test rows.

    Training images are augmented in the loader and on the device; the seed is that of order and
    augmentation. Rows of other splits than train and val are left out. A column `content` of the
    table may hold the digests of the files, which the cache needs. The caching of features is
    turned off, with the reason, if the cache has no room for them.

    With `synthesis`, the training rows have those of pseudo-fakes behind the given ones.

    Examples:
        >>> import faceproof as fp
        >>> data, net = fp.list_data("demo_faces", num_per_class=20), fp.build_model("face_cnn")
        >>> images = fp.ImageDataModule(data.table, data.task, net.input)
        >>> batch = next(iter(images.val_dataloader()))
        >>> batch.image.shape[1:]
        torch.Size([3, 48, 48])
    """

    def __init__(
        self,
        table: pa.Table,
        task: Task,
        input: ImageInput,
        augment: Augment | None = None,
        loader: LoaderConfig | None = None,
        seed: int = 0,
        cache: CacheConfig | None = None,
        synthesis: SynthesisConfig | None = None,
    ) -> None:
        super().__init__()
        given = self.train_rows = select(table, "train")
        val = select(table, "val")
        self.shards = find_shards(self.train_rows["path"])
        # Tables list class by class; a validation limited to some batches must see both classes.
        if (shards := find_shards(val["path"])) is None:
            order = np.random.default_rng(seed).permutation(val.num_rows)
        else:  # few shards at a time, each of which may hold a single class
            order = shards.order(seed, 0)
        self.val_rows = val.take(order)
        self.task = task
        self.input = input
        self.augment = augment or Augment()
        self.loader = loader or LoaderConfig()
        paired = self.loader.sampler == PAIRED
        self.pairs = Pairs.find(given, task) if paired else None
        balanced = self.loader.sampler == BALANCED
        weights = self.loader.source_weights
        self.balance = Balance.find(given, weights) if balanced else None
        self.synthesis = synthesis or SynthesisConfig()
        self.synthesised: Synthesised | None = None
        if self.synthesis.share:
            self.train_rows, self.synthesised = with_synthesised(
                given, task, self.synthesis.kinds,
                given.num_rows if self.pairs is None else self.pairs.num_rows,
                self.synthesis.share, (weights or {}) if balanced else None,
            )  # fmt: skip
        self.num_given = given.num_rows
        in_twos = "loader.sampler=paired" if paired else "synthesis" if self.synthesised else None
        self.batch_size = choose_batch_size(self.loader.batch_size, given.num_rows, in_twos)
        self.seed = seed
        self.cache = cache or CacheConfig()
        check_cache(self.cache, self.augment, self.synthesis, input.mode)
        self.features = FeatureCaching()  # a training may choose another
        self._sampler(0, 1)  # refuses what shards cannot do before anything is computed

    @property
    def given_rows(self) -> pa.Table:
        """The training images without pseudo-fakes."""
        return self.train_rows.slice(0, self.num_given)

    @property
    def real_rows(self) -> pa.Table:
        """The real images among them, of which pseudo-fakes are made."""
        return select_label(self.given_rows, self.task.negative)

    @property
    def shown_rows(self) -> pa.Table:
        """Those of them that are trained on: the real ones, beside pseudo-fakes alone."""
        alone = self.synthesised is not None and self.synthesised.alone
        return self.real_rows if alone else self.given_rows

    @property
    def against_caching(self) -> str | None:
        """What changes the features of a training image in each epoch, besides its augmentation."""
        if self.synthesised is not None:
            return "every epoch makes other pseudo-fakes"
        if self.input.mode != "resize":
            return "every epoch crops the images anew; model.input.mode=resize would not"
        if self.pairs is not None and self.augment.on_device and self.augment.same_in_pairs:
            return (
                "a fake is augmented as the original beside it, another one in each epoch; "
                "augment.same_in_pairs=false would not"
            )
        return None

    def looked_at(self, limit: int | float) -> pa.Table:
        """Return the validation images of as many batches, or such a share, as a trainer is given.

        They are at least `MIN_FITTED`, so that an operating point can be fitted to a smoke test.
        """
        if isinstance(limit, float):
            return self.val_rows.slice(0, max(round(limit * self.val_rows.num_rows), 2))
        return self.val_rows.slice(0, max(int(limit) * self.batch_size, MIN_FITTED))

    def class_weights(
        self, wanted: str | tuple[float, float] | ClassBalancedConfig
    ) -> tuple[float, float]:
        """Return the weights of the negative and the positive class in the loss.

        Those wanted as `balanced` average 1 over the images of an epoch; those of a class-balanced
        loss are of the images in the table.
        """
        if isinstance(wanted, ClassBalancedConfig):
            found = counts(self.given_rows, "label")
            negative, positive = (found[(name,)] for name in self.task.classes)
            return effective_weights((negative, positive), wanted.beta)
        if wanted == "none":
            return 1.0, 1.0
        if wanted == "balanced":
            seen = self.train_rows
            if self.pairs or self.balance or self.synthesised:  # some rows come more often
                seen = seen.take(list(self._sampler(0, 1)))
            rows, present = seen.num_rows, counts(seen, "label")
            first, second = (rows / (2 * present[(name,)]) for name in self.task.classes)
            return first, second
        return float(wanted[0]), float(wanted[1])

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the training images in an order that is a function of (seed, epoch)."""
        sampler = self.sampler()
        views = (self.cache.views if self.augment.changes else None) or 1
        self.train_dataset = self._dataset(self.train_rows, self.augment, views, sampler)
        return self._loader(self.train_dataset, sampler)

    def batches_again(self) -> Iterator[Batch | FeatureBatch]:
        """Yield the training batches of the current epoch once more, as its steps had them.

        They are on the device and augmented; those that are mixed in a step are not mixed here.
        """
        trainer = self.trainer
        assert trainer is not None
        sampler = self.sampler()
        sampler.set_epoch(trainer.current_epoch)
        loader = self._loader(self.train_dataset, sampler)
        for batch in itertools.islice(loader, int(trainer.num_training_batches)):
            yield trainer.strategy.batch_to_device(batch, dataloader_idx=0)

    def sampler(self) -> EpochSampler:
        """Return what draws the order of the training images for this process."""
        trainer = self.trainer
        return self._sampler(*((trainer.global_rank, trainer.world_size) if trainer else (0, 1)))

    def _sampler(self, rank: int, num_ranks: int) -> EpochSampler:
        return EpochSampler(
            self.num_given, self.seed, rank, num_ranks, self.shards, self.pairs, self.balance,
            self.synthesised,
        )  # fmt: skip

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation images in a fixed order."""
        return self._loader(self._dataset(self.val_rows, Augment(), 1, None), None)

    def _change(self, rows: pa.Table, augment: Augment) -> RandomChange | None:
        """Return what changes each image of some rows in the loader."""
        changes: list[RandomChange] = []
        if self.synthesiser is not None and rows is self.train_rows:
            changes.append(self.synthesiser)
        if augment.in_loader:
            changes.append(LoaderAugment(augment, self.seed, rows["pair"]))
        return InTurn(changes) if changes else None

    @functools.cached_property
    def synthesiser(self) -> Synthesis | None:
        """What makes pseudo-fakes, if there are any."""
        if self.synthesised is None:
            return None
        fit, file = fit_of(self.input, tiles=False), self.synthesis.autoencoder
        autoencoder = None if file is None else read_autoencoder(Path(file))
        faces = Donors(self.real_rows, self.ovals)
        return Synthesis(self.synthesised, self.seed, fit, faces, autoencoder)

    @functools.cached_property
    def ovals(self) -> Ovals | None:
        """Where the faces of the real images are, looked for at the first use; see `place_faces`.

        A training that is resumed puts those in that it began with.
        """
        if self.synthesised is None:
            return None
        return place_faces(self.real_rows, self.synthesis, self.cache.max_bytes)

    def _loader(self, dataset: AnyDataset, sampler: EpochSampler | None) -> DataLoader[Any]:
        workers = self.loader.num_workers
        return make_loader(dataset, self.batch_size, workers, sampler, self._device)

    @property
    def _device(self) -> str:
        return self.trainer.strategy.root_device.type if self.trainer else "cpu"

    def _dataset(
        self, rows: pa.Table, augment: Augment, views: int, sampler: EpochSampler | None
    ) -> AnyDataset:
        """Return the images from their files, or from the cache, or their cached features."""
        change = self._change(rows, augment)
        # One crop, of validation the middle: tiles and mirror images cost as much more as they are.
        size, interpolation, crop = fit = fit_of(self.input, tiles=False)
        if crop is not None and sampler is not None:
            drawn_by = DrawnBy(rows["pair"], augment.same_in_pairs)
            made = self.synthesiser if rows is self.train_rows else None
            through = None if made is None else made.through
            change, crop = RandomCrop(fit, self.seed, drawn_by, change, through), None
        files = ImageDataset(rows, self.task, size, interpolation, augment=change, crop=crop)
        if self.features.enabled:
            found = self._once_per_machine(lambda: self._features(files, rows, augment, views))
            if found is not None:
                return CachedFeatures(found, files.labels, sampler)
            reason = "not cached, because there was no room for them"
            self.features = FeatureCaching(reason=reason)

        def images() -> AnyDataset:
            workers = self.loader.num_workers
            return cached_images(files, rows, self.cache, workers, self._device)

        # Processes share a disk, but not their memory.
        return images() if self.cache.images == "memory" else self._once_per_machine(images)

    def _features(
        self, files: ImageDataset, rows: pa.Table, augment: Augment, views: int
    ) -> np.ndarray | None:
        assert self.trainer is not None
        net, plugin = self.trainer.lightning_module.net, self.trainer.precision_plugin
        assert isinstance(net, Detector)
        precision, autocast = str(plugin.precision), plugin.forward_context
        backbone = BackbonePass(net, precision, autocast, augment, self.seed, views)
        return cached_features(files, rows, backbone, self.cache, self.loader.num_workers)

    def _once_per_machine(self, compute: Callable[[], Result]) -> Result:
        """Compute in one process of each machine first; the others then find it in the cache."""
        if self.trainer is None or self.trainer.world_size == 1:
            return compute()
        first = self.trainer.local_rank == 0
        found = compute() if first else None
        self.trainer.strategy.barrier()
        return found if first else compute()  # type: ignore[return-value]

    def on_after_batch_transfer(
        self, batch: Batch | FeatureBatch, dataloader_idx: int
    ) -> Batch | FeatureBatch:
        """Scale images to [0, 1], and augment training images; Lightning calls this."""
        if isinstance(batch, FeatureBatch):
            return batch
        image = to_unit(batch.image)
        if self.augment.on_device and self.trainer is not None and self.trainer.training:
            epoch = self.trainer.current_epoch
            view = epoch % self.cache.views if self.cache.views else epoch
            image = self.augment(image, self.seed, view, self._drawn_by(batch.row))
        return batch._replace(image=image)

    def _drawn_by(self, rows: Tensor) -> Tensor:
        """Return whose draws each image of a batch gets, (B,): of two in a pair, the first's."""
        in_twos = self.pairs is not None or self.synthesised is not None
        if not in_twos or not self.augment.same_in_pairs:
            return rows
        firsts = rows[::2].repeat_interleave(2)
        if self.pairs is None:  # given rows stand side by side by chance
            return torch.where(firsts < self.num_given, rows, firsts)
        return firsts
