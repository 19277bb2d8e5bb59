"""Areas that were painted in Label Studio, from its run lengths, which are those of the JavaScript package rle-pack.

A stream of bits: the number of values (32 bits), their width less 1 (5), four widths of lengths less 1 (4 each); then
runs: a bit that says whether one value repeats, which width the length has (2), the length less 1, and the value or
values. The values are the bytes of an RGBA picture, row by row; what is not transparent was painted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from settings.errors import UserError

__all__ = ["painted_area"]

EXPECTED = "Label Studio's run lengths of 8-bit values"


class _Bits:
    """Reads numbers of any width from bytes, the highest bit first; raises EOFError behind the end."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def number(self, width: int) -> int:
        first, end = self._at, self._at + width
        last_byte = self._moved_to(end)
        piece = int.from_bytes(self._content[first // 8 : last_byte], "big")
        return piece >> (8 * last_byte - end) & ((1 << width) - 1)

    def values(self, count: int) -> NDArray[np.uint8]:
        """Values of 8 bits, (count,)."""
        first = self._at
        last_byte = self._moved_to(first + 8 * count)
        bits = np.unpackbits(np.frombuffer(self._content[first // 8 : last_byte], np.uint8))
        return np.packbits(bits[first % 8 : first % 8 + 8 * count])

    def _moved_to(self, end: int) -> int:
        if end > 8 * len(self._content):
            raise EOFError
        self._at = end
        return -(-end // 8)


def painted_area(where: object, runs: Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where somebody painted, (H, W); `runs` are bytes.

    Raises UserError for another number of pixels than H·W, and for a stream that ends before them.
    """
    height, width = size
    bits = _Bits(bytes(runs))
    try:
        count, value_width = bits.number(32), bits.number(5) + 1
        if value_width != 8 or count != 4 * height * width:
            found = f"run lengths of {count} values of {value_width} bits"
            raise UserError(where, found, f"{4 * height * width} of 8 bits, four for each of {width}×{height} pixels")
        length_widths = [bits.number(4) + 1 for _ in range(4)]
        values = np.zeros(count, np.uint8)
        at = 0
        while at < count:
            repeats = bits.number(1)
            length = 1 + bits.number(length_widths[bits.number(2)])
            if length > count - at:
                raise UserError(where, f"run lengths of more than {count} values", EXPECTED)
            # One value fills the run, several lie in it side by side.
            values[at : at + length] = bits.values(1 if repeats else length)
            at += length
    except EOFError:
        raise UserError(where, "run lengths without an end", EXPECTED) from None
    return values.reshape(height, width, 4)[..., 3] > 0
