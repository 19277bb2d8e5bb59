"""numpy arrays and torch tensors as these pickle themselves, rebuilt without the constructors of numpy and torch.

numpy 1.x and 2.x, protocols 0 to 5. A tensor (IRN's dictionaries hold some) is a view of a storage; the storage's
bytes are a torch file of the legacy format: five pickles, then the number of values, then the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from math import prod
from typing import Any, TypeAlias, TypeGuard

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from harness.conversion._pickles import Built, Refused, Unchecked, Unpickler
from methods.npz import NUMBERS, OBJECTS

MAX_BYTES = 2**30
"""Larger files of other programs are refused before they are read."""
Array: TypeAlias = NDArray[Any]
"""An array of whatever numbers its file holds."""
TORCH_MAGIC = 0x1950A86A20F9469CFC6C
TORCH_VERSION = 1001
# Without torch.BFloat16Storage: numpy has no such type.
STORAGES = {
    "torch.DoubleStorage": "f8",
    "torch.FloatStorage": "f4",
    "torch.HalfStorage": "f2",
    "torch.LongStorage": "i8",
    "torch.IntStorage": "i4",
    "torch.ShortStorage": "i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "b1",
}


class PickledDtype(Built):
    """`numpy.dtype(name, align, copy)`, whose state then tells the byte order."""

    def __init__(self, name: str, align: object = False, copy: object = False) -> None:
        self.holds_objects = name.startswith(OBJECTS)
        if not self.holds_objects and name not in NUMBERS:
            raise Refused(f"an array of type {name[:40]!a}")
        self._name, self._order = name, "="

    def set_state(self, state: Unchecked) -> None:
        """Take (version, byte order, and what plain numbers do not have)."""
        if state[1] not in ("<", ">", "=", "|"):
            raise ValueError("an unknown byte order")
        self._order = state[1]

    def numbers(self) -> np.dtype[np.generic]:
        """The type of numbers as numpy knows it, byte order included."""
        return np.dtype(self._order + self._name)


class PickledArray(Built):
    """`numpy._core.multiarray._reconstruct(ndarray, (0,), b"b")`: an empty array, whose state then brings the rest."""

    value: object = None

    def __init__(self, kind: object, shape: object, letter: object) -> None:
        if kind is not NDARRAY:
            raise TypeError("an array of another class")

    def set_state(self, state: Unchecked) -> None:
        """Take (version, shape, dtype, Fortran order, bytes); an array that holds one object becomes that object."""
        _, shape, dtype, is_fortran, content = state
        if not dtype.holds_objects:
            order = "C"
            if is_fortran:
                order = "F"
            self.value = array_of(content, dtype, shape, order)
        elif type(content) is list and len(content) == 1 and shape == ():
            self.value = content[0]
        else:
            raise Refused("an array of Python objects")


def value_of(built: object) -> object:
    """What was meant: the array for what stands in its place until its state is known, any other value as it is."""
    if isinstance(built, PickledArray):
        return built.value
    return built


# The parameters of what follows are those of the functions that pickles name; whatever a pickle puts there is checked.
def array_of(
    content: Unchecked, dtype: Unchecked, shape: object, order: object = "C", axis_order: object = None
) -> Array:
    """The array whose values are the bytes in `content`, as `numpy._core.numeric._frombuffer` makes it.

    Raises Refused for Python objects, for other axes than plain ones, and for a shape that needs more or fewer bytes.
    """
    if dtype.holds_objects:
        raise Refused("an array of Python objects")
    if order not in ("C", "F") or axis_order is not None:
        raise Refused("an array whose axes are in no plain order")
    # Python 2 wrote bytes as text.
    if isinstance(content, str):
        content = content.encode("latin1")
    raw = bytes(memoryview(content))
    if not _is_shape(shape) or prod(shape) * dtype.numbers().itemsize != len(raw):
        raise Refused(f"an array of shape {str(shape)[:80]} in {len(raw)} bytes")
    return np.frombuffer(raw, dtype.numbers()).reshape(shape, order=order)


def scalar(dtype: object, content: object) -> object:
    """`numpy._core.multiarray.scalar`: one number, as a Python number; raises Refused for an object."""
    return array_of(content, dtype, (1,)).item()


def encode(text: str, encoding: object) -> bytes:
    """`_codecs.encode(text, "latin1")`, by which protocol 2 writes bytes; raises Refused for another encoding."""
    if encoding != "latin1":
        raise Refused("a text in another encoding than latin1")
    return text.encode("latin1")


def no_bytes() -> bytes:
    """`bytes()`, by which protocol 2 writes empty bytes."""
    return b""


def ordered() -> dict[str | int, object]:
    """`collections.OrderedDict()`, as a plain dictionary, which is ordered too."""
    return {}


def storage_of(content: bytes) -> Array:
    """`torch.storage._load_from_bytes`: the values of a tensor, on whatever device they were; Refused for others."""
    stream, reader = BytesIO(content), Unpickler(STORAGES, persistent=lambda reference: reference)
    magic, version, _, reference, _ = (reader.load(stream) for _ in range(5))
    if (magic, version) != (TORCH_MAGIC, TORCH_VERSION):
        raise Refused("a tensor in a format of another time")
    kind, type_, _, _, count, view = reference
    declared, values = int.from_bytes(stream.read(8), "little"), stream.read()
    if kind != "storage" or type_ not in STORAGES.values() or view is not None or declared != count:
        raise Refused("a tensor whose values lie elsewhere")
    if len(values) != count * np.dtype(type_).itemsize:
        raise Refused(f"a tensor of {count} values in {len(values)} bytes")
    # torch writes storages in the byte order of its machine, and all machines that train are little-endian.
    return np.frombuffer(values, np.dtype(type_).newbyteorder("<"))


def tensor(storage: object, offset: Unchecked, shape: object, stride: object, *_: object) -> Array:
    """`torch._utils._rebuild_tensor_v2`, of which gradient, hooks and metadata are left out.

    A view that reaches beyond its storage, or repeats it, is refused.
    """
    if not isinstance(storage, np.ndarray) or not _is_shape((offset,)) or not _is_shape(shape) or not _is_shape(stride):
        raise TypeError("a tensor of odd parts")
    last = offset
    for n, step in zip(shape, stride, strict=True):
        last += (n - 1) * step
    # Strides of 0 would repeat values without end, large ones read memory behind the storage.
    count = prod(shape)
    if count > storage.size or (count and last >= storage.size):
        raise Refused(f"a tensor of shape {str(shape)[:80]} in a storage of {storage.size} values")
    if not count:
        return np.zeros(shape, storage.dtype)
    # A copy: the view would keep the whole storage, of which a photo's maps may be a small part.
    steps = [step * storage.itemsize for step in stride]
    return as_strided(storage[offset:], shape, steps, writeable=False).copy()


def _is_shape(shape: object) -> TypeGuard[tuple[int, ...]]:
    """Whether it is a tuple of at most 32 natural numbers, each below 2^63, whose product is soon known."""
    # numpy has at most 32 axes (64 since 2.0), and counts in 64 bits.
    return type(shape) is tuple and len(shape) <= 32 and all(type(n) is int and 0 <= n < 2**63 for n in shape)


# A token and not the class, which a pickle could call with any shape.
NDARRAY = "numpy.ndarray"
ADMITTED: Mapping[str, object] = {
    NDARRAY: NDARRAY,
    "numpy.dtype": PickledDtype,
    "_codecs.encode": encode,
    "__builtin__.bytes": no_bytes,
    "collections.OrderedDict": ordered,
    **{f"numpy.{core}.multiarray._reconstruct": PickledArray for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": array_of for core in ("core", "_core")},
    "torch.storage._load_from_bytes": storage_of,
    "torch._utils._rebuild_tensor_v2": tensor,
}
"""What the pickles of arrays and tensors may name."""
