"""Which numbers to compute in: bfloat16 where the hardware has it, else float32."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

CPUINFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Precision:
    """A precision of Lightning's, and why it was chosen."""

    name: Any
    reason: str

    @property
    def words(self) -> str:
        """Its name for people."""
        known = {"32-true": "float32", "bf16-mixed": "bfloat16", "16-mixed": "float16"}
        return known.get(str(self.name), str(self.name))


def choose_precision(on_gpu: bool) -> Precision:
    """Return bf16-mixed where the hardware computes bfloat16 natively, else 32-true.

    The choice depends on the hardware alone, not on a measurement, so that a run done twice is the
    same run. `python -m benchmarks precision` says what it gains on this machine.
    """
    unit = "GPU" if on_gpu else "CPU"
    if torch.cuda.is_bf16_supported(including_emulation=False) if on_gpu else cpu_has_bf16():
        return Precision("bf16-mixed", f"this {unit} has fast bfloat16")
    return Precision("32-true", f"this {unit} has no fast bfloat16")


def cpu_has_bf16() -> bool:
    """Say whether the processor has instructions for products of bfloat16."""
    names = "avx512_bf16 amx_bf16 avx10_2 bf16 sve_bf16"
    if hasattr(torch.cpu, "get_capabilities"):
        able = torch.cpu.get_capabilities()
        return any(able.get(name) for name in names.split())
    # Older releases of torch do not tell; Linux does.
    flags = CPUINFO.read_text().split() if CPUINFO.is_file() else []
    return not {*names.split(), "svebf16"}.isdisjoint(flags)
