"""The LightningDataModule: what it gives out in pairs, and changed in the loader."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from faceproof.augment.synthesis_config import SynthesisConfig
from faceproof.augment.transforms import Augment
from faceproof.augment.web import WebAugment
from faceproof.data.datasets import Batch
from faceproof.data.image_io import read_image
from faceproof.data.loader_config import CacheConfig, LoaderConfig
from faceproof.data.model_input import Crop, fit_image
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.models.detector import ImageInput
from faceproof.task import get_task
from faceproof.training.datamodule import FeatureCaching, ImageDataModule
from faceproof.training.loss_config import ClassBalancedConfig
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


SYNTHESIS = SynthesisConfig(0.5, ("self_blended", "reconstructed"))


def synthesised(
    rows: pa.Table, epoch: int = 0, workers: int = 0, sampler: str = "shuffled",
    augment: Augment | None = None, share: float = 0.5, kinds: tuple[str, ...] = SYNTHESIS.kinds,
) -> tuple[ImageDataModule, list[Batch]]:  # fmt: skip
    """Return the data module and the batches of an epoch with pseudo-fakes."""
    how = LoaderConfig(4, workers, sampler)
    config = replace(SYNTHESIS, share=share, kinds=kinds)
    images = ImageDataModule(rows, TASK, INPUT, augment, how, seed=2, synthesis=config)
    loader = images.train_dataloader()
    loader.batch_sampler.sampler.set_epoch(epoch)  # type: ignore[union-attr]
    return images, list(loader)


@pytest.mark.parametrize("sampler", ["shuffled", "paired", "balanced"])
def test_half_of_every_batch_are_pseudo_fakes_beside_their_images(
    rows: pa.Table, sampler: str
) -> None:
    images, batches = synthesised(rows, sampler=sampler)
    names, paths = images.train_rows["generator"].to_pylist(), images.train_rows["path"].to_pylist()
    for batch in batches[:-1]:
        twos = batch.row.view(-1, 2)
        made = [(fake, beside) for fake, beside in twos.tolist() if fake >= rows.num_rows]
        assert len(made) == 1
        for fake, beside in made:
            assert names[fake] in SYNTHESIS.kinds
            assert (paths[fake], names[beside]) == (paths[beside], None)
    labels = torch.cat([batch.label for batch in batches])
    expected = images.train_rows["label"].take(torch.cat([one.row for one in batches]).tolist())
    assert [TASK.classes[label] for label in labels] == expected.to_pylist()
    assert images.val_rows.num_rows == 0


def test_pseudo_fakes_are_the_same_with_any_number_of_workers(rows: pa.Table) -> None:
    found = []
    for epoch in (0, 1):
        _, alone = synthesised(rows, epoch, 0, augment=NOISY)
        _, by_two = synthesised(rows, epoch, 2, augment=NOISY)
        for one, other in zip(alone, by_two, strict=True):
            assert torch.equal(one.image, other.image)
            assert torch.equal(one.row, other.row)
        found.append(alone)
    assert not all(torch.equal(a.image, b.image) for a, b in zip(*found, strict=True))


def test_a_pseudo_fake_suffers_what_the_image_beside_it_does(rows: pa.Table) -> None:
    def equal_pixels(augment: Augment) -> list[float]:
        _, batches = synthesised(rows, augment=augment, share=1, kinds=("self_blended",))
        twos = [batch.image.view(-1, 2, 3, 16, 16) for batch in batches]
        return [(two[:, 0] == two[:, 1]).float().mean().item() for two in twos]

    # The noise of 20 grey levels would leave some hundredths of the pixels alike.
    assert min(equal_pixels(NOISY)) > 0.1
    assert max(equal_pixels(replace(NOISY, same_in_pairs=False))) < 0.1


def test_two_of_a_pair_are_flipped_alike(rows: pa.Table) -> None:
    class InTraining:
        """What Lightning's trainer says while it trains."""

        training, current_epoch, global_rank, world_size = True, 0, 0, 1

    def flips(same: bool, how: LoaderConfig, synthesis: SynthesisConfig | None) -> torch.Tensor:
        augment = Augment(horizontal_flip=0.5, same_in_pairs=same)
        images = ImageDataModule(rows, TASK, INPUT, augment, how, synthesis=synthesis)
        images.trainer = InTraining()  # type: ignore[assignment]
        row = torch.randperm(64, generator=torch.Generator().manual_seed(0))
        ramp = torch.arange(16, dtype=torch.uint8).expand(64, 3, 16, 16)
        found = images.on_after_batch_transfer(Batch(ramp, torch.zeros(64), row), 0)
        assert isinstance(found, Batch)
        return found.image[:, 0, 0, 0] > 0.01

    alone = flips(True, LoaderConfig(4, 0), None)  # each by its own row
    for given, first in (((PAIRED, None), 0), ((LoaderConfig(4, 0), SYNTHESIS), 7)):
        together, by_row = flips(True, *given).view(-1, 2), alone.view(-1, 2)
        assert 4 < together[:, 0].sum() < 28
        in_pair = torch.randperm(64, generator=torch.Generator().manual_seed(0))[::2] >= first
        assert torch.equal(together[in_pair, 0], together[in_pair, 1])
        assert torch.equal(together[~in_pair], by_row[~in_pair])
        assert torch.equal(flips(False, *given), alone)
        assert not torch.equal(by_row[:, 0], by_row[:, 1])


def test_weights_count_pseudo_fakes_as_often_as_they_come(rows: pa.Table) -> None:
    images, batches = synthesised(rows)
    labels = torch.cat([batch.label for batch in batches])
    assert len(labels) == 16  # 7 given images, of which one comes twice, and 4 pairs
    expected = [len(labels) / (2 * int((labels == number).sum())) for number in (0, 1)]
    assert images.class_weights("balanced") == pytest.approx(expected)
    alone, _ = synthesised(rows, share=1)
    assert alone.class_weights("balanced") == (1, 1)


def test_pseudo_fakes_in_batches_of_one_are_refused(rows: pa.Table) -> None:
    with pytest.raises(FaceproofError, match=r"= 1 has no room for a pair \(synthesis\)"):
        ImageDataModule(rows, TASK, INPUT, loader=LoaderConfig(1), synthesis=SYNTHESIS)


@pytest.mark.parametrize("cache", [CacheConfig(images="disk"), CacheConfig(views=2)])
def test_pseudo_fakes_are_not_cached(rows: pa.Table, cache: CacheConfig) -> None:
    flip = Augment(horizontal_flip=0.5)
    with pytest.raises(FaceproofError, match="cannot be combined with synthesis, which makes"):
        ImageDataModule(rows, TASK, INPUT, flip, cache=cache, synthesis=SYNTHESIS)
    chosen = FeatureCaching.choose(
        True, Augment(), CacheConfig(), False, "every epoch makes other pseudo-fakes"
    )
    assert (chosen.enabled, chosen.reason) == (
        False, "not cached, because every epoch makes other pseudo-fakes"
    )  # fmt: skip


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
    assert "crops the images anew" in str(ImageDataModule(rows, TASK, CROPS).against_caching)


def test_what_changes_the_features_in_each_epoch_is_against_caching(rows: pa.Table) -> None:
    flip, plain = Augment(horizontal_flip=0.5), LoaderConfig(4, 0)
    assert ImageDataModule(rows, TASK, INPUT, flip, plain).against_caching is None
    made = ImageDataModule(rows, TASK, INPUT, flip, plain, synthesis=SYNTHESIS)
    assert made.against_caching == "every epoch makes other pseudo-fakes"
    # Cached features would be augmented each for itself, and images of a pair are not.
    paired = ImageDataModule(rows, TASK, INPUT, flip, PAIRED)
    assert "augmented as the original beside it" in str(paired.against_caching)
    for augment in (replace(flip, same_in_pairs=False), Augment()):
        assert ImageDataModule(rows, TASK, INPUT, augment, PAIRED).against_caching is None


def test_pseudo_fakes_are_in_no_count_of_images(rows: pa.Table) -> None:
    half, alone = (
        ImageDataModule(rows, TASK, INPUT, synthesis=replace(SYNTHESIS, share=share))
        for share in (0.5, 1)
    )
    assert half.shown_rows.num_rows == rows.num_rows
    assert alone.shown_rows["label"].unique().to_pylist() == [TASK.negative]
    how = ClassBalancedConfig()
    assert half.class_weights(how) == ImageDataModule(rows, TASK, INPUT).class_weights(how)
