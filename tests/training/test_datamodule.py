"""The LightningDataModule: what it gives out with `loader.sampler=paired`."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from faceproof.data.loader_config import LoaderConfig
from faceproof.data.table import table_from_columns
from faceproof.errors import FaceproofError
from faceproof.models.detector import ImageInput
from faceproof.task import get_task
from faceproof.training.datamodule import ImageDataModule
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
