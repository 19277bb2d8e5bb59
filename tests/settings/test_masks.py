"""Mask files: VOC's colours, indices in and out, and every file that is not a mask refused by name."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from settings.errors import UserError
from settings.masks import (
    PALETTE,
    StrayValues,
    by_colours,
    check_values,
    encode_mask,
    read_mask,
    resize_mask,
    write_mask,
)

MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=24))


def colours(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_the_palette_is_vocs() -> None:
    known = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    known += [(128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0), (192, 128, 0), (64, 0, 128), (192, 0, 128)]
    known += [(64, 128, 128), (192, 128, 128), (0, 64, 0), (128, 64, 0), (0, 192, 0), (128, 192, 0), (0, 64, 128)]
    triples = [tuple(PALETTE[3 * value : 3 * value + 3]) for value in range(256)]
    assert triples[:21] == known
    assert triples[255] == (224, 224, 192)
    assert len(set(triples)) == 256


def test_a_written_mask_shows_the_colours(tmp_path: Path) -> None:
    write_mask(tmp_path / "m.png", np.array([[0, 15, 255]], np.uint8))
    assert colours(tmp_path / "m.png").tolist() == [[[0, 0, 0], [192, 128, 128], [224, 224, 192]]]


@given(mask=MASKS)
def test_what_is_written_is_read(mask: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("masks") / "m.png"
    write_mask(path, mask)
    read = read_mask(path)
    assert read.dtype == np.uint8
    assert np.array_equal(read, mask)
    assert path.read_bytes() == encode_mask(mask.copy())
    Image.fromarray(mask).save(path)
    assert np.array_equal(read_mask(path), mask), "8-bit grey"


@pytest.mark.parametrize("values", [2, 4, 16])
def test_palettes_of_few_bits_are_indices(tmp_path: Path, values: int) -> None:
    mask = np.arange(values, dtype=np.uint8).reshape(2, -1)
    image = Image.fromarray(mask).convert("L")
    image.putpalette(PALETTE[: 3 * values])
    image.save(tmp_path / "m.png", bits=values.bit_length() - 1)
    assert np.array_equal(read_mask(tmp_path / "m.png"), mask)


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_grey_of_few_bits_is_refused(tmp_path: Path, depth: int, png: Callable[..., bytes]) -> None:
    """Decoders stretch such values to 0..255, which would change the classes unseen."""
    (tmp_path / "m.png").write_bytes(png(2, 1, depth, 0, b"\0\x50"))
    with pytest.raises(UserError, match=r"m\.png: found .*expected palette \(P\) or 8-bit grey \(L\)"):
        read_mask(tmp_path / "m.png")


@pytest.mark.parametrize(
    ("mode", "found"), [("RGB", "mode RGB"), ("RGBA", "mode RGBA"), ("LA", "mode LA"), ("I;16", "mode I;16")]
)
def test_other_modes_are_refused(tmp_path: Path, mode: str, found: str) -> None:
    Image.new(mode, (4, 3)).save(tmp_path / "m.png")
    with pytest.raises(
        UserError, match=rf"m\.png: found {found}; expected palette \(P\) or 8-bit grey \(L\); .*import-masks"
    ):
        read_mask(tmp_path / "m.png")


def test_files_that_are_no_masks_are_refused_by_name(tmp_path: Path) -> None:
    whole = encode_mask(np.arange(240, dtype=np.uint8).reshape(20, 12))
    jpeg = tmp_path / "jpeg.png"
    Image.new("L", (4, 3)).save(jpeg, "JPEG")
    contents = {"empty": b"", "text": b"class 3\n", "truncated": whole[: len(whole) // 2], "header": whole[:20]}
    for name, content in contents.items():
        (tmp_path / f"{name}.png").write_bytes(content)
    (tmp_path / "folder.png").mkdir()
    for name in (*contents, "jpeg", "missing", "folder"):
        with pytest.raises(UserError) as caught:
            read_mask(tmp_path / f"{name}.png")
        line = str(caught.value)
        assert f"{name}.png: found " in line
        assert "\n" not in line
    with pytest.raises(UserError, match="no such file"):
        read_mask(tmp_path / "missing.png")


@pytest.mark.parametrize("side", [8001, 9600, 20_000])
def test_huge_headers_are_refused_before_decoding(tmp_path: Path, side: int, png: Callable[..., bytes]) -> None:
    (tmp_path / "m.png").write_bytes(png(side, side, 8, 0, b""))
    with pytest.raises(UserError, match=r"m\.png: found .*pixels; expected at most 64000000 pixels; make it smaller"):
        read_mask(tmp_path / "m.png")


@example(position=29, value=0)
@given(position=st.integers(0, 200), value=st.integers(0, 255))
def test_a_damaged_byte_gives_a_mask_or_a_user_error(
    position: int, value: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(encode_mask(np.random.default_rng(0).integers(0, 256, (9, 14)).astype(np.uint8)))
    content[position] = value
    path = tmp_path_factory.mktemp("masks") / "m.png"
    path.write_bytes(content)
    try:
        assert read_mask(path).ndim == 2
    except UserError as error:
        assert "m.png: found" in str(error)


def test_stray_values(tmp_path: Path) -> None:
    write_mask(tmp_path / "m.png", np.array([[0, 3, 255]], np.uint8))
    assert read_mask(tmp_path / "m.png", 4).tolist() == [[0, 3, 255]]
    with pytest.raises(UserError, match=r"m\.png: found mask value 3; expected 0\.\.2 or 255"):
        read_mask(tmp_path / "m.png", 3)
    with pytest.raises(UserError, match="'x': found mask value 254"):
        check_values("'x'", np.array([[254]], np.uint8), 254)


@given(mask=MASKS, height=st.integers(1, 40), width=st.integers(1, 40))
def test_a_resized_mask_takes_the_value_that_each_centre_lies_in(mask: np.ndarray, height: int, width: int) -> None:
    """With fractions, pixel by pixel."""
    resized = resize_mask(mask, height, width)
    assert (resized.shape, resized.dtype) == ((height, width), np.uint8)
    for y in range(height):
        for x in range(width):
            row = int(Fraction(2 * y + 1, 2 * height) * mask.shape[0])
            column = int(Fraction(2 * x + 1, 2 * width) * mask.shape[1])
            assert resized[y, x] == mask[row, column]


@pytest.mark.parametrize("size", [(33, 47), (1, 7), (321, 5), (64, 64)])
@pytest.mark.parametrize("new", [(20, 31), (21, 21), (97, 1), (64, 64)])
def test_it_gives_what_crops_segmenters_refiners_and_pictures_wrote_for_themselves(
    size: tuple[int, int], new: tuple[int, int]
) -> None:
    mask = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    grid = zip(new, mask.shape, strict=True)
    rows, columns = ((2 * np.arange(cells) + 1) * length // (2 * cells) for cells, length in grid)
    assert np.array_equal(resize_mask(mask, *new), mask[np.ix_(rows, columns)])


def test_colours_in_another_order(tmp_path: Path) -> None:
    """VOC's palette says what its values say; another one with VOC's colours something else, with others nothing."""
    mask_HW, path = np.array([[0, 1, 255], [2, 1, 0]], np.uint8), tmp_path / "m.png"
    write_mask(path, mask_HW)
    assert by_colours(path) is None
    image = Image.fromarray(np.array([[2, 0, 3], [1, 0, 2]], np.uint8))
    image.putpalette(b"".join(PALETTE[3 * value : 3 * value + 3] for value in (1, 2, 0, 255)))
    image.save(path)
    assert np.array_equal(by_colours(path), mask_HW)
    image.putpalette(bytes([1, 2, 3] * 4))
    image.save(path)
    assert by_colours(path) is None
    Image.fromarray(mask_HW).save(path)
    assert by_colours(path) is None, "grey has no colours"


def test_stray_values_are_told_with_all_others() -> None:
    with pytest.raises(StrayValues, match=r"found mask value 9; expected 0\.\.2 or 255") as error:
        check_values("m.png", np.array([[0, 9], [255, 12]], np.uint8), 3)
    assert error.value.present == (0, 9, 12, 255)


def test_many_stray_values_are_no_numbering_of_classes(tmp_path: Path) -> None:
    write_mask(tmp_path / "m.png", np.arange(19, dtype=np.uint8)[None])
    with pytest.raises(UserError, match=r"value 3; expected 0\.\.2 or 255; 16 such values in one mask: saved as JPEG"):
        read_mask(tmp_path / "m.png", 3)
    with pytest.raises(UserError, match=r"value 4; expected 0\.\.3 or 255; correct the mask"):
        read_mask(tmp_path / "m.png", 4)
