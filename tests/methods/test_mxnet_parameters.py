"""MXNet's files of parameters, written here byte by byte after its format, in its three versions."""

from pathlib import Path
from struct import pack

import numpy as np
import pytest
from numpy.typing import NDArray

from methods.base import BackboneOptions
from methods.mxnet_parameters import read_parameters
from methods.networks.backbones import build
from settings.errors import UserError

ARRAYS = {
    "arg:res2a_branch2a_weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2) / 7,
    "aux:bn2a_branch2a_moving_mean": np.array([1.5, -2], np.float64),
    "half": np.array([0.5, 0.25, 4], np.float16),
}
TYPES = {"float32": 0, "float64": 1, "float16": 2}


def array_bytes(array: NDArray[np.generic], version: int) -> bytes:
    start = {0: b"", 1: pack("<I", 0xF993FAC8), 2: pack("<Ii", 0xF993FAC9, 0)}[version]
    side = "q" if version else "I"
    shape = pack(f"<I{array.ndim}{side}", array.ndim, *array.shape)
    return start + shape + pack("<iii", 1, 0, TYPES[str(array.dtype)]) + array.tobytes()


def file_bytes(version: int) -> bytes:
    arrays = b"".join(array_bytes(array, version) for array in ARRAYS.values())
    names = b"".join(pack("<Q", len(name)) + name.encode() for name in ARRAYS)
    return pack("<QQQ", 0x112, 0, len(ARRAYS)) + arrays + pack("<Q", len(ARRAYS)) + names


@pytest.mark.parametrize("version", [0, 1, 2])
def test_every_version_is_read(version: int, tmp_path: Path) -> None:
    path = tmp_path / "model.params"
    path.write_bytes(file_bytes(version))
    found = read_parameters(path)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "ends after 0 bytes"),
        (file_bytes(2)[:-1], "ends after"),
        (file_bytes(0)[:60], "ends after 60 bytes"),
        (pack("<QQQ", 0x113, 0, 0), "begins with 0x113"),
        (pack("<QQQQ", 0x112, 0, 0, 1), "1 names for 0 arrays"),
        (pack("<QQQIi", 0x112, 0, 1, 0xF993FAC9, 1), "a sparse array"),
        (pack("<QQQIIiii", 0x112, 0, 1, 1, 1, 1, 0, 9), "an array of type 9"),
    ],
)
def test_what_is_no_such_file_is_told(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "model.params"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_parameters(path)


def test_a_broken_file_of_weights_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "resnet.params"
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"resnet.params: found unreadable weights .ValueError.*MXNet's .params"):
        build(BackboneOptions(name="test_efficientnet", weights=str(path), output_stride=32, size=64), (4,))
