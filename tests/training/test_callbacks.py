"""What callbacks print and show."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from faceproof.training import callbacks
from faceproof.training.callbacks import EpochLines
from faceproof.training.module import DetectorModule
from tests.jobs import train


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def trainer(epoch, epochs):
    metrics = {"val/loss": torch.tensor(0.25), "val/roc_auc": torch.tensor(0.9), "lr": 1}
    return SimpleNamespace(
        current_epoch=epoch, max_epochs=epochs, callback_metrics=metrics, is_global_zero=True,
        num_training_batches=10,
    )  # fmt: skip


def test_a_line_an_epoch_counts_from_1_and_tells_the_time_left(clock, capsys):
    lines = EpochLines()
    lines.on_train_start(trainer(2, 5), None)  # resumed
    clock.seconds = 100.0
    lines.on_train_epoch_end(trainer(2, 5), None)
    clock.seconds = 180.0
    lines.on_train_epoch_end(trainer(3, 5), None)
    lines.on_train_epoch_end(trainer(4, 5), None)
    lines.on_train_epoch_end(trainer(4, -1), None)
    metrics = "val/loss 0.2500, val/roc_auc 0.9000"
    assert capsys.readouterr().out.splitlines() == [
        f"epoch 3 of 5: {metrics}, about 3 min left",
        f"epoch 4 of 5: {metrics}, about 90 s left",
        f"epoch 5 of 5: {metrics}",
        f"epoch 5: {metrics}",
    ]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_log_of_a_long_epoch_is_not_silent(clock, capsys, monkeypatch, terminal):
    monkeypatch.setattr(callbacks, "on_terminal", lambda: terminal)
    lines = EpochLines()
    lines.on_train_start(trainer(0, 2), None)
    lines.on_train_epoch_start(trainer(0, 2), None)
    for number in range(10):
        clock.seconds += 12.0
        lines.on_train_batch_end(trainer(0, 2), None, None, None, number)
    said = [
        "epoch 1 of 2: step 3 of 10, about 84 s left of the epoch",
        "epoch 1 of 2: step 6 of 10, about 48 s left of the epoch",
        "epoch 1 of 2: step 9 of 10, about 12 s left of the epoch",
    ]
    assert capsys.readouterr().out.splitlines() == ([] if terminal else said)


def test_a_training_that_goes_on_inside_an_epoch_does_not_start_one(clock, capsys):
    lines = EpochLines()
    lines.on_train_start(trainer(1, 2), None)
    for number in range(4, 8):
        clock.seconds += 12.0
        lines.on_train_batch_end(trainer(1, 2), None, None, None, number)
    said = "epoch 2 of 2: step 7 of 10, about 36 s left of the epoch"
    assert capsys.readouterr().out.splitlines() == [said]


@pytest.mark.parametrize("how", [(), ("mix=mixup", "mix.alpha=1.0", "optimizer=sam")])
def test_tensorboard_shows_the_images_of_the_first_step_as_the_network_sees_them(
    small_faces, tmp_path, monkeypatch, how
):
    shown, seen = [], []
    grid, step = callbacks.image_grid, DetectorModule.score_and_loss

    def image_grid(tiles, title):
        shown.extend(tiles)
        return grid(tiles, title)

    def score_and_loss(self, batch, *more):
        seen.append(batch.image.clone())
        return step(self, batch, *more)

    monkeypatch.setattr(callbacks, "image_grid", image_grid)
    monkeypatch.setattr(DetectorModule, "score_and_loss", score_and_loss)
    train(
        tmp_path / "run", "data=face_or_not", f"data.root={small_faces}", "model=face_cnn",
        "model.input.size=16", "trainer=cpu", "trainer.max_epochs=1", "loader.batch_size=8",
        "loader.num_workers=0", "logger=tensorboard", "augment=colour", "seed=2", *how,
    )  # fmt: skip
    expected = (seen[0] * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    assert len(shown) == len(expected)
    assert all(np.array_equal(tile.pixels, one) for tile, one in zip(shown, expected, strict=True))
    told = [tile.caption for tile in shown if "%" in tile.caption]
    assert bool(told) is bool(how)
    assert all("% face" in label and "% non_face" in label for label in told)
