"""Memory that one step frees is kept for the next one, where the C library is glibc.

It gives large blocks back to the system by default, and each is then mapped and filled with zeros anew, page by page: a
training step of a segmentation network spends a fifth of its time on that.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

__all__ = ["kept_memory"]

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""What glibc's mallopt calls them."""
LARGEST_KEPT = 32 << 20
"""Bytes: glibc allows no more; larger blocks are mapped as before."""
NEVER = 2**31 - 1
DEFAULT_TRIM = 128 << 10

_depth = 0


@contextmanager
def kept_memory() -> Iterator[None]:
    """While it is entered, freed memory stays with the process; afterwards what is free goes back to the system."""
    global _depth
    tuned = _allocator()
    _depth += 1
    if tuned and _depth == 1:
        tuned.mallopt(MMAP_THRESHOLD, LARGEST_KEPT)
        tuned.mallopt(TRIM_THRESHOLD, NEVER)
    try:
        yield
    finally:
        _depth -= 1
        if tuned and _depth == 0:
            tuned.mallopt(TRIM_THRESHOLD, DEFAULT_TRIM)
            tuned.malloc_trim(0)


class _Glibc:
    """The two functions of the C library, typed."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.mallopt: Callable[[int, int], int] = library.mallopt
        self.malloc_trim: Callable[[int], int] = library.malloc_trim


@cache
def _allocator() -> _Glibc | None:
    if platform.libc_ver()[0] != "glibc":
        return None
    return _Glibc(ctypes.CDLL(None))
