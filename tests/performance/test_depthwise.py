"""Depthwise convolutions in bfloat16: the same answers and names, gradients as exact or more so."""

import copy

import pytest
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn

from faceproof.performance.depthwise import QuickDepthwise, quicken_depthwise

CASES = [
    nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16),
    nn.Conv2d(16, 16, 5, padding=2, groups=16, bias=False),
    nn.Conv2d(16, 16, (3, 5), stride=(1, 2), padding=(1, 2), groups=16),
    nn.Conv2d(8, 24, 5, stride=2, padding=4, dilation=2, groups=8),
    Conv2dSame(16, 16, 5, stride=2, groups=16),
]


def trained(layer: nn.Conv2d, images: Tensor, kind: torch.dtype) -> dict[str, Tensor]:
    """Return answer and gradients under autocast to a kind of number."""
    images = images.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == torch.bfloat16):
        answer = layer(images)
    layer.zero_grad()
    generator = torch.Generator().manual_seed(1)
    answer.backward(torch.randn(answer.shape, generator=generator).to(answer.dtype))
    gradients = {name: parameter.grad for name, parameter in layer.named_parameters()}
    return {"answer": answer.detach().float(), "images": images.grad, **gradients}


def distance(found: Tensor, true: Tensor) -> float:
    return float((found - true).norm() / true.norm())


@pytest.mark.parametrize("layer", CASES, ids=str)
def test_answers_are_the_same_and_gradients_as_exact(layer: nn.Conv2d) -> None:
    layer = copy.deepcopy(layer)
    images = torch.randn(2, layer.in_channels, 17, 18).to(memory_format=torch.channels_last)
    names = list(layer.state_dict())
    true = trained(layer, images, torch.float32)
    plain = trained(layer, images, torch.bfloat16)
    assert quicken_depthwise(nn.Sequential(layer)) == 1
    assert list(layer.state_dict()) == names
    quick = trained(layer, images, torch.bfloat16)
    assert torch.equal(quick["answer"], plain["answer"])
    for name, gradient in quick.items():
        assert gradient.dtype == torch.float32
        assert distance(gradient, true[name]) <= 1.05 * distance(plain[name], true[name]) + 1e-4
    for name, gradient in trained(layer, images, torch.float32).items():
        assert torch.equal(gradient, true[name])


def test_a_frozen_layer_costs_no_gradient_of_its_own() -> None:
    layer = copy.deepcopy(CASES[1]).requires_grad_(False)
    quicken_depthwise(nn.Sequential(layer))
    assert trained(layer, torch.randn(1, 16, 9, 9), torch.bfloat16)["weight"] is None


def test_what_is_fast_or_odd_is_left_alone() -> None:
    class Own(nn.Conv2d):
        """Somebody's own convolution may compute something else."""

    net = nn.Sequential(
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.Conv2d(16, 16, 5, padding=2, groups=4),
        nn.Conv2d(16, 16, 5, padding=2),
        nn.Conv2d(1, 1, 5, padding=2),
        nn.Conv2d(16, 16, 5, padding=2, groups=16, padding_mode="reflect"),
        nn.Conv2d(16, 16, 5, padding="same", groups=16),
        Own(16, 16, 5, padding=2, groups=16),
    )
    assert quicken_depthwise(net) == 0
    assert not any(isinstance(module, QuickDepthwise) for module in net)
