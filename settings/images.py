"""Safe decoding of photos: size limits, EXIF orientation, colour modes."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from settings.errors import UserError
from settings.masks import MAX_PIXELS
from settings.records import Image

EXIF_ORIENTATION = 0x0112


def read_photo(path: Path) -> Image:
    """Decode a JPEG or PNG photo as uint8 RGB (H, W, 3), turned upright as its EXIF says.

    Raises UserError for a missing, truncated or non-image file and for more than MAX_PIXELS pixels.
    """
    with _opened(path) as image:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def photo_size(path: Path) -> tuple[int, int]:
    """(height, width) of the upright photo, from its header alone; raises UserError as `read_photo` does."""
    with _opened(path) as image:
        turned = image.getexif().get(EXIF_ORIENTATION, 1) >= 5
        return (image.width, image.height) if turned else (image.height, image.width)


def resize(image: Image, height: int, width: int) -> Image:
    """Resize to (height, width) by Pillow's bilinear filter, which averages when it shrinks."""
    resized = PillowImage.fromarray(image).resize((width, height), PillowImage.Resampling.BILINEAR)
    return np.asarray(resized)


@contextmanager
def _opened(path: Path) -> Iterator[PillowImage.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PillowImage.DecompressionBombWarning)
            with PillowImage.open(path, formats=("JPEG", "PNG")) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UserError(path, f"{image.width}×{image.height} pixels", f"at most {MAX_PIXELS}")
                yield image
    except FileNotFoundError:
        raise UserError(path, "no such file", "a JPEG or PNG photo") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError) as error:
        raise UserError(path, f"an unreadable image ({error})", "a JPEG or PNG photo") from None
