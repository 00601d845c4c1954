"""What training asks of the device between two steps: each answer is waited for, on a GPU for long.

There is no GPU here; what is asked of a CPU would be asked of it.
"""

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import Callback
from torch.utils._python_dispatch import TorchDispatchMode

from faceproof.augment.transforms import Augment
from faceproof.data import FolderData
from faceproof.data.loader_config import LoaderConfig
from faceproof.models.backbones import face_cnn_backbone
from faceproof.models.detector import Detector, ImageInput
from faceproof.models.heads import HiddenHead
from faceproof.training.callbacks import BoardImages, ImageRate, ProgressBar
from faceproof.training.config import ConstantConfig
from faceproof.training.datamodule import ImageDataModule
from faceproof.training.finite import LossWatch
from faceproof.training.loggers import EpochTable, TensorBoard
from faceproof.training.module import DetectorModule
from faceproof.training.optimizer_config import OptimizerConfig
from faceproof.training.optimizers import make_optimizer
from faceproof.training.schedulers import make_scheduler
from faceproof.training.trainer import make_trainer

ASKING = (
    "_local_scalar_dense", "nonzero", "is_nonzero", "equal", "unique", "_linalg_check_errors",
)  # fmt: skip
EVERY = 5


class Questions(TorchDispatchMode):
    """Counts what a GPU would have to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.number += func.overloadpacket.__name__ in ASKING
        return func(*args, **kwargs or {})


class Count(Callback):
    """Notes how often each step has asked."""

    def __init__(self, questions: Questions) -> None:
        self.questions = questions
        self.before = 0
        self.of_steps: list[int] = []

    def on_train_batch_start(self, *args: Any) -> None:
        self.of_steps.append(self.questions.number - self.before)
        self.before = self.questions.number


@pytest.mark.filterwarnings("ignore:.*(LeafSpec|does not have many workers)")  # see fit.py
def test_a_step_that_is_not_logged_asks_for_nothing(
    small_faces: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    # Of a GPU it asks for what has come to the CPU; see test_finite.py.
    monkeypatch.setattr(LossWatch, "check", lambda self: None)
    words = {"faces": "face", "non-faces": "non_face"}
    data = FolderData("small", "face", str(small_faces), "*/{label}/*", words).list()
    how = ImageInput(12, (0, 0, 0), (1, 1, 1), "bilinear")
    net = Detector(face_cnn_backbone(12), lambda features: HiddenHead(features, 8), how)
    questions = Questions()
    count = Count(questions)
    with (tmp_path / "bar").open("w") as drawn:
        bar = ProgressBar(file=drawn, force_terminal=True)
        bar.pause = 1e9  # it is brought up to date at the start and the end
        options = {
            "accelerator": "cpu", "precision": "32-true", "max_epochs": 1,
            "log_every_n_steps": EVERY, "limit_val_batches": 0, "enable_checkpointing": False,
        }  # fmt: skip
        trainer, _ = make_trainer(
            options, default_root_dir=tmp_path,
            logger=[EpochTable(tmp_path / "metrics.csv"), TensorBoard(tmp_path)],
            callbacks=[ImageRate(), BoardImages(data.task), bar, count],
        )  # fmt: skip
        module = DetectorModule(
            net,
            functools.partial(make_optimizer, OptimizerConfig("sgd", 0.01)),
            functools.partial(make_scheduler, ConstantConfig()),
            (1.0, 2.0),
        )
        augment = Augment(horizontal_flip=0.5, rotation=10, brightness=0.2, saturation=0.2)
        with questions:
            trainer.fit(
                module, ImageDataModule(data.table, data.task, net.input, augment, LoaderConfig(1))
            )
    assert "train/loss_step" in (tmp_path / "bar").read_text()
    shown = (tmp_path / "bar").read_text()
    assert "epoch 1 of 1" in shown
    assert "epoch 2 of 1" not in shown
    assert "Epoch 0" not in (tmp_path / "bar").read_text()
    asked = count.of_steps[1:]  # by the steps 0, 1, 2, ..
    assert len(asked) > 3 * EVERY
    logged = asked[EVERY - 1 :: EVERY]
    assert min(logged) > 0  # so a question is seen where one is asked
    assert sum(asked) - sum(logged) == asked[0]  # where the bar is drawn for the first time
    assert torch.is_tensor(trainer.callback_metrics["train/loss"])
