import subprocess
import sys

import pytest
import timm.optim
import torch
from torch import nn

from faceproof import lookup
from faceproof.errors import FaceproofError
from faceproof.training import optimizer_config
from faceproof.training.optimizer_config import OptimizerConfig, check_name
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


def test_names_are_told_apart_without_importing_torch_or_timm():
    for name in torch_optimizers() | timm_optimizers():
        check_name(name)
    check_name("my_package.MyOptimizer")  # of the user's own: its module says what is there
    for name, meant in (("adamww", "adamw"), ("sdg", "sgd"), ("LION", "")):
        hint = f"did you mean {meant}" if meant else "choose one of"
        with pytest.raises(
            FaceproofError, match=rf"optimizer\.name = '{name}' is not known; {hint}"
        ):
            check_name(name)
    code = "import sys\nfrom faceproof.training.optimizer_config import check_name\n"
    code += "check_name('adamw')\nprint({'torch', 'timm'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"


def test_code_that_does_not_look_as_it_should_refuses_nothing_early(monkeypatch):
    monkeypatch.setattr(optimizer_config, "_source", lambda package, file: "")
    assert check_name("adamww") is None


def test_with_layer_decay_a_branch_of_ones_own_learns_as_the_first_block():
    net = tower("vit")
    net.branch = nn.Module()
    net.branch.backbone = None
    net.branch.filter = nn.Conv2d(3, 3, 1)
    config = OptimizerConfig("sgd", lr=0.1, layer_decay=0.5)
    held = {
        id(one): group for group in make_optimizer(config, net).param_groups
        for one in group["params"]
    }  # fmt: skip
    weight, bias = (held[id(one)] for one in net.branch.filter.parameters())
    assert (weight["name"], bias["name"]) == ("backbone_0", "backbone_0_no_decay")
    assert weight["lr"] == held[id(net.backbone.patch_embed.proj.weight)]["lr"] == 0.1 * 0.5**3
    assert len(held) == len(list(net.parameters()))
