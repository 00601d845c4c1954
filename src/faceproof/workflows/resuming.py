"""A run that is resumed: the images, the schedule and the faces that it began with.

What would make another run of it is refused.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytorch_lightning as pl

from faceproof.augment.donors import Ovals
from faceproof.data.listing import DataSet
from faceproof.data.run_tables import recorded_data
from faceproof.data.table import write_table
from faceproof.errors import FaceproofError
from faceproof.io.parquet import read_parquet
from faceproof.io.run_folder import RunFolder, flatten, is_first_process
from faceproof.io.stamps import digest_of
from faceproof.training.checkpoints import check_batches, read_place
from faceproof.training.config import CosineConfig, TrainConfig
from faceproof.training.datamodule import ImageDataModule
from faceproof.training.schedulers import (
    Cycles,
    describe_change,
    describe_steps,
    plan_cycles,
    read_cycles,
)
from faceproof.training.trainer import divides_weights

log = logging.getLogger(__name__)

# Options of the trainer, besides its epochs, by which the number of optimizer steps changes.
OF_STEPS = ("accumulate_grad_batches", "devices", "num_nodes")
# Of faces.parquet: each real training image, and the three points of its face's oval as shares of
# the image's sides (`augment.self_blending.Oval`); all NaN where the face is not known.
OVAL = ("centre_x", "centre_y", "right_x", "right_y", "down_x", "down_y")
FACES_SCHEMA = pa.schema([("path", pa.string()), *((name, pa.float32()) for name in OVAL)])


@dataclass(frozen=True)
class RecordedData:
    """The data set of a run to resume: the very same images."""

    run: RunFolder

    def list(self) -> DataSet:
        """Return what the run recorded."""
        return recorded_data(self.run)


def plan_schedule(home: RunFolder, last: Path, config: TrainConfig, now: dict[str, int]) -> Cycles:
    """Return the cycles of a resumed run's schedule, which follow the plan it began with."""
    recorded, num_epochs = flatten(home.read_config()), now["trainer.max_epochs"]
    now |= {f"trainer.{name}": config.trainer[name] for name in OF_STEPS if name in config.trainer}
    if (words := describe_steps(config.scheduler, recorded, now)) and is_first_process():
        log.warning("%s", words)
    before = recorded.get("trainer.max_epochs", num_epochs)
    earlier = read_cycles(home.read_record().get("schedule", [[0, before]]), str(home.record))
    if not isinstance(config.scheduler, CosineConfig):
        return earlier
    epoch, _ = read_place(last)
    cycles = plan_cycles(earlier, num_epochs, epoch + 1, config.scheduler.more_epochs)
    if cycles[-1][1] != num_epochs and is_first_process():
        log.warning("%s", describe_change(config.scheduler, cycles, num_epochs))
    return cycles


def check_resumable(last: Path, trainer: pl.Trainer, images: ImageDataModule) -> None:
    """Refuse to resume where the result would not be that of an uninterrupted run."""
    if trainer.max_steps != -1:  # Lightning ends a whole epoch a second time then
        what = "a run that trainer.max_steps limits cannot be resumed exactly"
        raise FaceproofError(f"{what}; use trainer.max_epochs from the start")
    if divides_weights(trainer):
        raise FaceproofError(
            "a run with trainer.strategy=fsdp cannot be resumed: the state of its optimizer is "
            "divided otherwise; train it anew, in one go"
        )
    check_batches(last, images.batch_size, trainer.world_size, images.loader.sampler)


def store_faces(run: RunFolder, images: ImageDataModule) -> str | None:
    """Store where the faces of the real images are, and return the digest of the file.

    What a pseudo-fake is depends on it, and neither the landmarks beside the images nor a face
    detector's answers stay the same for ever. None is for no faces: without pseudo-fakes, or where
    each is in the place of a portrait.
    """
    if images.ovals is None:
        run.faces.unlink(missing_ok=True)
        return None
    columns = dict(zip(OVAL, images.ovals.T, strict=True))
    table = pa.table({"path": images.real_rows["path"].cast(pa.string()), **columns})
    write_table(table.cast(FACES_SCHEMA), run.faces)
    return digest_of(run.faces)


def restore_faces(run: RunFolder, images: ImageDataModule) -> None:
    """Let pseudo-fakes be made by the faces that a run began with.

    Raises:
        FaceproofError: the file that holds them is gone, or is another.
    """
    if images.synthesised is None:
        return
    record = run.read_record()
    if "faces" not in record:
        log.warning(
            "this run was begun by an earlier version, which did not store where the faces are "
            "(synthesis.faces): they are looked up again, and if they are not the same, the "
            "pseudo-fakes of the epochs to come are others"
        )
        return
    images.ovals = None if record["faces"] is None else _read_faces(run, record["faces"], images)


def _read_faces(run: RunFolder, digest: str, images: ImageDataModule) -> Ovals:
    if not run.faces.is_file() or digest_of(run.faces) != digest:
        what = "is not the file that this run began with" if run.faces.is_file() else "is gone"
        raise FaceproofError(
            f"{run.faces} {what}; it says where the faces are that the pseudo-fakes are made of, "
            "so that the run would go on with others: put it back, or train anew"
        )
    table = read_parquet(run.faces, FACES_SCHEMA)
    if table["path"].to_pylist() != images.real_rows["path"].to_pylist():
        raise FaceproofError(
            f"{run.faces} is not of the real training images in {run.samples}; copy the run again "
            "from where it is whole, or train anew"
        )
    return np.stack([table[name].to_numpy() for name in OVAL], axis=1)
