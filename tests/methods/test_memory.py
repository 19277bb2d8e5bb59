"""Freed memory is kept while it is asked for, and goes back afterwards."""

import resource
from pathlib import Path

import numpy as np
import pytest

from methods.memory import _allocator, kept_memory

BLOCK = 16 << 20


def touched(times: int) -> None:
    """Take a block, write it and free it, some times."""
    for _ in range(times):
        np.ones(BLOCK, np.uint8)


def faults() -> int:
    """Pages that the system gave so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * resource.getpagesize()


@pytest.mark.skipif(_allocator() is None, reason="the C library is not glibc")
def test_a_block_is_given_once_and_goes_back_in_the_end() -> None:
    with kept_memory():
        with kept_memory():
            touched(1)
        kept, before = resident(), faults()
        touched(20)
        assert faults() - before < BLOCK // resource.getpagesize()
    assert resident() < kept - BLOCK // 2
