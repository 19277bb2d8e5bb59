"""Photos and masks from anywhere: what can be read comes out whole and upright, the rest is refused by name."""

import io
import struct
import zlib
from functools import cache
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from settings.images import EXIF_ORIENTATION, photo_size, read_photo
from settings.masks import encode_mask, read_mask
from tests.fuzz.judging import DAMAGE, Damage, damaged, folder, judge, share

MODES = ["RGB", "L", "P", "RGBA", "1", "LA", "I;16", "CMYK"]
BOMB = zlib.compress(bytes(10**7))
"""Ten megabytes in ten kilobytes."""
SIDES = st.sampled_from([0, 1, 2, 7, 5000, 70_000, 2**31 - 1])


@cache
def encoded(mode: str, orientation: int, kind: str, shape: tuple[int, int] = (9, 7)) -> bytes:
    """A file of seeded noise, (H, W) before it is turned."""
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[EXIF_ORIENTATION], exif[0x010E] = orientation, "a photo"
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 4)).astype(np.uint8)
    if mode == "I;16":
        image = Image.fromarray(noise[..., 0].astype(np.uint16) * 200)
    else:
        image = Image.fromarray(noise[..., :3]).convert("L" if mode == "LA" else mode).convert(mode)
    image.save(buffer, kind, exif=exif, **({"progressive": orientation % 2 == 0} if kind == "JPEG" else {}))
    return buffer.getvalue()


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, bool]:
    """An image file, and whether nothing happened to it."""
    mode = draw(st.sampled_from(MODES))
    kind = draw(st.sampled_from(["JPEG", "PNG"] if mode in ("RGB", "L") else ["JPEG" if mode == "CMYK" else "PNG"]))
    shape = draw(st.sampled_from([(9, 7), (1, 1), (1, 5000)]))
    content = encoded(mode, draw(st.integers(0, 9)), kind, shape)
    damage: Damage = draw(st.one_of(st.just([]), DAMAGE, DAMAGE))
    after = damaged(content, damage)
    return after, after == content and mode != "I;16"


@given(file=files())
@share(0.2)
def test_photos(file: tuple[bytes, bool]) -> None:
    content, whole = file
    with folder() as root:
        path = root / "photo.jpg"
        path.write_bytes(content)
        image, size = judge(lambda: read_photo(path)), judge(lambda: photo_size(path))
        if whole:
            assert image is not None and image.shape[:2] in ((9, 7), (7, 9), (1, 1), (1, 5000), (5000, 1))
        if image is not None:
            assert (image.dtype, image.ndim, image.shape[2]) == (np.uint8, 3, 3)
            assert size in (None, image.shape[:2])


@st.composite
def crafted(draw: st.DrawFn) -> bytes:
    """A PNG whose checksums are right and whose chunks lie: sizes, depths, colour types, bombs in text and pixels."""
    method = st.sampled_from([0, 0, 0, 1])
    header = (draw(SIDES), draw(SIDES), draw(st.sampled_from([1, 2, 4, 8, 16, 3])), draw(st.sampled_from([0, 2, 3, 6])))
    parts = [(b"IHDR", struct.pack(">IIBBBBB", *header, draw(method), draw(method), draw(method)))]
    names = st.sampled_from([b"PLTE", b"tRNS", b"pHYs", b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"fcTL", b"fdAT"])
    bomb = st.sampled_from([b"key\0\0" + BOMB, b"key\0\1\0\0\0" + BOMB])
    parts += draw(st.lists(st.tuples(names, st.one_of(st.binary(max_size=40), bomb)), max_size=3))
    parts.append((b"IDAT", draw(st.sampled_from([b"", zlib.compress(bytes(60)), BOMB]))))
    chunks = (
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in (*parts, (b"IEND", b""))
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@given(content=crafted())
@share(0.1)
def test_files_that_lie(content: bytes) -> None:
    with folder() as root:
        path = root / "photo.png"
        path.write_bytes(content)
        width, height = struct.unpack(">II", content[16:24])
        for result in (judge(lambda: read_photo(path)), judge(lambda: read_mask(path, 255))):
            assert result is None or sorted(result.shape[:2]) == sorted((height, width))


@given(
    values=st.lists(st.integers(0, 255), min_size=6, max_size=6),
    damage=st.one_of(st.just([]), DAMAGE),
    k=st.integers(2, 255),
)
@share(0.15)
def test_masks(values: list[int], damage: Damage, k: int) -> None:
    mask_HW = np.array(values, np.uint8).reshape(2, 3)
    content = encode_mask(mask_HW)
    with folder() as root:
        path = root / "mask.png"
        path.write_bytes(damaged(content, damage))
        read: Any = judge(lambda: read_mask(path, k))
        if path.read_bytes() == content:
            assert (read is not None) == all(value < k or value == 255 for value in values)
            assert read is None or np.array_equal(read, mask_HW)
        elif read is not None:
            assert read.dtype == np.uint8 and ((read < k) | (read == 255)).all()


@given(mode=st.sampled_from(["RGB", "RGBA", "LA", "I;16", "1"]))
@share(0.01)
def test_masks_of_another_kind_are_refused(mode: str) -> None:
    with folder() as root:
        path = root / "mask.png"
        path.write_bytes(encoded(mode, 1, "PNG"))
        assert judge(lambda: read_mask(path)) is None
