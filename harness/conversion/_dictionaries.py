"""Dictionaries that numpy pickled into `.npy` files, read without running what they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.conversion._arrays import ADMITTED, value_of
from harness.conversion._pickles import MAX_INSTRUCTIONS, Refused, Unpickler
from methods.npz import OBJECTS, read_header
from settings.errors import UserError

__all__ = ["read_dictionary"]

MAX_BYTES = 2**27
"""Larger files are refused before they are read: maps of 80 classes at 640 × 480 have 98 MB in single precision."""


def read_dictionary(path: Path, expected: str, most: int = MAX_INSTRUCTIONS) -> Mapping[str | int, object]:
    """The dictionary of a file, its arrays and tensors as arrays.

    Raises UserError for anything else, naming what a hostile pickle asks for, and for more than `most` instructions.
    """
    try:
        if not path.is_file():
            raise Refused("a pipe, a device or a broken link")
        if path.stat().st_size > MAX_BYTES:
            raise Refused(f"a file of more than {MAX_BYTES} bytes")
        with path.open("rb") as stream:
            if read_header(stream).type != OBJECTS:
                raise Refused("an array of numbers")
            content = value_of(Unpickler(ADMITTED, most=most).load(stream))
    except (OSError, ValueError, Refused) as error:
        raise UserError(path, str(error), expected) from None
    if type(content) is not dict:
        raise UserError(path, f"a pickled {type(content).__name__}", expected)
    return {key: value_of(value) for key, value in content.items()}
