import pytest
import timm.optim
import torch
from torch import nn

from faceproof import lookup
from faceproof.errors import FaceproofError
from faceproof.training.config import OptimizerConfig
from faceproof.training.optimizers import make_optimizer, timm_optimizers, torch_optimizers
from tests.tiny_transformers import tower


@pytest.fixture
def net():
    backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    return nn.ModuleDict({"backbone": backbone, "head": nn.Linear(4, 1)})


def test_every_parameter_is_in_one_named_group(net):
    config = OptimizerConfig("adamw", lr=0.1, backbone_lr=0.01, weight_decay=0.5)
    optimizer = make_optimizer(config, net)
    assert isinstance(optimizer, torch.optim.AdamW)
    groups = {group["name"]: group for group in optimizer.param_groups}
    assert list(groups) == ["backbone", "backbone_no_decay", "head", "head_no_decay"]
    held = [id(p) for group in groups.values() for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in net.parameters())
    assert [groups[name]["lr"] for name in groups] == [0.01, 0.01, 0.1, 0.1]
    assert [groups[name]["weight_decay"] for name in groups] == [0.5, 0, 0.5, 0]
    assert all(p.ndim == 1 for p in groups["backbone_no_decay"]["params"])


def test_the_backbone_has_the_head_s_rate_unless_it_has_its_own(net):
    optimizer = make_optimizer(OptimizerConfig("sgd", lr=0.3, options={"momentum": 0.9}), net)
    assert {group["lr"] for group in optimizer.param_groups} == {0.3}
    assert {group["momentum"] for group in optimizer.param_groups} == {0.9}


def test_with_layer_decay_each_block_learns_more_slowly_than_the_next():
    net = tower("vit")
    config = OptimizerConfig("adamw", lr=0.1, backbone_lr=0.01, layer_decay=0.5, weight_decay=0.2)
    groups = {group["name"]: group for group in make_optimizer(config, net).param_groups}
    rates = {name: group["lr"] for name, group in groups.items() if "no_decay" not in name}
    assert rates == pytest.approx(
        {"backbone_0": 0.00125, "backbone_1": 0.0025, "backbone_2": 0.005, "head": 0.1}
    )
    held = {id(one): name for name, group in groups.items() for one in group["params"]}
    assert len(held) == len(list(net.parameters()))
    named = dict(net.named_parameters())
    assert held[id(named["backbone.patch_embed.proj.weight"])] == "backbone_0"
    assert held[id(named["backbone.blocks.1.norm1.bias"])] == "backbone_2_no_decay"
    assert held[id(named["backbone.norm.weight"])] == "backbone_2_no_decay"
    assert groups["backbone_2_no_decay"]["weight_decay"] == 0


def test_timm_s_optimizers_are_known_by_name_and_torch_s_come_first(net):
    known = torch_optimizers() | timm_optimizers()
    assert set(timm.optim.list_optimizers()) <= set(known)
    assert known["adamw"] is torch.optim.AdamW
    assert type(make_optimizer(OptimizerConfig("lion", lr=0.1), net)).__name__ == "Lion"


def test_an_optimizer_of_ones_own_is_used_once_its_module_is_allowed(net, monkeypatch):
    monkeypatch.setattr(lookup, "_allowed", set())
    config = OptimizerConfig("torch.optim.sgd.SGD", lr=0.1)
    with pytest.raises(FaceproofError, match=r"allow it: --allow torch\.optim\.sgd with any"):
        make_optimizer(config, net)
    lookup.allow(["torch.optim"])
    assert isinstance(make_optimizer(config, net), torch.optim.SGD)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adamm", {}, "optimizer.name = 'adamm' is not known; did you mean adam"),
        ("sgd", {"momentum": -1}, "the optimizer cannot be made: Invalid momentum"),
        ("sgd", {"speed": 1}, "the optimizer cannot be made: .*speed"),
    ],
)
def test_what_cannot_be_made_is_refused(net, name, options, message):
    with pytest.raises(FaceproofError, match=message):
        make_optimizer(OptimizerConfig(name, lr=0.1, options=options), net)
