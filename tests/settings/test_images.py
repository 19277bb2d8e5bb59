"""Photos come out upright, RGB and 8-bit, or are refused by name."""

from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from settings.errors import UserError
from settings.images import EXIF_ORIENTATION, photo_size, read_photo, resize

UPRIGHT = np.repeat(
    np.repeat(np.array([[[250, 0, 0], [0, 250, 0], [0, 0, 250]], [[0, 0, 0], [250] * 3, [128] * 3]]), 16, 0), 16, 1
)
"""2 × 3 squares of 16 pixels, (32, 48, 3)."""
STORED = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: image.swapaxes(0, 1)[::-1],
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: image.swapaxes(0, 1)[:, ::-1],
}
"""EXIF orientation → how a camera stored the upright photo (the first row and column lie where the standard says)."""


def save(path: Path, pixels: np.ndarray, orientation: object) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(np.ascontiguousarray(pixels.astype(np.uint8))).save(path, exif=exif, quality=100, subsampling=0)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_photos_are_turned_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = tmp_path / f"p.{suffix}"
    save(path, STORED[orientation](UPRIGHT), orientation)
    image = read_photo(path)
    assert image.dtype == np.uint8
    assert photo_size(path) == image.shape[:2] == (32, 48)
    assert np.abs(image.astype(int) - UPRIGHT).max() < 12


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_orientations_that_do_not_exist_turn_nothing(tmp_path: Path, orientation: int) -> None:
    save(tmp_path / "p.jpg", UPRIGHT, orientation)
    assert photo_size(tmp_path / "p.jpg") == read_photo(tmp_path / "p.jpg").shape[:2] == (32, 48)


@pytest.mark.parametrize(
    ("mode", "suffix"), [("CMYK", "jpg"), ("L", "jpg"), ("L", "png"), ("RGBA", "png"), ("P", "png")]
)
def test_every_mode_comes_out_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"p.{suffix}"
    Image.new("RGB", (5, 4), (102, 102, 102)).convert(mode).save(path)
    image = read_photo(path)
    assert (image.shape, image.dtype) == ((4, 5, 3), np.uint8)
    assert np.abs(image.astype(int) - 102).max() <= 3


def test_sixteen_bit_grey_is_refused_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 5), 20_000, np.uint16)).save(tmp_path / "p.png")
    with pytest.raises(UserError, match=r"p\.png: found mode I;16; expected 8 bits a channel; save it with 8 bits"):
        read_photo(tmp_path / "p.png")


def test_files_that_are_no_photos_are_refused_by_name(tmp_path: Path) -> None:
    buffer = BytesIO()
    Image.fromarray(UPRIGHT.astype(np.uint8)).save(buffer, "JPEG")
    half = buffer.getvalue()[: len(buffer.getvalue()) // 2]
    Image.new("RGB", (4, 4)).save(tmp_path / "gif.jpg", "GIF")
    contents = {"empty": b"", "text": b"hello\n", "truncated": half}
    for name, content in contents.items():
        (tmp_path / f"{name}.jpg").write_bytes(content)
    (tmp_path / "folder.jpg").mkdir()
    for name in (*contents, "gif", "folder"):
        with pytest.raises(UserError, match=rf"^\S*{name}\.jpg: found an unreadable image .*expected a JPEG or PNG"):
            read_photo(tmp_path / f"{name}.jpg")
    for name, what in {
        "empty": "an empty file",
        "text": "another format than JPEG or PNG",
        "gif": "another format than JPEG or PNG",
    }.items():
        with pytest.raises(UserError, match=rf"^\S*{name}\.jpg: found an unreadable image \({what}\); expected"):
            read_photo(tmp_path / f"{name}.jpg")
    for read in (read_photo, photo_size):
        with pytest.raises(UserError, match=r"missing\.jpg: found no such file"):
            read(tmp_path / "missing.jpg")


@pytest.mark.parametrize("side", [8001, 9600, 20_000])
def test_huge_headers_are_refused_before_decoding(tmp_path: Path, side: int, png: Callable[..., bytes]) -> None:
    (tmp_path / "p.png").write_bytes(png(side, side, 8, 2, b""))
    for read in (read_photo, photo_size):
        with pytest.raises(UserError, match=r"p\.png: found .*pixels; expected at most 64000000 pixels; make it"):
            read(tmp_path / "p.png")


@given(position=st.integers(0, 400), value=st.integers(0, 255), kind=st.sampled_from(["JPEG", "PNG"]))
def test_a_damaged_byte_gives_a_photo_or_a_user_error(
    position: int, value: int, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    buffer = BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (12, 9, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, kind, exif=exif)
    content = bytearray(buffer.getvalue())
    content[position] = value
    path = tmp_path_factory.mktemp("photos") / "p.img"
    path.write_bytes(content)
    for read in (read_photo, photo_size):
        try:
            read(path)
        except UserError as error:
            assert "p.img: found" in str(error)


def test_a_photo_of_another_content_than_was_planned_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    Image.new("RGB", (3, 2), (1, 2, 3)).save(path)
    content = sha256(path.read_bytes()).hexdigest()
    assert read_photo(path, content).shape == (2, 3, 3)
    assert np.array_equal(read_photo(path, content), read_photo(path))
    path.write_bytes(b"no photo, and not looked at")
    expected = rf"p\.png: found another content \(\w{{12}}…\); expected that .* \({content[:12]}…\); put the file back"
    with pytest.raises(UserError, match=expected):
        read_photo(path, content)


def test_resize() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    image[:, 3:] = 200
    assert resize(image, 2, 3).shape == (2, 3, 3)
    assert resize(image, 9, 5).shape == (9, 5, 3)
    assert np.array_equal(resize(image, 4, 6), image)
    assert resize(image, 1, 1).ravel().tolist() == [100] * 3, "shrinking averages"
    assert np.array_equal(resize(image[:, ::-1], 2, 2), resize(image, 2, 2)[:, ::-1])
