import math

import pytest
import torch
from torch import nn

from faceproof.training.config import ConstantConfig, CosineConfig, PlateauConfig
from faceproof.training.schedulers import make_scheduler


def rates(config, steps, *losses):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make_scheduler(config, optimizer, steps)
    found = []
    for loss in losses or [None] * steps:
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(loss) if losses else scheduler.step()
    return found


def test_cosine_rises_then_falls():
    found = rates(CosineConfig(warmup=0.2, floor=0.1), 10)
    expected = [0.1 + 0.9 * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert found == pytest.approx([0.5, 1.0, *expected])


def test_constant_stays():
    assert rates(ConstantConfig(), 5) == [1.0] * 5


def test_plateau_waits_for_its_patience_then_falls_to_its_lowest_rate():
    plateau = PlateauConfig(factor=0.1, patience=1, min_lr=0.05)
    found = rates(plateau, 0, 3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0)
    assert found == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.05])


def test_plateau_of_a_metric_that_should_rise():
    plateau = PlateauConfig(factor=0.5, patience=0, monitor="val/roc_auc")
    assert rates(plateau, 0, 0.5, 0.6, 0.7, 0.6, 0.8) == [1, 1, 1, 1, 0.5]


def test_a_schedule_of_ones_own_is_called_with_optimizer_and_steps():
    def halving(optimizer, num_steps):
        return torch.optim.lr_scheduler.StepLR(optimizer, num_steps // 2, gamma=0.5)

    assert rates(halving, 4) == [1, 1, 0.5, 0.5]
