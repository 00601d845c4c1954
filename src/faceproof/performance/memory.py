"""How the process gets memory from the system."""

import contextlib
import ctypes
import functools
import logging
import math
import sys
from pathlib import Path

import pyarrow as pa

# mallopt's parameters, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MAX_THRESHOLD = 2**31 - 1  # what an int holds

log = logging.getLogger(__name__)


@functools.cache
def reuse_memory() -> bool:
    """Have this process use freed memory again rather than give it back, and say whether it does.

    glibc maps every large block anew and hands it back when it is freed, so that a network on the
    CPU spends up to a third of its time in having pages cleared for each batch. With this the
    process keeps what its largest batch took. Elsewhere than on glibc nothing is changed.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    kept = [mallopt(name, MAX_THRESHOLD) for name in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD)]
    log.debug("large blocks of memory are kept: %s", kept == [1, 1])
    return kept == [1, 1]


def give_back() -> None:
    """Give what is free back to the system, as before processes begin that would share it."""
    pa.default_memory_pool().release_unused()
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):  # another C library, such as musl
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def available_bytes() -> float:
    """Return how much memory there is to be had; infinity where the system does not say."""
    found = [math.inf]
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    with contextlib.suppress(OSError, ValueError):  # no such limit, or the word "max"
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(found)
