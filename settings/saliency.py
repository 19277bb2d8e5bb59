"""The one place where saliency maps are read and written: 8-bit grey PNGs at photo size, 0 background to 255 object."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from settings.decoding import opened
from settings.errors import UserError
from settings.records import Image

__all__ = ["encode_saliency", "read_saliency", "write_saliency"]


def read_saliency(path: Path) -> Image:
    """Read a saliency map, (H, W) uint8; raises UserError for a missing or damaged file, or one that is not grey."""
    expected = "an 8-bit grey PNG"
    with opened(path, ("PNG",), expected) as image:
        # Pillow stretches grey of fewer bits to 0..255, which is what such a map means; palettes are indices.
        if image.mode not in ("L", "1"):
            raise UserError(path, f"mode {image.mode}", expected)
        return np.asarray(image.convert("L"), np.uint8)


def write_saliency(path: Path, saliency_HW: Image) -> None:
    """Write a saliency map as a grey PNG; its folder is made where it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_saliency(saliency_HW))


def encode_saliency(saliency_HW: Image) -> bytes:
    """The bytes of a grey PNG; the same map gives the same bytes."""
    buffer = BytesIO()
    PillowImage.fromarray(saliency_HW).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
