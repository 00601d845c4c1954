"""Freed memory is used again, where the C library can be told so."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from faceproof.memory import reuse_memory
import numpy as np
kept = reuse_memory() if sys.argv[1] == "kept" else False
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**23)
before = faults()
for _ in range(10):
    np.ones(2**23)  # 64 MB
print(kept, faults() - before)
"""


def run(how: str) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True
    )
    kept, faults = done.stdout.split()
    return kept, int(faults)


def test_large_blocks_are_not_mapped_anew_every_time() -> None:
    kept, faults = run("kept")
    if kept != "True":
        pytest.skip("this C library cannot be told")
    assert faults < 0.2 * run("plain")[1]
