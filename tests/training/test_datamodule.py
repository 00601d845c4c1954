"""The LightningDataModule: what it gives out in pairs, and changed in the loader."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from faceproof.augment.transforms import Augment
from faceproof.augment.web import WebAugment
from faceproof.data.image_io import read_image
from faceproof.data.loader_config import CacheConfig, LoaderConfig
from faceproof.data.model_input import Crop, fit_image
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.models.detector import ImageInput
from faceproof.task import get_task
from faceproof.training.datamodule import FeatureCaching, ImageDataModule
from tests.conftest import write_images

TASK = get_task("deepfake")
INPUT = ImageInput(16, (0, 0, 0), (1, 1, 1), "bilinear")
PAIRED = LoaderConfig(4, num_workers=0, sampler="paired")


@pytest.fixture
def rows(tmp_path: Path) -> pa.Table:
    """Two originals, of which three and one fakes were made, and one image without a name."""
    kinds = [
        ("real", "a"), ("fake", "a"), ("fake", "a"), ("fake", "a"), ("real", "b"), ("fake", "b"),
        ("real", None),
    ]  # fmt: skip
    names = [f"{number}.jpg" for number in range(len(kinds))]
    paths = list(map(str, write_images(tmp_path / "images", names)))
    labels, pairs = zip(*kinds, strict=True)
    columns = {"path": paths, "label": labels, "pair": pairs, "split": ["train"] * len(kinds)}
    return table_from_columns(columns)


def test_a_fake_and_its_original_are_in_one_batch(rows: pa.Table) -> None:
    names = rows["pair"].to_pylist()
    images = ImageDataModule(rows, TASK, INPUT, loader=PAIRED)
    batches = [batch.row.tolist() for batch in images.train_dataloader()]
    assert [len(batch) for batch in batches] == [4, 4, 2]
    for batch in batches:
        for fake, beside in zip(batch[::2], batch[1::2], strict=True):
            assert names[fake] == names[beside]
            assert fake == beside or (fake not in (0, 4) and beside in (0, 4))


def test_balanced_weights_are_those_of_what_an_epoch_holds(rows: pa.Table) -> None:
    paired = ImageDataModule(rows, TASK, INPUT, loader=PAIRED)
    assert paired.class_weights("balanced") == pytest.approx((10 / 12, 10 / 8))
    shuffled = ImageDataModule(rows, TASK, INPUT, loader=replace(PAIRED, sampler="shuffled"))
    assert shuffled.class_weights("balanced") == pytest.approx((7 / 6, 7 / 8))


def test_an_odd_batch_size_is_lowered(rows: pa.Table) -> None:
    images = ImageDataModule(rows, TASK, INPUT, loader=replace(PAIRED, batch_size=5))
    assert images.batch_size == 4


def test_without_pairs_it_is_refused(rows: pa.Table) -> None:
    place = rows.schema.get_field_index("pair")
    alone = rows.set_column(place, rows.schema.field("pair"), pa.nulls(7, pa.string()))
    with pytest.raises(FaceproofError, match="no fake among the training images has its original"):
        ImageDataModule(alone, TASK, INPUT, loader=PAIRED)


def test_a_balanced_epoch_has_both_classes_equally_often(rows: pa.Table) -> None:
    how = LoaderConfig(4, num_workers=0, sampler="balanced")
    images = ImageDataModule(rows, TASK, INPUT, loader=how)
    labels = [number for batch in images.train_dataloader() for number in batch.label.tolist()]
    assert len(labels) == 7
    assert abs(sum(labels) - 3.5) == 0.5
    assert images.class_weights("balanced") == pytest.approx((7 / 6, 7 / 8))


NOISY = Augment(web=WebAugment(noise=1.0, noise_sigma=(20, 20)))


def loaded(
    rows: pa.Table, epoch: int, augment: Augment, workers: int, input: ImageInput = INPUT
) -> torch.Tensor:
    """Return the training images of an epoch in the order of the table, (N, 3, S, S)."""
    how = LoaderConfig(3, num_workers=workers)
    loader = ImageDataModule(rows, TASK, input, augment, how, seed=2).train_dataloader()
    loader.batch_sampler.sampler.set_epoch(epoch)  # type: ignore[union-attr]
    batches = list(loader)
    images = torch.cat([batch.image for batch in batches])
    return images[torch.cat([batch.row for batch in batches]).argsort()]


def test_images_are_changed_in_the_loader_by_seed_epoch_and_row(rows: pa.Table) -> None:
    first, second = (loaded(rows, epoch, NOISY, 0) for epoch in (0, 1))
    plain = loaded(rows, 0, Augment(), 0)
    for images in (first, second):
        assert all(not torch.equal(one, other) for one, other in zip(images, plain, strict=True))
    assert not torch.equal(first, second)
    for epoch, images in enumerate((first, second)):
        assert torch.equal(loaded(rows, epoch, NOISY, 2), images)


def test_workers_that_stay_learn_of_the_next_epoch(rows: pa.Table) -> None:
    how = LoaderConfig(3, num_workers=2)
    loader = ImageDataModule(rows, TASK, INPUT, NOISY, how, seed=2).train_dataloader()
    for epoch in range(3):
        loader.batch_sampler.sampler.set_epoch(epoch)  # type: ignore[union-attr]
        batches = list(loader)
        images = torch.cat([batch.image for batch in batches])
        order = torch.cat([batch.row for batch in batches]).argsort()
        assert torch.equal(images[order], loaded(rows, epoch, NOISY, 0))


def test_validation_is_not_changed(rows: pa.Table) -> None:
    place = rows.schema.get_field_index("split")
    splits = pa.array(["val"] * 4 + ["train"] * 3).cast(rows.schema.field("split").type)
    halves = rows.set_column(place, rows.schema.field("split"), splits)
    plain, noisy = (
        list(ImageDataModule(halves, TASK, INPUT, one, LoaderConfig(3, 0)).val_dataloader())
        for one in (Augment(), NOISY)
    )
    for one, other in zip(plain, noisy, strict=True):
        assert torch.equal(one.image, other.image)


@pytest.mark.parametrize("cache", [CacheConfig(images="memory"), CacheConfig(views=2)])
def test_what_changes_in_each_epoch_is_not_cached(rows: pa.Table, cache: CacheConfig) -> None:
    with pytest.raises(FaceproofError, match=r"cache\.\w+ = \w+ cannot be combined with"):
        ImageDataModule(rows, TASK, INPUT, NOISY, cache=cache)


CROPS = replace(INPUT, mode="tiles", tiles=5)


@pytest.mark.parametrize("augment", [Augment(), NOISY])
def test_training_crops_are_a_function_of_seed_epoch_and_row(
    rows: pa.Table, augment: Augment
) -> None:
    first, second = (loaded(rows, epoch, augment, 0, CROPS) for epoch in (0, 1))
    assert first.shape == (7, 3, 16, 16)
    assert not torch.equal(first, second)
    for workers in (1, 2):
        assert torch.equal(loaded(rows, 1, augment, workers, CROPS), second)


def test_training_crops_are_parts_of_the_images(rows: pa.Table) -> None:
    crops = loaded(rows, 0, Augment(), 0, CROPS)
    for path, crop in zip(rows["path"].to_pylist(), crops, strict=True):
        windows = torch.from_numpy(read_image(path).copy()).unfold(1, 16, 1).unfold(2, 16, 1)
        assert (windows == crop[:, None, None]).all(-1).all(-1).all(0).any()


@pytest.mark.parametrize("mode", ["crop", "tiles"])
def test_validation_in_training_is_of_the_middle(rows: pa.Table, mode: str) -> None:
    place = rows.schema.get_field_index("split")
    splits = pa.array(["val"] * 4 + ["train"] * 3).cast(rows.schema.field("split").type)
    halves = rows.set_column(place, rows.schema.field("split"), splits)
    how = replace(INPUT, mode=mode, tiles=5 if mode == "tiles" else None)
    images = ImageDataModule(halves, TASK, how, NOISY, LoaderConfig(3, 0))
    paths = images.val_rows["path"].to_pylist()
    found = torch.cat([batch.image for batch in images.val_dataloader()])
    wanted = [fit_image(read_image(path), 16, "bilinear", Crop()) for path in paths]
    assert torch.equal(found, torch.stack(wanted))


@pytest.mark.parametrize("cache", [CacheConfig(images="memory"), CacheConfig(views=2)])
def test_random_crops_are_not_cached(rows: pa.Table, cache: CacheConfig) -> None:
    with pytest.raises(FaceproofError, match=r"cache\.\w+ = \w+ .* model\.input\.mode=tiles"):
        ImageDataModule(rows, TASK, CROPS, cache=cache)
    flip = Augment(horizontal_flip=0.5)
    chosen = FeatureCaching.choose(True, flip, CacheConfig(views=2), False, random_crops=True)
    assert not chosen.enabled
    assert "crops the images anew" in chosen.reason
