"""torch tensors as they pickle themselves (IRN's dictionaries hold some), rebuilt as arrays without torch.

A tensor is a view of a storage; the storage's bytes are a torch file of the legacy format: five pickles, then the
number of values, then the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from harness.conversion.pickled_arrays import is_shape
from harness.conversion.unpickling import Refused, Unpickler

MAGIC = 0x1950A86A20F9469CFC6C
VERSION = 1001
STORAGES = {
    f"torch.{name}Storage": type_
    for name, type_ in (
        *(("Double", "f8"), ("Float", "f4"), ("Half", "f2"), ("Long", "i8"), ("Int", "i4")),
        *(("Short", "i2"), ("Char", "i1"), ("Byte", "u1"), ("Bool", "b1")),
    )
}


def storage_of(content: bytes) -> NDArray[Any]:
    """`torch.storage._load_from_bytes`: the values, on whatever device they were."""
    stream, reader = BytesIO(content), Unpickler(STORAGES, persistent=lambda reference: reference)
    magic, version, _, reference, _ = (reader.load(stream) for _ in range(5))
    if (magic, version) != (MAGIC, VERSION):
        raise Refused("a tensor in a format of another time")
    kind, type_, _, _, count, view = reference
    declared, values = int.from_bytes(stream.read(8), "little"), stream.read()
    if kind != "storage" or type_ not in STORAGES.values() or view is not None or declared != count:
        raise Refused("a tensor whose values lie elsewhere")
    if len(values) != count * np.dtype(type_).itemsize:
        raise Refused(f"a tensor of {count} values in {len(values)} bytes")
    return np.frombuffer(values, f"<{type_}" if type_[1] != "1" else type_)


def tensor(
    storage: Any, offset: Any, shape: Any, stride: Any, gradient: object, hooks: object, metadata: object = None
) -> NDArray[Any]:
    """`torch._utils._rebuild_tensor_v2`; a view that reaches beyond its storage, or repeats it, is refused."""
    if not isinstance(storage, np.ndarray) or not is_shape((offset,)) or not is_shape(shape) or not is_shape(stride):
        raise TypeError("a tensor of odd parts")
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if prod(shape) > storage.size or (prod(shape) and last >= storage.size):
        raise Refused(f"a tensor of shape {str(shape)[:80]} in a storage of {storage.size} values")
    if not prod(shape):
        return np.zeros(shape, storage.dtype)
    steps = [step * storage.itemsize for step in stride]
    return as_strided(storage[offset:], shape, steps, writeable=False).copy()


ADMITTED: Mapping[str, object] = {
    "torch.storage._load_from_bytes": storage_of,
    "torch._utils._rebuild_tensor_v2": tensor,
}
