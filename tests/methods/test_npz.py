"""Hostile `.npz` files: nothing is unpickled and nothing is allocated for what is only declared."""

import pickle
import struct
import tracemalloc
from pathlib import Path
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from methods import npz
from methods.npz import HEADER, read_npz
from settings.errors import UserError

NUMBERS = ["?", "i1", "<i2", ">i4", "<i8", "u1", "<u4", "<f2", ">f4", "<f8"]


def header(text: str, version: int = 1) -> bytes:
    content = text.encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(content)) + content


def write(path: Path, content: bytes, compression: int = ZIP_STORED) -> Path:
    with ZipFile(path, "w", compression) as archive:
        archive.writestr("maps.npy", content)
    return path


@given(
    st.sampled_from(NUMBERS).flatmap(lambda kind: arrays.arrays(kind, arrays.array_shapes(min_dims=0, min_side=0))),
    st.booleans(),
    st.booleans(),
)
def test_arrays_of_numbers_come_back(array: np.ndarray, transposed: bool, compressed: bool) -> None:
    from io import BytesIO
    from tempfile import TemporaryDirectory

    array, buffer = array.T if transposed else array, BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, maps=array, others=np.zeros(2))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "p.npz"
        path.write_bytes(buffer.getvalue())
        found = read_npz(path, ("maps",))["maps"]
    assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_pickled_objects_are_refused_with_the_way_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", maps=np.array([{}], object))
    with pytest.raises(UserError, match=r"p\.npz.*pickled objects; try: seedbed data import-maps"):
        read_npz(tmp_path / "p.npz", ("maps",))


def test_a_missing_array_and_a_missing_file_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", keys=np.zeros(1), cam=np.zeros(1))
    with pytest.raises(UserError, match=r"no array 'maps' \(but cam, keys\)"):
        read_npz(tmp_path / "p.npz", ("keys", "maps"))
    with pytest.raises(UserError, match=r"q\.npz: found no such file"):
        read_npz(tmp_path / "q.npz", ("maps",))


SHAPE = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }"


@pytest.mark.parametrize(
    "content",
    [
        header(SHAPE % "1000000, 1000000") + b"\0" * 8,
        header(SHAPE % "9223372036854775807, 9223372036854775807"),
        header(SHAPE % "500000000,"),
        header(SHAPE % "16384, 16383") + b"\0" * 8,
        header(SHAPE % "2,") + b"\0" * 7,
        header(SHAPE % "2,") + b"\0" * 9,
        header(SHAPE % "-2,") + b"\0" * 8,
        header(SHAPE % ", ".join("1" * 33)) + b"\0" * 4,
        header(SHAPE % ("1" * 9000 + "x")),
        header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }") + b"\0" * 8,
        header("{'descr': '<U4', 'fortran_order': False, 'shape': (2,), }") + b"\0" * 32,
        header("{'descr': '<m8', 'fortran_order': False, 'shape': (1,), }") + b"\0" * 8,
        header("__import__('os').system('true')"),
        header("(" * 9000),
        header(SHAPE % "2," + " " * 20_000, 2) + b"\0" * 8,
        header(SHAPE % "2,", 3) + b"\0" * 8,
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
        b"\x93NUMPY\x01\x00",
        b"",
        pickle.dumps([1]),
    ],
)
@pytest.mark.parametrize("compression", [ZIP_STORED, ZIP_DEFLATED])
def test_declared_bombs_and_odd_headers_take_no_memory(content: bytes, compression: int, tmp_path: Path) -> None:
    path = write(tmp_path / "p.npz", content, compression)
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"p\.npz: found an unreadable file"):
            read_npz(path, ("maps",))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_other_compressions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="compression 12"):
        read_npz(write(tmp_path / "p.npz", header(SHAPE % "2,") + b"\0" * 8, ZIP_BZIP2), ("maps",))


def test_headers_of_python_2_and_of_other_writers(tmp_path: Path) -> None:
    for text in ("(2L,), }   ", "(2,)}", "(2), }", "(1L, 2L), }"):
        content = header("{'descr': '<f4', 'fortran_order': False, 'shape': " + text) + struct.pack("<2f", 1, 2)
        assert read_npz(write(tmp_path / "p.npz", content), ("maps",))["maps"].ravel().tolist() == [1, 2]
    assert not HEADER.fullmatch(b"{'shape': (2,), 'descr': '<f4', 'fortran_order': False}")


@given(st.data())
def test_damage_at_any_place_is_refused_or_harmless(data: st.DataObject) -> None:
    from io import BytesIO
    from tempfile import TemporaryDirectory

    buffer = BytesIO()
    np.savez_compressed(buffer, keys=np.array([1, 2]), maps=np.ones((2, 3, 3), np.float32))
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "p.npz"
        path.write_bytes(bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))]))
        found: Any = {}
        try:
            found = read_npz(path, ("keys", "maps"))
        except UserError as error:
            assert "p.npz" in str(error)
    assert all(np.array_equal(found[name], value) for name, value in EXPECTED.items() if name in found)


EXPECTED = {"keys": [1, 2], "maps": np.ones((2, 3, 3))}


def test_a_small_file_that_declares_much_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "zeros.npz"
    np.savez_compressed(path, maps=np.zeros((3, 4), np.uint8))
    monkeypatch.setattr(npz, "MAX_VALUES", 11)
    with pytest.raises(UserError, match=r"declares \(3, 4\), more than 11 values"):
        npz.read_npz(path, ("maps",))
    monkeypatch.setattr(npz, "MAX_VALUES", 12)
    assert npz.read_npz(path, ("maps",))["maps"].shape == (3, 4)
