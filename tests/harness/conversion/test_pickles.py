"""Hostile pickles are refused by what they ask for and have no effect; harmless ones mean what Python says they do."""

import builtins
import os
import pickle
import pickletools
import re
import struct
from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harness.conversion._arrays import ADMITTED, value_of
from harness.conversion._pickles import MAX_INSTRUCTIONS, Refused, Unpickler

PROTOCOLS = range(6)
PLAIN = (str, int, float, bytes, bytearray, list, dict, tuple, type(None), np.ndarray)
scalars = st.none() | st.booleans() | st.integers(-(2**100), 2**100) | st.floats(allow_nan=False)
leaves = scalars | st.text(max_size=20) | st.binary(max_size=300)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner, inner, inner)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=5) | st.integers(-9, 9), inner, max_size=4)
    ),
)
NUMBERS = [np.bool_, *map(np.dtype, ("i1", "i2", ">i4", "i8", "u1", "u2", "u4", "u8", "f2", ">f4", "f4", "f8"))]


def load(content: bytes) -> Any:
    return value_of(Unpickler(ADMITTED).load(BytesIO(content)))


class Asks:
    """Pickled as a call of any function with any arguments."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call[0], tuple(self.call[1:])


@given(values, st.sampled_from(PROTOCOLS))
def test_plain_values_mean_what_python_says(value: Any, protocol: int) -> None:
    assert load(pickle.dumps(value, protocol)) == value


@given(
    st.sampled_from(NUMBERS).flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0))),
    st.sampled_from(PROTOCOLS),
    st.booleans(),
)
def test_arrays_of_numbers_come_back(array: np.ndarray, protocol: int, transposed: bool) -> None:
    array = array.T if transposed else array
    found = load(pickle.dumps([array], protocol))[0]
    found = value_of(found)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()


def test_names_of_numpy_1_are_known() -> None:
    content = pickle.dumps(np.arange(6.0).reshape(2, 3), 3).replace(b"numpy._core", b"numpy.core")
    assert b"numpy.core.multiarray" in content
    assert load(content).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_arrays_that_python_2_pickled_hold_text() -> None:
    """Protocol 2 as Python 2 wrote it: the array's bytes as a BINSTRING."""
    dtype = b"cnumpy\ndtype\n(U\x02f4K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    raw = struct.pack("<2f", 1.5, -2.0)
    made = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
    assert load(made + b"(K\x01K\x02\x85" + dtype + b"\x89U\x08" + raw + b"tb.").tolist() == [1.5, -2.0]


def test_numbers_and_ordered_dictionaries_of_libraries_become_plain() -> None:
    value = OrderedDict(keys=[np.int64(3), np.float32(0.5)])
    assert load(pickle.dumps(value)) == {"keys": [3, 0.5]}


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6),
        torch.rand(2, 3, 4)[:, 1:, ::2],
        torch.rand(3, 2).T,
        torch.rand(4, 2).half()[2:],
        torch.rand(2, 2, dtype=torch.float64),
        torch.tensor([True, False]),
        torch.tensor(2.5),
        torch.tensor([[1, 255]], dtype=torch.uint8),
        torch.zeros(0, 3),
        torch.ones(2, requires_grad=True),
    ],
    ids=lambda tensor: f"{tensor.dtype}, {tuple(tensor.shape)}",
)
def test_tensors_become_arrays(tensor: torch.Tensor) -> None:
    expected = tensor.detach().numpy()
    found = load(pickle.dumps(tensor, 4))
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        (Asks(os.system, "touch made"), f"{os.system.__module__}.system"),
        (Asks(builtins.eval, "open('made', 'w')"), "eval"),
        (Asks(builtins.exec, "open('made', 'w')"), "exec"),
        (Asks(getattr, "text", "upper"), "getattr"),
        (Asks(open, "made", "w"), "open"),
        (Asks(np.load, "made"), "numpy.load"),
        (Asks(np.ones, (2**40,)), "numpy.ones"),
        (Asks(bytearray, 2**40), "bytearray"),
        (Asks(torch.load, "made"), "torch.serialization.load"),
        (1 + 2j, "complex"),
        (np.ma.masked_array([1.0], [True]), "_mareconstruct"),
        (torch.rand(2).bfloat16(), "torch.BFloat16Storage"),
        (torch.nn.Parameter(torch.rand(2)), "torch._utils._rebuild_parameter"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("protocol", [0, 2, 3, 4, 5])
def test_what_asks_for_more_is_refused_by_name_and_has_no_effect(
    value: Any, asked: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for hidden in (value, {"keys": value}, [np.ones(2), value]):
        with pytest.raises(Refused, match=rf"asks for \S*{re.escape(asked)}$"):
            load(pickle.dumps(hidden, protocol))
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_refused_before_anything_is_called(tmp_path: Path) -> None:
    content = (
        b"c" + os.system.__module__.encode() + b"\nsystem\n(S'touch " + str(tmp_path / "made").encode() + b"'\ntR."
    )
    with pytest.raises(Refused, match=f"asks for {os.system.__module__}.system"):
        load(content)
    pickle.loads(content)  # the same does harm where nobody looks
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_of_objects_are_refused(protocol: int) -> None:
    array = np.array([Asks(os.system, "true"), 1], object)
    with pytest.raises(Refused):
        load(pickle.dumps(array, protocol))
    with pytest.raises(Refused, match=r"Python objects|_core"):
        load(pickle.dumps(np.array([{}, []], object), protocol))


FOUR = pickle.dumps(np.ones(4, np.uint8), 2)
BOMBS = {
    "bytes that are not there": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",
    "a bytearray that is not there": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
    "text that is not there": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x.",
    "a frame that is not there": b"\x80\x04\x95" + struct.pack("<Q", 2**60),
    "many instructions": b"]" + b"N0" * MAX_INSTRUCTIONS + b".",
    "many values": b"N" * (MAX_INSTRUCTIONS + 1) + b".",
    "a long number": b"\x8b" + struct.pack("<i", 10**6) + b"\x7f" * 10**6 + b".",
    "keys whose hash takes for ever": b"})q\x00" + b"h\x00\x86q\x00" * 64 + b"Ns.",
    "a name made of itself": b"]q\x00" + b"(h\x00h\x00lq\x00" * 64 + b"h\x00\x93.",
    "shapes of more than there is": FOUR.replace(b"K\x04\x85", b"\x8a\x08" + b"\xff" * 7 + b"\x7f\x85"),
    "negative shapes": FOUR.replace(b"K\x04\x85", b"J\xff\xff\xff\xff\x85"),
    "no end": b"\x80\x04N",
    "nothing": b"",
    "an empty stack": b".",
    "marks that are not there": b"Nt.",
    "memory that is not there": b"h\x07.",
    "items for no list": b"NNa.",
    "a state for no array": b"NNb.",
    "a call of a value": b"N)R.",
    "a reference to outside": b"NQ.",
    "an object of a class": b"cnumpy\ndtype\n)\x81.",
    "arguments of another kind": b"cnumpy\ndtype\nNR.",
    "an array of another class": b"cnumpy.core.multiarray\n_reconstruct\n(NNNtR.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_before_they_are_believed(name: str) -> None:
    with pytest.raises(Refused):
        load(BOMBS[name])


def test_a_far_place_in_memory_takes_no_room() -> None:
    """Python's own unpickler makes a table of so many places."""
    assert load(b"Nr\xff\xff\xff\xff.") is None


def tampered(tensor: torch.Tensor, *changes: tuple[bytes, bytes]) -> bytes:
    # Without memory instructions, which would stand between the numbers.
    content = pickletools.optimize(pickle.dumps(tensor, 4))
    for before, after in changes:
        assert content.count(before) == 1
        content = content.replace(before, after)
    return content


@pytest.mark.parametrize(
    "change",
    [
        (b"K\x02K\x03\x86", b"K\x02K\x09\x86"),
        (b"K\x03K\x01\x86", b"K\x00K\x64\x86"),
        (b"K\x00K\x02K\x03\x86", b"K\x01K\x02K\x03\x86"),
    ],
    ids=["shape", "stride", "offset"],
)
def test_tensors_never_reach_beyond_their_storage(change: tuple[bytes, bytes]) -> None:
    tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    assert load(tampered(tensor)).shape == (2, 3)
    with pytest.raises(Refused, match="in a storage of 6 values"):
        load(tampered(tensor, change))


def test_a_tensor_that_repeats_its_storage_is_refused() -> None:
    with pytest.raises(Refused, match="in a storage of 1 values"):
        load(pickle.dumps(torch.zeros(1).expand(10**6, 10**6), 4))


def test_values_of_a_tensor_are_all_there() -> None:
    content = pickle.dumps(torch.zeros(64), 4)
    with pytest.raises(Refused):
        load(content.replace(b"\x00" * 40, b"\x00" * 39))


def test_a_pickle_within_a_tensor_is_no_way_in(tmp_path: Path) -> None:
    inner = pickle.dumps(Asks(os.system, f"touch {tmp_path / 'made'}"), 2)
    content = pickle.dumps(Asks(torch.storage._load_from_bytes, inner), 4)
    with pytest.raises(Refused, match="asks for"):
        load(content)
    assert list(tmp_path.iterdir()) == []


HARMLESS = pickle.dumps({"keys": np.array([3, 7]), "cam": torch.rand(2, 3, 3), "x": [1.5, "a", None, (1, 2)]}, 4)


@given(st.data())
def test_damage_at_any_place_is_refused_or_harmless(data: st.DataObject) -> None:
    content = bytearray(HARMLESS)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        value = load(bytes(content[: data.draw(st.integers(0, len(content)))]))
    except Refused:
        return
    assert isinstance(value, PLAIN)


@given(st.binary(max_size=60))
@example(b"\x80\x04\x95\x00.")
def test_any_bytes_are_refused_or_plain(content: bytes) -> None:
    try:
        value = load(content)
    except Refused:
        return
    assert isinstance(value, PLAIN)


BARE = [op.code.encode("latin1") for op in pickletools.opcodes if op.arg is None and op.name != "STOP"]


@given(st.lists(st.sampled_from(BARE), max_size=40))
def test_any_instructions_are_refused_or_plain(program: list[bytes]) -> None:
    try:
        value = load(b"N)]}(" + b"".join(program) + b".")
    except Refused:
        return
    assert isinstance(value, PLAIN)
