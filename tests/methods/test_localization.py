"""Files of localization maps."""

import json
from math import prod
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from methods.base import LocalizationMaps
from methods.localization import FORMAT, read_maps, write_maps
from methods.upsampling import upsample
from settings.errors import UserError


def maps(photo_id: str, class_ids: tuple[int, ...], side: int = 3, **changes: object) -> LocalizationMaps:
    values = np.random.default_rng(len(class_ids)).random((len(class_ids), side, side + 1)).astype(np.float32)
    return LocalizationMaps(photo_id, class_ids, values, (31, 20), **changes)  # type: ignore[arg-type]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    records = [maps("b", (0, 4)), maps("a", (2,), 5, upsampling="bicubic"), maps("c", ())]
    records[1].maps_CHW[0, 0, :2] = (0, 1)
    write_maps(tmp_path / "m.safetensors", iter(records))
    read = read_maps(tmp_path / "m.safetensors")
    assert [record.photo_id for record in read] == ["b", "a", "c"]
    for ours, theirs in zip(records, read, strict=True):
        assert (theirs.class_ids, theirs.image_size, theirs.upsampling) == (ours.class_ids, (31, 20), ours.upsampling)
        assert theirs.maps_CHW.dtype == np.float32
        assert np.array_equal(theirs.maps_CHW, ours.maps_CHW)
        assert upsample(theirs).shape == (len(ours.class_ids), 31, 20)


def test_equal_maps_are_equal_files(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.safetensors" for n in range(10)]
    for path in paths:
        write_maps(path, [maps("ü", (0, 4)), maps("a", (2,), 5)])
    assert len({path.read_bytes() for path in paths}) == 1


def test_a_shard_without_photos(tmp_path: Path) -> None:
    write_maps(tmp_path / "m.safetensors", [])
    assert read_maps(tmp_path / "m.safetensors") == []


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan"), float("inf")])
def test_values_that_are_no_maps_are_refused(tmp_path: Path, value: float) -> None:
    record = maps("some photo", (1, 2))
    record.maps_CHW[1, 2, 0] = value
    with pytest.raises(ValueError, match=r"^some photo: maps outside \[0, 1\] or not finite"):
        write_maps(tmp_path / "m.safetensors", [maps("fine", (0,)), record])
    assert not (tmp_path / "m.safetensors").exists()


def test_as_many_maps_as_classes(tmp_path: Path) -> None:
    record = LocalizationMaps("p", (0,), np.zeros((2, 3, 3), np.float32), (3, 3))
    with pytest.raises(ValueError, match=r"p: maps of shape \(2, 3, 3\) for 1 classes"):
        write_maps(tmp_path / "m.safetensors", [record])


def test_a_photo_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="p: maps twice"):
        write_maps(tmp_path / "m.safetensors", [maps("p", (0,)), maps("p", (1,))])


def declared(path: Path, shape: list[int], type_: str = "F32", classes: int = 1) -> Path:
    """A shard that declares maps of photo `p`, in a file without anything on the disk behind its header."""
    photo = {"id": "p", "class_ids": list(range(classes)), "image_size": [4, 4], "upsampling": "bilinear"}
    size = prod(shape) * {"F32": 4, "U8": 1}[type_]
    header = {
        "__metadata__": {"format": FORMAT, "photos": json.dumps([photo])},
        "p": {"dtype": type_, "shape": shape, "data_offsets": [0, size]},
    }
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + size)
    return path


@pytest.mark.parametrize(
    ("shape", "type_", "words"),
    [
        ([1, 25_000, 25_000], "F32", r"found p: maps of shape \(1, 25000, 25000\); expected at most 33554432 values"),
        ([2, 3, 3], "F32", "expected 1 maps of 32 bits"),
        ([3, 3], "F32", "expected 1 maps of 32 bits"),
        ([1, 3, 3], "U8", "expected 1 maps of 32 bits"),
    ],
)
def test_what_a_shard_declares_is_checked_before_it_is_read(
    tmp_path: Path, shape: list[int], type_: str, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        read_maps(declared(tmp_path / "m.safetensors", shape, type_))


def test_maps_too_large_to_be_read_again_are_not_written(tmp_path: Path) -> None:
    record = LocalizationMaps("p", (0,), np.broadcast_to(np.float32(0), (1, 2**13, 2**13)), (2**13, 2**13))
    with pytest.raises(ValueError, match=r"^p: maps of shape \(1, 8192, 8192\), more than 33554432 values"):
        write_maps(tmp_path / "m.safetensors", [record])


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "bare.safetensors")
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "next.safetensors", {"format": "seedbed-localization-maps/2"})
    (tmp_path / "text.safetensors").write_text("maps")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    for name in ("bare", "next", "text", "empty", "missing"):
        with pytest.raises(UserError, match=rf"{name}\.safetensors: found .*expected seedbed-localization-maps/1"):
            read_maps(tmp_path / f"{name}.safetensors")
