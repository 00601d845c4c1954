"""The choice of precision depends on hardware and network, and on nothing that is measured."""

import pytest
import torch
from torch import nn

from faceproof.training import precision
from faceproof.training.precision import choose_precision, cpu_has_bf16, has_depthwise

PLAIN = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=2))
DEPTHWISE = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8))


@pytest.mark.parametrize(
    ("native", "net", "side", "expected"),
    [
        (True, PLAIN, 48, "bf16-mixed"),
        (False, PLAIN, 48, "32-true"),
        (True, DEPTHWISE, 160, "32-true"),
        (True, DEPTHWISE, 224, "bf16-mixed"),
    ],
)
def test_on_a_processor(monkeypatch, native, net, side, expected) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: native)
    chosen = choose_precision(net, side, on_gpu=False)
    assert chosen.name == expected
    assert chosen.reason


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_on_a_gpu(monkeypatch, native, expected) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert choose_precision(DEPTHWISE, 64, on_gpu=True).name == expected


def test_one_channel_is_not_depthwise() -> None:
    assert not has_depthwise(nn.Conv2d(1, 8, 3))
    assert has_depthwise(DEPTHWISE)


def test_the_processors_own_word_is_taken(monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    assert not cpu_has_bf16()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert cpu_has_bf16()
