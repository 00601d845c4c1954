"""Costs, checked against sums by hand and the figures that are published of an architecture."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from faceproof.errors import FaceproofError
from faceproof.models import cost
from faceproof.models.backbones import timm_backbone
from faceproof.models.detector import Detector, ImageInput
from faceproof.models.devices import pick_device
from faceproof.models.heads import LinearHead

INPUT = ImageInput(8, (0.5,) * 3, (0.5,) * 3, "bilinear")


class Backbone(nn.Module):
    num_features = 4

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(images)).mean((2, 3))


class Head(nn.Linear):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return super().forward(features)[:, 0]


def small_net(size: int = 8) -> Detector:
    return Detector(Backbone(), lambda features: Head(features, 1), ImageInput(
        size, INPUT.mean, INPUT.std, INPUT.interpolation
    ))  # fmt: skip


def test_parameters_and_multiply_adds_by_hand() -> None:
    net = small_net()
    assert cost.count_parameters(net) == (3 * 9 * 4 + 4) + 8 + 5
    assert cost.count_multiply_adds(net) == 4 * 4 * 4 * 27 + 4
    assert cost.count_multiply_adds(small_net(16)) == 8 * 8 * 4 * 27 + 4
    net.requires_grad_(False)
    assert cost.count_parameters(net) == 125


def test_crops_and_mirror_images_cost_what_they_are() -> None:
    tiled = small_net()
    tiled.input = replace(tiled.input, mode="tiles", tiles=5, tta="flip")
    assert cost.count_multiply_adds(tiled) == 10 * cost.count_multiply_adds(small_net())


@pytest.mark.parametrize(
    ("name", "billions"), [("resnet18", 1.814), ("vit_base_patch16_224", 17.56)]
)
def test_multiply_adds_are_those_published(name: str, billions: float) -> None:
    """1.814 and 17.56: torchvision's GFLOPS, which count a multiply-add once."""
    backbone = timm_backbone(name)
    size = ImageInput(224, INPUT.mean, INPUT.std, INPUT.interpolation)
    net = Detector(backbone, lambda features: LinearHead(features), size)
    # Its thousand classes are one less here.
    assert cost.count_multiply_adds(net) / 1e9 == pytest.approx(billions, rel=0.002)


def test_counting_leaves_the_network_as_it_is() -> None:
    net = small_net().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    cost.count_multiply_adds(net)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_timing_takes_turns_and_gives_a_median_between_its_quartiles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nets, turns = [small_net(), small_net(16)], []

    def seconds(net: Detector, images: torch.Tensor, device: torch.device) -> float:
        assert images.shape == (4, 3, net.input.size, net.input.size)
        assert not net.training
        turns.append(nets.index(net))
        return 0.4 * (nets.index(net) + 1)

    monkeypatch.setattr(cost, "_seconds", seconds)
    found = cost.time_networks(nets, "cpu", batch_size=4, seconds=0)
    assert turns == [0, 1] * (1 + cost.MIN_ROUNDS)
    assert [timing.median for timing in found] == pytest.approx([100, 200])


def test_the_clock_runs() -> None:
    (timing,) = cost.time_networks([small_net()], "cpu", batch_size=2, seconds=0)
    assert 0 < timing.low <= timing.median <= timing.high


def test_a_device_that_is_not_there_is_refused() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert cost.device_name(torch.device("cpu")).startswith("CPU (")
    with pytest.raises(FaceproofError, match="'abacus' cannot be used"):
        pick_device("abacus")
