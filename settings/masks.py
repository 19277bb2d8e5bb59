"""The one place where mask PNGs are read and written: 8-bit class indices, palette or grey, 255 unknown."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageFile

from settings.decoding import opened
from settings.errors import UserError
from settings.records import UNKNOWN, Mask

__all__ = [
    "PALETTE",
    "StrayValues",
    "by_colours",
    "check_size",
    "check_values",
    "encode_mask",
    "read_mask",
    "resize_mask",
    "write_mask",
]


def voc_palette() -> bytes:
    """The 256 RGB colours that PASCAL VOC gives to mask values: each triple of bits sets the next bit of r, g, b."""
    values = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((values >> (3 * bit + channel)) & 1).astype(np.uint8) << (7 - bit)
    return colours.tobytes()


PALETTE = voc_palette()
_VALUE_OF = {PALETTE[3 * value : 3 * value + 3]: value for value in range(256)}
"""The mask value of each of VOC's colours."""
SMOOTHED = 16
"""So many values of no class in one mask are no numbering of classes: values between two classes are."""
_IMPORT = "`seedbed data import-masks` makes class indices of"
_MENDS = {
    "RGB": f"{_IMPORT} colours",
    "RGBA": f"{_IMPORT} colours",
    "1": f"{_IMPORT} black and white",
    "LA": f"{_IMPORT} grey with alpha",
    "PA": f"{_IMPORT} palettes with alpha",
    "I": f"{_IMPORT} 16-bit masks",
    "I;16": f"{_IMPORT} 16-bit masks",
    "I;16B": f"{_IMPORT} 16-bit masks",
}
"""What mends a PNG of another mode."""


class StrayValues(UserError):
    """A mask that holds values which are no class; `present` are all of its values, ascending."""

    present: tuple[int, ...] = ()


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
    """Raise StrayValues, a UserError, when a value is neither below `classes` nor 255."""
    # Two comparisons take a tenth of the time of counting, and hardly any mask has a stray value.
    if ((mask >= classes) & (mask != UNKNOWN)).any():
        present = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
        stray = present[(present >= classes) & (present != UNKNOWN)]
        mend = "correct the mask, add the class, or say by a map which value it stands for"
        if stray.size >= SMOOTHED:
            mend = (
                f"{stray.size} such values in one mask: saved as JPEG, or resized smoothly? Export masks anew, as PNG"
            )
        error = StrayValues(where, f"mask value {stray[0]}", f"0..{classes - 1} or {UNKNOWN}", mend)
        error.present = tuple(present.tolist())
        raise error


def check_size(where: object, mask_HW: Mask, size: tuple[int, int]) -> None:
    """Raise UserError where a mask has another size than its upright photo, (height, width)."""
    height, width = size
    if mask_HW.shape == size:
        return
    mend = "make the mask at the upright photo's size"
    if mask_HW.shape == (width, height):
        mend = "the mask lies on its side: turn it as the photo's EXIF orientation turns the photo"
    found = f"{mask_HW.shape[1]}×{mask_HW.shape[0]} pixels"
    raise UserError(where, found, f"the photo's {width}×{height}", mend)


def write_mask(path: Path, mask: Mask) -> None:
    """Write a mask as a palette PNG with VOC's colours; its folder is made where it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
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


def by_colours(path: Path) -> Mask | None:
    """The mask by the colours of its palette, where these are VOC's in another order; else None.

    Tools that make a palette of their own give colours the values in the order in which they meet them.
    """
    with opened(path, ("PNG",), "an 8-bit mask PNG") as image:
        colours = bytes(image.getpalette("RGB") or ()) if image.mode == "P" else b""
        if colours == PALETTE[: len(colours)]:
            return None
        mask_HW = np.asarray(image, np.uint8)
    table = np.zeros(256, np.uint8)
    for value in np.flatnonzero(np.bincount(mask_HW.ravel(), minlength=256)).tolist():
        meant = _VALUE_OF.get(colours[3 * value : 3 * value + 3])
        if meant is None:
            return None
        table[value] = meant
    return table[mask_HW]


def _check_header(path: Path, image: ImageFile.ImageFile) -> None:
    expected, mend = "palette (P) or 8-bit grey (L)", f"{_IMPORT} grey of few bits"
    if image.mode not in ("P", "L"):
        other = "write class indices, not colours"
        raise UserError(path, f"mode {image.mode}", expected, _MENDS.get(image.mode, other))
    # Pillow stretches grey of 2 or 4 bits to 0..255: the indices would be other ones.
    if image.mode == "L" and image.tile[0].args != "L":
        raise UserError(path, f"grey of few bits ({image.tile[0].args})", expected, mend)
