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
    assert chosen.words == {"bf16-mixed": "bfloat16", "32-true": "float32"}[expected]
    assert chosen.reason == f"this CPU has {'' if native else 'no '}fast bfloat16"


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_on_a_gpu(monkeypatch, native, expected) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native)
    assert choose_precision(on_gpu=True).name == expected


def test_the_processors_own_word_is_taken(monkeypatch) -> None:
    able = {"avx2": True, "avx512_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert not cpu_has_bf16()
    able["amx_bf16"] = True
    assert cpu_has_bf16()


def test_where_torch_does_not_tell_linux_does(monkeypatch, tmp_path) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    file = tmp_path / "cpuinfo"
    monkeypatch.setattr("faceproof.training.precision.CPUINFO", file)
    assert not cpu_has_bf16()
    file.write_text("flags\t\t: avx2 avx512f avx512_vnni\n")
    assert not cpu_has_bf16()
    file.write_text("flags\t\t: avx2 avx512_bf16\n")
    assert cpu_has_bf16()
