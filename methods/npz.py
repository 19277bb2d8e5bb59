"""Reading `.npz` files that may be hostile: no pickle, and nothing is allocated before the headers were checked."""

from __future__ import annotations

import re
import struct
import zlib
from math import prod
from pathlib import Path
from typing import IO, Any, NamedTuple
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from settings.errors import UserError

MAX_VALUES = 2**25
"""Larger arrays are refused before they are read: they are not the maps of one photo (80 classes at 640 × 480 have
2**24.5 values), and a compressed file of a few kilobytes may declare any number of them."""
NUMBERS = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
OBJECTS = "O"
DAMAGED = (BadZipFile, OSError, EOFError, ValueError, RuntimeError, KeyError, OverflowError, struct.error, zlib.error)
MAGIC = b"\x93NUMPY"
# Keys in any other order, or a structured dtype, are not what numpy or any program known to us writes for numbers.
SHAPE = r"(?:\d{1,19}L?(?:, ?\d{1,19}L?){0,31})?,?"
HEADER = re.compile(
    rf"\{{'descr': '([<>|=]?)(\w+)', 'fortran_order': (True|False), 'shape': \(({SHAPE})\),? ?\}}\s*".encode()
)


class Header(NamedTuple):
    """What a `.npy` stream declares: byte order, type (`f4`, …; `O` for pickled objects), order and shape."""

    byte_order: str
    type: str
    order: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """How long the numbers are."""
        return prod(self.shape) * np.dtype(self.type).itemsize


def read_header(stream: IO[bytes]) -> Header:
    """The header of a `.npy` stream, which then stands at its content; raises ValueError for anything else."""
    start = stream.read(8)
    if start[:6] != MAGIC or start[6:] not in (b"\x01\x00", b"\x02\x00"):
        raise ValueError("no .npy header of version 1 or 2")
    length = int.from_bytes(stream.read(2 if start[6] == 1 else 4), "little")
    if length > 10_000 or not (match := HEADER.fullmatch(stream.read(length))):
        raise ValueError("a .npy header that declares no plain array")
    byte_order, type_, fortran, shape = (part.decode() for part in match.groups())
    if type_ not in NUMBERS | {OBJECTS}:
        raise ValueError(f"an array of type {type_}")
    sizes = tuple(int(size) for size in re.findall(r"\d+", shape))
    return Header(byte_order, type_, "F" if fortran == "True" else "C", sizes)


def read_npz(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """The named arrays of a file; raises UserError for missing, pickled, oversized and damaged ones."""
    expected = f"an .npz file with the arrays {' and '.join(names)}"
    if not path.is_file():
        raise UserError(path, "no such file", expected)
    try:
        with ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if missing := [name for name in names if name not in members]:
                found = ", ".join(sorted(members)[:8]) or "nothing"
                raise UserError(path, f"no array '{missing[0]}' (but {found})", expected)
            return {name: _read(archive, members[name]) for name in names}
    except DAMAGED as error:
        raise UserError(path, f"an unreadable file ({error})", expected) from None


def _read(archive: ZipFile, member: ZipInfo) -> NDArray[Any]:
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ValueError(f"compression {member.compress_type}")
    with archive.open(member) as stream:
        header = read_header(stream)
        if header.type == OBJECTS:
            raise ValueError(f"{member.filename} holds pickled objects; try: seedbed data import-maps")
        if prod(header.shape) > MAX_VALUES:
            raise ValueError(f"{member.filename} declares {header.shape}, more than {MAX_VALUES} values")
        content = stream.read(header.bytes)
        if len(content) != header.bytes or stream.read(1):
            raise ValueError(f"{member.filename} declares {header.shape}, and holds another number of bytes")
    flat = np.frombuffer(content, np.dtype(header.byte_order + header.type))
    return flat.reshape(header.shape, order="F" if header.order == "F" else "C")
