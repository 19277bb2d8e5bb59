"""Parameter files of MXNet, read without it: the weights of ResNet-38 are released in this format alone.

A file is a list of arrays and a list of their names, little-endian: a magic number, a reserved one, the number of
arrays, the arrays, the number of names, the names. Before an array stands its shape, where it lay, and its type.
"""

from __future__ import annotations

import math
from pathlib import Path
from struct import calcsize, unpack_from
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_parameters"]

MAGIC = 0x112
WITH_LONG_SHAPES, WITH_STORAGE = 0xF993FAC8, 0xF993FAC9
"""What arrays of later versions begin with: sides of 8 bytes in place of 4, and a storage type before them."""
TYPES = (np.float32, np.float64, np.float16, np.uint8, np.int32, np.int8, np.int64)
"""By their number in the file."""


def read_parameters(path: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of a `.params` file by their names; raises ValueError for what is no such file, or is cut short."""
    reader = _Reader(path.read_bytes())
    magic, _, count = reader.take("<QQQ")
    if magic != MAGIC:
        raise ValueError(f"{path}: begins with {magic:#x} instead of {MAGIC:#x}")
    arrays = [reader.array() for _ in range(count)]
    (names,) = reader.take("<Q")
    if names != count:
        raise ValueError(f"{path}: {names} names for {count} arrays")
    return {reader.text(): array for array in arrays}


class _Reader:
    """Goes through the bytes of a file from the front; raises ValueError at its end."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def take(self, layout: str) -> tuple[Any, ...]:
        """The next values, as `struct` reads them."""
        return unpack_from(layout, self._bytes(calcsize(layout)))

    def text(self) -> str:
        """The next text, behind its length."""
        (length,) = self.take("<Q")
        return self._bytes(length).decode()

    def array(self) -> NDArray[np.generic]:
        """The next array."""
        (first,) = self.take("<I")
        side, axes = "I", first
        if first in (WITH_LONG_SHAPES, WITH_STORAGE):
            if first == WITH_STORAGE and self.take("<i") != (0,):
                raise ValueError("a sparse array")
            side, (axes,) = "q", self.take("<I")
        shape = self.take(f"<{axes}{side}")
        _, _, kind = self.take("<iii")
        if not 0 <= kind < len(TYPES):
            raise ValueError(f"an array of type {kind}")
        dtype = np.dtype(TYPES[kind]).newbyteorder("<")
        return np.frombuffer(self._bytes(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)

    def _bytes(self, length: int) -> bytes:
        part = self._content[self._at : self._at + length]
        if length < 0 or len(part) < length:
            raise ValueError(f"ends after {len(self._content)} bytes")
        self._at += length
        return part
