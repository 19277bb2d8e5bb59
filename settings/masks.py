"""The one place where mask PNGs are read and written: 8-bit class indices, palette or grey, 255 unknown."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageFile

from settings.decoding import opened
from settings.errors import UserError
from settings.records import UNKNOWN, Mask

__all__ = ["PALETTE", "check_values", "encode_mask", "read_mask", "resize_mask", "write_mask"]


def voc_palette() -> bytes:
    """The 256 RGB colours that PASCAL VOC gives to mask values: each triple of bits sets the next bit of r, g, b."""
    values = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((values >> (3 * bit + channel)) & 1).astype(np.uint8) << (7 - bit)
    return colours.tobytes()


PALETTE = voc_palette()


def read_mask(path: Path, classes: int | None = None) -> Mask:
    """Read a mask PNG as indices, (H, W) uint8.

    With `classes` (K + 1, background included) every value must lie below it or be 255.
    Raises UserError for a missing or damaged file, another format, RGB(A), 16-bit and 1- to 4-bit grey, stray values.
    """
    with opened(path, ("PNG",), "an 8-bit mask PNG") as image:
        _check_header(path, image)
        mask = np.asarray(image, np.uint8)
    if classes is not None:
        check_values(path, mask, classes)
    return mask


def check_values(where: object, mask: Mask, classes: int) -> None:
    """Raise UserError when a value is neither below `classes` nor 255."""
    present = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    stray = present[(present >= classes) & (present != UNKNOWN)]
    if stray.size:
        mend = "correct the mask, or add the class"
        raise UserError(where, f"mask value {stray[0]}", f"0..{classes - 1} or {UNKNOWN}", mend)


def write_mask(path: Path, mask: Mask) -> None:
    """Write a mask as a palette PNG with VOC's colours."""
    path.write_bytes(encode_mask(mask))


def encode_mask(mask: Mask) -> bytes:
    """The bytes of a palette PNG; the same mask gives the same bytes."""
    image = PillowImage.fromarray(mask).convert("L")
    image.putpalette(PALETTE)
    buffer = BytesIO()
    image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def resize_mask(mask_HW: Mask, height: int, width: int) -> Mask:
    """The mask at (height, width): each pixel takes the value of the old pixel that its centre lies in."""
    # In whole numbers: Pillow adds up floats along a row, and lands in the neighbour where a centre lies on an edge.
    old_height, old_width = mask_HW.shape
    rows = (2 * np.arange(height) + 1) * old_height // (2 * height)
    columns = (2 * np.arange(width) + 1) * old_width // (2 * width)
    return mask_HW[np.ix_(rows, columns)]


def _check_header(path: Path, image: ImageFile.ImageFile) -> None:
    expected, mend = "palette (P) or 8-bit grey (L)", "write class indices, not colours"
    if image.mode not in ("P", "L"):
        raise UserError(path, f"mode {image.mode}", expected, mend)
    # Pillow stretches grey of 2 or 4 bits to 0..255: the indices would be other ones.
    if image.mode == "L" and image.tile[0].args != "L":
        raise UserError(path, f"grey of few bits ({image.tile[0].args})", expected, mend)
