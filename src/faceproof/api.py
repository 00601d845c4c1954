"""What a notebook needs, one call for each step; `import faceproof` brings it."""

import functools
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import expit

from faceproof import app
from faceproof.audit.audit import Audit
from faceproof.audit.audit import audit_data as audit_files
from faceproof.audit.file_statistics import file_statistics_of
from faceproof.augment.transforms import Augment
from faceproof.data.listing import DataSet
from faceproof.data.loader_config import LoaderConfig
from faceproof.data.table import select
from faceproof.errors import FaceproofError
from faceproof.evaluation.groups import unit_codes
from faceproof.evaluation.predictions import (
    called_right,
    label_numbers,
    labelled_rows,
    logits_of,
    predictions_table,
)
from faceproof.evaluation.statistics import Difference, auc_difference, share_difference
from faceproof.inference.scoring import Scoring, score
from faceproof.lookup import find
from faceproof.models.build import build_network, read_model
from faceproof.models.detector import Detector
from faceproof.models.weights import load_initial_weights
from faceproof.settings import make
from faceproof.task import Task
from faceproof.training.config import ConstantConfig
from faceproof.training.datamodule import ImageDataModule
from faceproof.training.module import DetectorModule
from faceproof.training.optimizer_config import OptimizerConfig
from faceproof.training.optimizers import make_optimizer, timm_optimizers, torch_optimizers
from faceproof.training.schedulers import make_scheduler


def list_data(name: str, /, **settings: Any) -> DataSet:
    """List the images of a data set and divide them into train, val and test.

    Args:
        name: a file of `conf/data/`, also of a `conf/` of your own in the working folder, such as
            `real_fake_folders`.
        settings: what to set of it, such as `root="my/images"` or `labels={"fotos": "real"}`.

    Returns:
        The data set; its `table` has a row for each image: path, label, split, source, generator
        and group.

    Raises:
        FaceproofError: there is no such data set or setting, or its images cannot be listed.

    Examples:
        >>> data = list_data("demo_faces", num_per_class=20)
        >>> data.table.num_rows, data.task.classes
        (40, ('non_face', 'face'))
    """
    return app.list_data(app.compose_choice("data", name, settings))


def audit_data(data: DataSet) -> Audit:
    """Read every file of a data set once, and look for what would make its metrics meaningless.

    Returns:
        The audit: `leaks`, all `findings`, and how well each property of the files, such as their
        size, tells the label by itself (`shortcuts`).

    Examples:
        >>> audit = audit_data(list_data("demo_faces", num_per_class=20))
        >>> audit.num_images, audit.leaks
        (40, ())
    """
    return audit_files(data, file_statistics_of(data.table))


def build_model(name: str, /, weights: str | None = None, **settings: Any) -> Detector:
    """Build a network, (B, 3, S, S) images in [0, 1] to (B,) logits, with its initial weights.

    Args:
        name: a file of `conf/model/`, such as `resnet18`; `timm` with `name` in the settings for
            any of timm's.
        weights: `auto`, `imagenet`, `none` or a file; see `models.weights.load_initial_weights`.
            None for what the model's file says, mostly `auto`.
        settings: what to set of it, such as `input={"size": 128}`.

    Raises:
        FaceproofError: there is no such model or setting, or its weights cannot be loaded.

    Examples:
        >>> import torch
        >>> net = build_model("face_cnn", weights="none")
        >>> net(torch.rand(2, 3, 48, 48)).shape
        torch.Size([2])
    """
    if weights is not None:
        settings["weights"] = weights
    config = read_model(app.compose_choice("model", name, settings))
    net = build_network(config)
    load_initial_weights(net, config.weights, config.swap_classes)
    return net


def make_module(
    net: Detector, lr: float = 1e-3, optimizer: str = "adamw", **settings: Any
) -> DetectorModule:
    """Wrap a network for a plain `pytorch_lightning.Trainer`; the learning rate stays as it is.

    For a schedule, freezing or calibration train by `faceproof train`, or make a `DetectorModule`.

    Args:
        net: the network.
        lr: the learning rate.
        optimizer: one of torch's or timm's, in lower case.
        settings: those of `DetectorModule`, such as `class_weights=(1.0, 2.0)`.

    Raises:
        FaceproofError: there is no such optimizer.

    Examples:
        >>> import pytorch_lightning as pl
        >>> data, net = list_data("demo_faces", num_per_class=20), build_model("face_cnn")
        >>> trainer = pl.Trainer(max_epochs=1, logger=False, enable_checkpointing=False,
        ...                      enable_progress_bar=False, enable_model_summary=False)
        >>> trainer.fit(make_module(net), make_datamodule(data, net))
        >>> "val/roc_auc" in trainer.callback_metrics
        True
    """
    find(optimizer, torch_optimizers() | timm_optimizers(), "optimizer")
    config = OptimizerConfig(optimizer, lr=lr, weight_decay=0.01)
    constant = functools.partial(make_scheduler, ConstantConfig())
    return DetectorModule(net, functools.partial(make_optimizer, config), constant, **settings)


def make_datamodule(
    data: DataSet,
    net: Detector,
    batch_size: int | str = "auto",
    augment: str = "none",
    seed: int = 0,
) -> ImageDataModule:
    """Return the training and validation images as batches for a network.

    Args:
        data: the data set; its test images are left out.
        net: says how large the images are to be.
        batch_size: images in a batch; `auto` is 32, or 16 of under 1,000 training images.
        augment: a file of `conf/augment/`, such as `flip`.
        seed: of order and augmentation.

    Raises:
        FaceproofError: there is no such augmentation.

    Examples:
        >>> data = list_data("demo_faces", num_per_class=20)
        >>> images = make_datamodule(data, build_model("face_cnn"), batch_size=4, augment="flip")
        >>> next(iter(images.train_dataloader())).image.shape
        torch.Size([4, 3, 48, 48])
    """
    transform = make(Augment, app.compose_choice("augment", augment, {}), "augment")
    loader = LoaderConfig(batch_size)
    return ImageDataModule(data.table, data.task, net.input, transform, loader, seed)


def score_data(
    net: Detector, data: DataSet, split: str = "test", batch_size: int = 64, device: str = "auto"
) -> pa.Table:
    """Score the images of a split, in float32, into a predictions table.

    Returns:
        A row for each image: those of the image table, `logit`, and `probability`, the logit's
        sigmoid; calibrate it on validation before you read it as a probability.

    Raises:
        FaceproofError: the split is empty, or an image cannot be read.

    Examples:
        >>> data = list_data("demo_faces", num_per_class=20)
        >>> predictions = score_data(build_model("face_cnn", weights="none"), data)
        >>> predictions.num_rows == data.table["split"].to_pylist().count("test")
        True
    """
    rows = select(data.table, split)
    if not rows.num_rows:
        present = sorted(set(data.table["split"].to_pylist()))
        raise FaceproofError(
            f"data set {data.name} has no image in split {split}; it has {', '.join(present)}"
        )
    logits = score(net, rows, data.task, Scoring(batch_size, device=device))
    return predictions_table(rows, logits, expit(logits))


def compare_scores(
    first: pa.Table, second: pa.Table, task: Task, threshold: float = 0.5
) -> dict[str, Difference | None]:
    """Test whether two detectors differ on the same images.

    Args:
        first: a predictions table.
        second: that of another detector.
        task: the data set's, `data.task`.
        threshold: probability from which an image is called positive.

    Returns:
        For `roc_auc` (DeLong's test) and `accuracy` (McNemar's) what the first has over the second,
        with interval and p-value; groups count as one. None where the images are too few.

    Raises:
        FaceproofError: the two scored different images.

    Examples:
        >>> data = list_data("demo_faces", num_per_class=20)
        >>> nets = [build_model("face_cnn", weights="none") for _ in range(2)]
        >>> found = compare_scores(*(score_data(net, data, "train") for net in nets), data.task)
        >>> sorted(found), 0 <= found["accuracy"].p_value <= 1
        (['accuracy', 'roc_auc'], True)
    """
    tables = [
        labelled_rows(table.take(pc.sort_indices(table["path"]))) for table in (first, second)
    ]
    if not tables[0]["path"].equals(tables[1]["path"]):
        shared = len({*tables[0]["path"].to_pylist()} & {*tables[1]["path"].to_pylist()})
        raise FaceproofError(
            f"the tables have {tables[0].num_rows:,} and {tables[1].num_rows:,} labelled images, "
            f"of which they share {shared:,}; score the same images with both detectors"
        )
    units, positive = unit_codes(tables[0]), label_numbers(tables[0], task) == 1
    logits, other_logits = map(logits_of, tables)
    right, other_right = (called_right(table, task, threshold) for table in tables)
    return {
        "roc_auc": auc_difference(logits, other_logits, positive, units),
        "accuracy": share_difference(right, other_right, units),
    }
