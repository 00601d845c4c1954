import functools
import math

import pytest
import torch
from torch import nn

from faceproof.errors import FaceproofError
from faceproof.evaluation.monitor import better
from faceproof.training.optimizers import Constant, Cosine, OptimizerSettings, Plateau


@pytest.fixture
def net():
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    return nn.ModuleDict({"backbone": backbone, "head": nn.Linear(4, 1)})


def test_every_parameter_is_in_one_named_group(net):
    settings = OptimizerSettings(torch.optim.AdamW, lr=0.1, backbone_lr=0.01, weight_decay=0.5)
    optimizer = settings(net)
    groups = {group["name"]: group for group in optimizer.param_groups}
    assert list(groups) == ["backbone", "backbone_no_decay", "head", "head_no_decay"]
    held = [id(p) for group in groups.values() for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in net.parameters())
    assert [groups[name]["lr"] for name in groups] == [0.01, 0.01, 0.1, 0.1]
    assert [groups[name]["weight_decay"] for name in groups] == [0.5, 0, 0.5, 0]
    assert all(p.ndim == 1 for p in groups["backbone_no_decay"]["params"])


def test_the_backbone_has_the_head_s_rate_unless_told_otherwise(net):
    optimizer = OptimizerSettings(functools.partial(torch.optim.SGD, momentum=0.9), lr=0.3)(net)
    assert {group["lr"] for group in optimizer.param_groups} == {0.3}
    assert {group["momentum"] for group in optimizer.param_groups} == {0.9}


def rates(scheduler, steps, *losses):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = scheduler(optimizer, steps)
    found = []
    for loss in losses or [None] * steps:
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step(loss) if losses else schedule.step()
    return found


def test_cosine_rises_then_falls():
    found = rates(Cosine(warmup=0.2, floor=0.1), 10)
    expected = [0.1 + 0.9 * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert found == pytest.approx([0.5, 1.0, *expected])


def test_constant_stays():
    assert rates(Constant(), 5) == [1.0] * 5


def test_plateau_waits_patiently_then_cuts_down_to_its_least_rate():
    plateau = Plateau(factor=0.1, patience=1, min_lr=0.05)
    found = rates(plateau, 0, 3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0)
    assert found == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.05])


def test_plateau_of_a_figure_that_should_rise():
    found = rates(
        Plateau(factor=0.5, patience=0, monitor="val/roc_auc"), 0, 0.5, 0.6, 0.7, 0.6, 0.8
    )
    assert found == [1, 1, 1, 1, 0.5]


@pytest.mark.parametrize(
    ("monitor", "mode"), [("val/loss", "min"), ("val/eer", "min"), ("val/roc_auc", "max")]
)
def test_which_way_is_better(monitor, mode):
    assert better(monitor) == mode


@pytest.mark.parametrize("monitor", ["test/loss", "train/loss", "loss"])
def test_only_validation_may_choose(monitor):
    with pytest.raises(FaceproofError, match="figures of validation"):
        better(monitor)
