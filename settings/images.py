"""Safe decoding of photos: size limits, EXIF orientation, colour modes."""

from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps

from settings.decoding import opened
from settings.errors import UserError
from settings.records import Image

__all__ = ["EXIF_ORIENTATION", "photo_size", "read_photo", "resize"]

EXIF_ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)
"""The EXIF orientations of photos whose rows are stored as columns."""
FORMATS = ("JPEG", "PNG")
EXPECTED = "a JPEG or PNG photo"


def read_photo(path: Path, content: str | None = None) -> Image:
    """Decode a JPEG or PNG photo as uint8 RGB (H, W, 3), turned upright as its EXIF says.

    Raises UserError for a missing, truncated or non-image file, for more than MAX_PIXELS pixels, for 16-bit grey, and
    for a file whose sha256 is not `content`, where that is given.
    """
    with opened(path, FORMATS, EXPECTED, content) as image:
        if image.mode.startswith(("I", "F")):
            # Pillow would clip its values to white.
            raise UserError(path, f"mode {image.mode}", "8 bits a channel", "save it with 8 bits a channel")
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def photo_size(path: Path) -> tuple[int, int]:
    """(height, width) of the upright photo, from its header alone; raises UserError as `read_photo` does."""
    with opened(path, FORMATS, EXPECTED) as image:
        turned = image.getexif().get(EXIF_ORIENTATION) in SIDEWAYS
        return (image.width, image.height) if turned else (image.height, image.width)


def resize(image: Image, height: int, width: int) -> Image:
    """Resize to (height, width) by Pillow's bilinear filter, which averages when it shrinks."""
    resized = PillowImage.fromarray(image).resize((width, height), PillowImage.Resampling.BILINEAR)
    return np.asarray(resized)
