"""The gradient of a step is that of the place nearby where the loss is higher."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from faceproof.training.sharpness import Sharpness

IMAGES = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(2))
LABELS = torch.tensor([0.0, 1, 0, 1, 1, 0])


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 1)
    )


def loss_of(net):
    return F.binary_cross_entropy_with_logits(net(IMAGES).flatten().float(), LABELS)


def test_the_weights_move_by_rho_along_the_gradient_and_come_back():
    net, reference = network(), network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    loss_of(reference).backward()
    grads = torch.cat([one.grad.flatten() for one in reference.parameters()])
    sharpness = Sharpness(net, rho=0.3)
    low = loss_of(net)
    sharpness.ascend(low)
    own = torch.cat([before[name].flatten() for name, _ in net.named_parameters()])
    way = torch.cat([one.detach().flatten() for one in net.parameters()]) - own
    torch.testing.assert_close(way, 0.3 * grads / grads.norm(), atol=1e-6, rtol=1e-4)
    assert all(one.grad is None for one in net.parameters())  # the step's own is still to come
    high = loss_of(net)
    assert high > low
    high.backward()
    sharpness.descend()
    buffers = dict(net.named_buffers())
    assert buffers["1.num_batches_tracked"] == 1  # statistics are those of the first pass
    assert torch.equal(buffers["1.running_mean"], dict(reference.named_buffers())["1.running_mean"])
    for name, parameter in net.named_parameters():
        assert torch.equal(parameter, before[name]), name
    found = torch.cat([one.grad.flatten() for one in net.parameters()])
    assert not torch.allclose(found, grads)


@pytest.mark.parametrize("reduced", [False, True], ids=["float32", "bfloat16"])
def test_the_second_pass_sees_the_moved_weights_in_lower_precision_too(reduced):
    """Autocast would take the copies of the weights that it has made in the first pass."""
    net = network()
    lower = torch.autocast("cpu", torch.bfloat16) if reduced else nullcontext()
    with lower:
        first = loss_of(net)
        Sharpness(net, rho=1.0).ascend(first)
        assert loss_of(net) > first + 0.1


def test_what_is_frozen_stays():
    net = network()
    net[0].requires_grad_(False)
    frozen, trained = net[0].weight.clone(), net[4].weight.clone()
    Sharpness(net, rho=0.3).ascend(loss_of(net))
    assert torch.equal(net[0].weight, frozen)
    assert not torch.equal(net[4].weight, trained)
