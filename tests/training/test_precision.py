"""The choice of precision depends on the hardware, and on nothing that is measured."""

import pytest
import torch

from faceproof.training import precision
from faceproof.training.precision import choose_precision, cpu_has_bf16


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_on_a_processor(monkeypatch, native, expected) -> None:
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: native)
    chosen = choose_precision(on_gpu=False)
    assert chosen.name == expected
    assert chosen.reason


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_on_a_gpu(monkeypatch, native, expected) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert choose_precision(on_gpu=True).name == expected


def test_the_processors_own_word_is_taken(monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    assert not cpu_has_bf16()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert cpu_has_bf16()
