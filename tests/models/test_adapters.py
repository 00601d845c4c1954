"""Low-rank adapters on the towers of timm that people adapt: exact at first, small, mergeable."""

import copy

import pytest
import torch
from torch import nn

from faceproof.errors import FaceproofError
from faceproof.models import parameter_blocks
from faceproof.models.adapters import (
    add_adapters,
    free_parameters,
    merge_adapters,
    merged_weights,
    norm_parameters,
)
from tests.small_networks import resnet, same, small
from tests.tiny_transformers import SIDE, TOWERS, tower

IMAGES = torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def learn(net):
    """Take three steps of what may train."""
    free = free_parameters(net)
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name in free)
    optimizer = torch.optim.SGD([one for one in net.parameters() if one.requires_grad], lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        net(IMAGES).sigmoid().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", TOWERS)
def test_a_tower_learns_by_its_adapters_alone_and_has_plain_weights_in_the_end(name):
    net, untouched = tower(name), tower(name)
    before = net(IMAGES)
    add_adapters(net, rank=4, alpha=8.0, layers="attn")
    assert torch.equal(net(IMAGES), before)  # they begin as nothing
    blocks = parameter_blocks(net)
    frozen = copy.deepcopy(net.state_dict())
    learn(net)
    moved = {key for key, value in net.state_dict().items() if not torch.equal(value, frozen[key])}
    adapters = {key for key in frozen if key.endswith((".up", ".down"))}
    assert moved <= adapters | {"head.logit.linear.weight", "head.logit.linear.bias"}
    assert {key for key in adapters if key.endswith(".up")} <= moved
    for block in (1, 2):  # each block of attention has some: no weight is read around them
        assert adapters & set(blocks[block])
    after = net(IMAGES)
    assert not torch.allclose(after, before)
    untouched.load_state_dict(merged_weights(net, net.state_dict()))
    torch.testing.assert_close(untouched(IMAGES), after, rtol=0, atol=1e-6)
    assert not torch.equal(net.state_dict()[sorted(adapters)[0]], torch.zeros(()))  # still adapted
    assert same(merge_adapters(net), untouched)


def test_what_is_added_is_of_the_rank_and_is_scaled():
    net = tower("vit")
    own = net.backbone.blocks[0].attn.qkv.weight.detach().clone()
    add_adapters(net, rank=2, alpha=6.0, layers=r"blocks\.0\.attn\.qkv")
    adapter = net.backbone.blocks[0].attn.qkv.parametrizations.weight[0]
    with torch.no_grad():
        adapter.up.normal_()
    added = net.backbone.blocks[0].attn.qkv.weight - own
    torch.testing.assert_close(added, 3.0 * adapter.up @ adapter.down)
    assert torch.linalg.matrix_rank(added) == 2
    assert sum(name.endswith(".up") for name in free_parameters(net)) == 1


@pytest.mark.parametrize(
    ("net", "layers", "message"),
    [
        (lambda: small(0), "attn", "none of this backbone's 0 linear layers. Low-rank adapters"),
        (lambda: tower("vit"), "ffn", "none of this backbone's 8 linear layers; it has .*mlp.fc2"),
        (lambda: tower("vit"), "head", "matches none"),
        (lambda: tower("vit"), "attn(", "is no pattern"),
    ],
)
def test_layers_that_are_not_there_are_refused(net, layers, message):
    with pytest.raises(FaceproofError, match=message):
        add_adapters(net(), 2, 4.0, layers)


def test_the_weights_of_normalisation_are_found_whatever_its_class():
    nets = [resnet(0), *(tower(name) for name in TOWERS)]
    for net in nets:
        found = norm_parameters(net)
        modules = dict(net.named_modules())
        kinds = {type(modules[name.rpartition(".")[0]]) for name in found}
        assert all(issubclass(kind, nn.BatchNorm2d | nn.LayerNorm) for kind in kinds)
        known = {name for name, one in modules.items() if isinstance(one, tuple(kinds))}
        assert known - {name.rpartition(".")[0] for name in found} <= {"backbone.norm_pre"}
