"""`seedbed data import-maps`: dictionaries become the maps that they mean, and doubt becomes an error."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from hypothesis import given
from hypothesis import strategies as st

from harness.commands.data import data_app
from harness.conversion.maps import MapOptions, import_maps
from methods.npz import read_npz
from settings.errors import UserError
from settings.saliency import write_saliency

KEYS = np.array([2, 14])
MAPS = np.random.default_rng(0).random((2, 3, 4)).astype(np.float32)


def write(folder: Path, content: object, name: str = "p") -> Path:
    """As the programs do."""
    path = folder / f"{name}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, content)  # type: ignore[arg-type]
    return folder


def imported(folder: Path, **options: Any) -> dict[str, np.ndarray]:
    import_maps(folder, folder / "out", MapOptions(**options))
    return read_npz(folder / "out" / "p.npz", ("keys", "maps"))


@pytest.mark.parametrize(
    "content",
    [
        {"keys": torch.tensor(KEYS), "cam": torch.rand(2, 1, 1), "high_res": MAPS},
        {"keys": torch.tensor(KEYS), "cam": torch.from_numpy(MAPS)},
        {"keys": KEYS.astype(np.int16), "attn_highres": MAPS, "highres": MAPS / 2},
        {"keys": [2, 14], "highres": MAPS, "cam": MAPS / 2, "name": "p", "size": (3, 4)},
        {2: MAPS[0], 14: MAPS[1]},
    ],
    ids=["IRN", "IRN strided", "CLIP-ES", "highres", "PSA"],
)
def test_dictionaries_of_the_fields_programs(content: Any, tmp_path: Path) -> None:
    found = imported(write(tmp_path, content))
    assert (found["keys"].dtype, found["maps"].dtype) == (np.int64, np.float32)
    assert found["keys"].tolist() == [2, 14]
    assert np.array_equal(found["maps"], MAPS)


def test_half_precision_and_8_bits_are_kept(tmp_path: Path) -> None:
    half = imported(write(tmp_path / "half", {"keys": KEYS, "cam": MAPS.astype(np.float16)}))["maps"]
    assert half.dtype == np.float16
    assert np.array_equal(half, MAPS.astype(np.float16))
    eight = imported(write(tmp_path / "eight", {"keys": KEYS, "cam": (MAPS * 255).astype(np.uint8)}))["maps"]
    assert np.array_equal(eight, (MAPS * 255).astype(np.uint8))


def test_another_array_by_name(tmp_path: Path) -> None:
    content = {"keys": KEYS, "high_res": MAPS, "cam": MAPS / 2, "rw": MAPS / 4}
    assert np.array_equal(imported(write(tmp_path, content), array="rw")["maps"], MAPS / 4)
    assert np.array_equal(imported(tmp_path, array="cam")["maps"], MAPS / 2)
    with pytest.raises(UserError, match="'high_res', 'cam', 'rw'"):
        imported(tmp_path, array="hires")


def test_values_of_masks_become_class_ids_and_the_background_goes(tmp_path: Path) -> None:
    three = np.concatenate([np.full((1, 3, 4), 0.3, np.float32), MAPS])
    write(tmp_path, {"keys": np.array([0, 3, 15]), "high_res": three})
    found = imported(tmp_path, keys="mask-values")
    assert found["keys"].tolist() == [2, 14]
    assert np.array_equal(found["maps"], MAPS)


def test_keys_that_may_begin_with_the_background_are_doubtful(tmp_path: Path) -> None:
    write(tmp_path, {"keys": np.array([0, 3]), "high_res": MAPS}, "p")
    write(tmp_path, {"keys": np.array([0, 7]), "high_res": MAPS}, "q")
    with pytest.raises(UserError, match="--keys mask-values") as error:
        import_maps(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert imported(tmp_path, keys="classes")["keys"].tolist() == [0, 3]
    # One photo without class 0 settles it; so does one that shows class 0 alone.
    write(tmp_path, {"keys": np.array([0]), "high_res": MAPS[:1]}, "q")
    assert imported(tmp_path)["keys"].tolist() == [0, 3]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("low", "high", "refused"), [(0, 1, False), (-2e-4, 1.0002, False), (0, 1.5, True), (-0.1, 1, True)]
)
def test_rounding_is_cut_off_and_more_is_refused(low: float, high: float, refused: bool, tmp_path: Path) -> None:
    write(tmp_path, {"keys": np.array([1]), "cam": np.array([[[low, 0.5, high]]])})
    if refused:
        with pytest.raises(UserError, match=r"p\.npy.*values from.*--normalise"):
            imported(tmp_path)
    else:
        assert imported(tmp_path)["maps"].tolist() == [[[0, 0.5, 1]]]


def test_normalised_maps_are_positive_parts_over_their_own_maximum(tmp_path: Path) -> None:
    raw = np.array([[[-3, 2, 8]], [[0.25, 0.125, -1]], [[-2, 0, -1]]], np.float32)
    found = imported(write(tmp_path, {"keys": np.array([1, 2, 3]), "cam": raw}), normalise=True)
    assert found["maps"].tolist() == [[[0, 0.25, 1]], [[1, 0.5, 0]], [[0, 0, 0]]]


@given(st.lists(st.integers(0, 253), unique=True, max_size=5), st.integers(1, 4), st.integers(1, 4))
def test_any_keys_and_sizes_come_back(keys: list[int], height: int, width: int) -> None:
    from tempfile import TemporaryDirectory

    maps = np.random.default_rng(1).random((len(keys), height, width))
    with TemporaryDirectory() as folder:
        write(Path(folder), {"keys": np.array(keys, np.int64), "high_res": maps})
        found = imported(Path(folder), keys="classes")
    assert found["keys"].tolist() == keys
    assert np.array_equal(found["maps"], maps.astype(np.float32))


def test_a_key_0_without_a_map_is_the_background(tmp_path: Path) -> None:
    content: Any = {"keys": np.array([0, 3, 15]), "cam": MAPS[:, :1], "hr_cam": MAPS}
    found = imported(write(tmp_path, content))
    assert found["keys"].tolist() == [2, 14]
    assert np.array_equal(found["maps"], MAPS)
    with pytest.raises(UserError, match="a key 0 without a map"):
        imported(tmp_path, keys="classes")
    write(tmp_path, {"keys": np.array([1, 3, 15]), "cam": MAPS})
    with pytest.raises(UserError, match=r"3 keys for maps of shape .*keys without a map"):
        imported(tmp_path)


def test_photos_without_objects_have_no_map(tmp_path: Path) -> None:
    write(tmp_path, {}, "q")
    write(tmp_path, {"keys": [], "cam": np.zeros(0)}, "r")
    found = imported(write(tmp_path, {2: MAPS[0]}))
    assert found["keys"].tolist() == [2]
    for name in ("q", "r"):
        empty = read_npz(tmp_path / "out" / f"{name}.npz", ("keys", "maps"))
        assert (empty["keys"].shape, empty["maps"].shape) == ((0,), (0, 1, 1))


def test_what_adds_up_to_1_has_a_background(tmp_path: Path) -> None:
    write(tmp_path, {0: 1 - MAPS[0], 3: MAPS[0]})
    write(tmp_path, {0: np.ones((3, 4), np.float32)}, "q")
    found = imported(tmp_path)
    assert found["keys"].tolist() == [2]
    assert np.array_equal(found["maps"], MAPS[:1])
    assert read_npz(tmp_path / "out" / "q.npz", ("keys",))["keys"].tolist() == []


def test_attention_maps_as_a_png_a_class(tmp_path: Path) -> None:
    maps = (MAPS * 255).astype(np.uint8)
    for key, map_HW in zip([2, 14], maps, strict=True):
        write_saliency(tmp_path / f"2007_000032_{key}.png", map_HW)
    said = import_maps(tmp_path, tmp_path / "out")
    found = read_npz(tmp_path / "out" / "2007_000032.npz", ("keys", "maps"))
    assert sorted(found["keys"].tolist()) == [2, 14]
    assert all(
        np.array_equal(found["maps"][found["keys"].tolist().index(key)], maps[i]) for i, key in ((0, 2), (1, 14))
    )
    assert "1 photos with 2 maps, class ids 2 to 14" in said
    write_saliency(tmp_path / "2007_000032_3.png", maps[0, :2])
    with pytest.raises(UserError, match=r"_3\.png: found 4×2 pixels.*4×3"):
        import_maps(tmp_path, tmp_path / "out")


def test_8_bit_values_as_floats_keep_their_heights(tmp_path: Path) -> None:
    write(tmp_path, {"keys": KEYS, "cam": np.array([[[0, 51]], [[102, 255]]], np.float32)})
    with pytest.raises(UserError, match=r"values from 0 to 255.*--divide 255.*--normalise"):
        imported(tmp_path)
    assert imported(tmp_path, divide=255)["maps"].ravel().tolist() == pytest.approx([0, 0.2, 0.4, 1])


def test_a_photos_extension_is_left_out_of_names(tmp_path: Path) -> None:
    write(tmp_path, {"keys": KEYS, "cam": MAPS}, "web/p.jpg")
    import_maps(tmp_path, tmp_path / "out")
    assert (tmp_path / "out" / "web" / "p.npz").is_file()
    write(tmp_path, {"keys": KEYS, "cam": MAPS}, "web/p")
    with pytest.raises(UserError, match=r"p\.jpg\.npy and p\.npy.*one \.npy file a photo"):
        import_maps(tmp_path, tmp_path / "out")


class Asks:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch made",)


shared: list[Any] = [1]
for _ in range(60):
    shared = [shared, shared]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"keys": KEYS, "cam": MAPS, "hook": Asks()}, rf"asks for {os.system.__module__}\.system"),
        (np.array([Asks(), Asks()]), r"asks for|Python objects"),
        (MAPS, "found an array of numbers"),
        ([1, 2], "found an array of numbers"),
        ({"keys": KEYS, "logits": MAPS}, r"'keys', 'logits'.*--array"),
        ({"cam": MAPS}, "a dictionary of 'cam'"),
        ({"keys": KEYS, "cam": MAPS[:1]}, r"2 keys for maps of shape \(1, 3, 4\)"),
        ({"keys": KEYS[:1], "cam": MAPS}, "background map without a key"),
        ({"keys": KEYS, "cam": MAPS[:, 0]}, r"shape \(2, 4\)"),
        ({"keys": KEYS, "cam": np.array(0.5)}, r"shape \(\)"),
        ({"keys": np.array([0]), "cam": np.array(0.5)}, r"shape \(\)"),
        ({"keys": np.array([0, 3]), "cam": np.full((2, 1, 1), 1e300)}, r"key 0 and another one"),
        ({"keys": KEYS, "cam": MAPS[:, :0]}, r"shape \(2, 0, 4\)"),
        ({"keys": KEYS, "cam": list(MAPS)}, "shape None"),
        ({1: MAPS[0], 2: MAPS[0, :2]}, "shape None"),
        ({1: [0.5], 2: MAPS[0]}, "shape None"),
        ({"keys": KEYS.astype(float), "cam": MAPS}, "whole numbers"),
        ({"keys": KEYS[None], "cam": MAPS}, "whole numbers"),
        ({"keys": ["cat", "dog"], "cam": MAPS}, "whole numbers"),
        ({"keys": np.arange(300), "cam": MAPS}, "found 300 keys; expected at most 255"),
        ({"keys": shared, "cam": MAPS}, "whole numbers"),
        ({1: shared, 2: shared}, "shape None"),
        ({"keys": np.array([2, 2]), "cam": MAPS}, r"keys \[2, 2\]"),
        ({"keys": np.array([-1, 2]), "cam": MAPS}, r"keys \[-1, 2\]"),
        ({"keys": np.array([2, 254]), "cam": MAPS}, r"keys \[2, 254\]"),
        ({"keys": KEYS, "cam": MAPS * np.nan}, "not finite"),
        ({"keys": KEYS, "cam": MAPS > 0.5}, "type bool"),
    ],
)
def test_what_cannot_be_converted_is_one_line_that_names_the_file(
    content: Any, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, content)
    with pytest.raises(UserError, match=words) as error:
        imported(tmp_path)
    assert "p.npy" in str(error.value) or "key 0" in words
    assert "\n" not in str(error.value)
    assert not list(tmp_path.rglob("*.npz*"))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\xff\xff{", b"PK\x03\x04", b"\x80\x04N."])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "p.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"p\.npy.*npy header"):
        imported(tmp_path)


def test_a_file_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "p.npy").open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(UserError, match="found a file of more than 134217728 bytes"):
        imported(tmp_path)


def test_a_folder_that_is_no_file_and_a_folder_without_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.npy")
    with pytest.raises(UserError, match=r"p\.npy: found a pipe"):
        imported(tmp_path)
    with pytest.raises(UserError, match=r"no \.npy file"):
        import_maps(tmp_path / "nowhere", tmp_path / "out")


def test_the_same_import_gives_the_same_bytes_and_replaces_what_was_there(tmp_path: Path) -> None:
    write(tmp_path / "maps", {"keys": KEYS, "cam": MAPS}, "web.1/p.q")
    (tmp_path / "out" / "web.1").mkdir(parents=True)
    target = tmp_path / "out" / "web.1" / "p.q.npz"
    target.write_bytes(b"of an earlier import")
    contents = []
    for _ in range(2):
        said = import_maps(tmp_path / "maps", tmp_path / "out")
        contents.append(target.read_bytes())
    assert contents[0] == contents[1]
    what = "taken: 'cam'; keys are class ids"
    assert said == f"1 photos with 2 maps, class ids 2 to 14, in {tmp_path / 'out'}; {what}"
    assert list((tmp_path / "out").rglob("*.*")) == [tmp_path / "out" / "web.1", target]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"keys": KEYS, "cam": MAPS})
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=r"cannot be written"):
        import_maps(tmp_path, tmp_path / "file")


def test_the_command_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()
    app.add_typer(data_app)
    write(tmp_path, {"keys": np.array([0, 3]), "cam": MAPS * 9, "rw": MAPS * 3})
    options = ["--array", "rw", "--keys", "classes", "--normalise"]
    app(["data", "import-maps", str(tmp_path), str(tmp_path / "out"), *options], standalone_mode=False)
    what = "taken: 'rw'; keys are class ids; each map divided by its own maximum"
    assert capsys.readouterr().out == f"1 photos with 2 maps, class ids 0 to 3, in {tmp_path / 'out'}; {what}\n"
    assert read_npz(tmp_path / "out" / "p.npz", ("maps",))["maps"].max() == 1
