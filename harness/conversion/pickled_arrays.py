"""numpy arrays as numpy pickles them (1.x and 2.x, protocols 0 to 5), rebuilt without numpy's own constructors."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.conversion.unpickling import Built, Refused
from methods.npz import NUMBERS, OBJECTS


class Dtype(Built):
    """`numpy.dtype(name, align, copy)`, whose state then tells the byte order."""

    def __init__(self, name: str, align: object = False, copy: object = False) -> None:
        self.holds_objects = name.startswith(OBJECTS)
        if not self.holds_objects and name not in NUMBERS:
            raise Refused(f"an array of type {name[:40]!a}")
        self._name, self._order = name, "="

    def set_state(self, state: Any) -> None:
        """(version, byte order, and what plain numbers do not have)."""
        if state[1] not in ("<", ">", "=", "|"):
            raise ValueError("a byte order that does not exist")
        self._order = state[1]

    def numbers(self) -> np.dtype[Any]:
        """The same as numpy knows it."""
        return np.dtype(self._order + self._name)


class Array(Built):
    """`numpy._core.multiarray._reconstruct(ndarray, (0,), b"b")`, whose state then holds all."""

    value: Any = None

    def __init__(self, kind: object, shape: object, letter: object) -> None:
        if kind is not NDARRAY:
            raise TypeError("an array of another class")

    def set_state(self, state: Any) -> None:
        """(version, shape, dtype, Fortran order, bytes); an array that holds one object becomes that object."""
        _, shape, dtype, is_fortran, content = state
        if not dtype.holds_objects:
            self.value = array_of(content, dtype, shape, "F" if is_fortran else "C")
        elif type(content) is list and len(content) == 1 and shape == ():
            self.value = content[0]
        else:
            raise Refused("an array of Python objects")


def array_of(content: Any, dtype: Any, shape: Any, order: Any = "C", axis_order: Any = None) -> NDArray[Any]:
    """The array in `content`; `numpy._core.numeric._frombuffer` has these arguments too."""
    if dtype.holds_objects:
        raise Refused("an array of Python objects")
    if order not in ("C", "F") or axis_order is not None:
        raise Refused("an array whose axes are in no plain order")
    # Python 2 wrote bytes as text.
    raw = content.encode("latin1") if isinstance(content, str) else bytes(memoryview(content))
    if not is_shape(shape) or prod(shape) * dtype.numbers().itemsize != len(raw):
        raise Refused(f"an array of shape {str(shape)[:80]} in {len(raw)} bytes")
    return np.frombuffer(raw, dtype.numbers()).reshape(shape, order=order)


def is_shape(shape: Any) -> bool:
    """Whether it is a tuple of a few natural numbers."""
    return type(shape) is tuple and len(shape) <= 32 and all(type(n) is int and 0 <= n < 2**63 for n in shape)


def scalar(dtype: Any, content: Any) -> Any:
    """`numpy._core.multiarray.scalar`, as a Python number."""
    return array_of(content, dtype, (1,)).item()


def encode(text: str, encoding: str) -> bytes:
    """`_codecs.encode`, by which protocol 2 writes bytes."""
    if encoding != "latin1":
        raise Refused("a text in another encoding than latin1")
    return text.encode("latin1")


def no_bytes() -> bytes:
    """`bytes()`, by which the same protocol writes none."""
    return b""


def ordered() -> dict[str | int, Any]:
    """`collections.OrderedDict()`: dictionaries are ordered."""
    return {}


def value_of(built: Any) -> Any:
    """What was meant: the array for what stands in its place until its state is known."""
    return built.value if isinstance(built, Array) else built


NDARRAY = "numpy.ndarray"
ADMITTED: Mapping[str, object] = {
    NDARRAY: NDARRAY,
    "numpy.dtype": Dtype,
    "_codecs.encode": encode,
    "__builtin__.bytes": no_bytes,
    "collections.OrderedDict": ordered,
    **{f"numpy.{core}.multiarray._reconstruct": Array for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": array_of for core in ("core", "_core")},
}
