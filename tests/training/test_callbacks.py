"""What callbacks print."""

from types import SimpleNamespace

import pytest
import torch

from faceproof.training import callbacks
from faceproof.training.callbacks import EpochLines


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
