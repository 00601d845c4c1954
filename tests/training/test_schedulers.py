import math

import pytest
import torch
from torch import nn

from faceproof.errors import FaceproofError
from faceproof.training.config import ConstantConfig, CosineConfig, PlateauConfig
from faceproof.training.schedulers import (
    describe_change,
    describe_steps,
    make_scheduler,
    plan_cycles,
    read_cycles,
)


def rates(config, steps, *losses, **options):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make_scheduler(config, optimizer, steps, **options)
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


def test_more_epochs_keep_the_end_of_the_planned_cosine():
    config = CosineConfig(warmup=0.2, floor=0.1)
    found = rates(config, 15, cycles=((0, 10 / 15),))
    assert found[:10] == rates(config, 10)
    assert found[10:] == pytest.approx([0.1] * 5)


def test_a_warm_restart_is_the_schedule_of_the_added_epochs():
    config = CosineConfig(warmup=0.2, floor=0.1)
    found = rates(config, 25, cycles=((0, 10 / 25), (15 / 25, 1)))
    assert found[:10] == found[15:] == rates(config, 10)
    assert found[10:15] == pytest.approx([0.1] * 5)


@pytest.mark.parametrize(
    ("more", "max_epochs", "next_epoch", "expected"),
    [
        ("keep", 30, 20, ((0, 20),)),
        ("keep", 10, 5, ((0, 20),)),
        ("restart", 30, 20, ((0, 20), (20, 30))),
        ("restart", 40, 5, ((0, 20), (20, 40))),  # the first is not over yet
        ("restart", 40, 30, ((0, 20), (30, 40))),  # ten epochs kept the last rate
        ("restart", 10, 5, ((0, 20),)),
        ("restart", 20, 5, ((0, 20),)),
        ("stretch", 30, 20, ((0, 30),)),
        ("stretch", 10, 5, ((0, 10),)),
    ],
)
def test_the_plan_of_a_resumed_run(more, max_epochs, next_epoch, expected):
    planned = plan_cycles(((0, 20),), max_epochs, next_epoch, more)
    assert planned == expected
    assert plan_cycles(planned, max_epochs, next_epoch + 1, more) == planned  # killed, and again


def test_what_a_resumed_schedule_does_is_said():
    words = describe_change(CosineConfig(), ((0, 20),), 30)
    assert "planned for 20 epochs" in words
    assert "which is 0 and so changes no weight" in words
    assert "scheduler.more_epochs=restart" in words
    assert "0.1 times the highest" in describe_change(CosineConfig(floor=0.1), ((0, 20),), 30)
    assert "ends before" in describe_change(CosineConfig(), ((0, 20),), 10)


def test_other_steps_in_a_resumed_run_are_said():
    before = {"loader.batch_size": 4, "trainer.max_epochs": 2, "model.name": "x"}
    now = {"loader.batch_size": 8, "trainer.max_epochs": 2}
    words = describe_steps(CosineConfig(), before, now)
    assert "loader.batch_size is 8 and was 4" in words
    assert "the learning rate jumps" in words
    assert describe_steps(CosineConfig(), before, before | {"trainer.max_epochs": 9}) is None
    assert describe_steps(CosineConfig(), before, {"loader.batch_size": 4}) is None
    for steady in (PlateauConfig(), ConstantConfig()):
        assert describe_steps(steady, before, now) is None
    own = describe_steps(lambda optimizer, steps: None, before, {"trainer.max_epochs": 9})
    assert "trainer.max_epochs is 9 and was 2: the schedule of your own is made anew" in own


@pytest.mark.parametrize("found", [None, {}, [], [[0]], [[5, 5]], [[0, 9], [4, 12]], [["0", 9]]])
def test_a_recorded_schedule_that_is_none_is_refused(found):
    with pytest.raises(FaceproofError, match=r"a list of \[first epoch, end\]"):
        read_cycles(found, "record.json")
    assert read_cycles([[0, 20], [25, 30]], "record.json") == ((0, 20), (25, 30))
