"""Freed memory is used again, where the C library can be told so."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from faceproof.performance.memory import reuse_memory
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


RETURNED = """
import numpy as np
from faceproof.performance.memory import give_back, reuse_memory
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
kept = reuse_memory()
blocks = [np.ones(12_500) for _ in range(1000)]  # 100 MB
del blocks[:-1]
before = resident()
give_back()
print(kept, before - resident())
"""


def test_what_is_free_is_given_back_when_that_is_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RETURNED], capture_output=True, text=True, check=True
    )
    kept, returned = done.stdout.split()
    if kept != "True":
        pytest.skip("this C library cannot be told")
    assert int(returned) > 80e6
