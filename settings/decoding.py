"""Opening image files safely: size limits before decoding, one kind of error for all that is wrong with a file."""

import hashlib
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from PIL import Image as PillowImage
from PIL import ImageFile, UnidentifiedImageError

from settings.errors import UserError, changed, kind_of

__all__ = ["DAMAGED", "opened"]

MAX_PIXELS = 64_000_000
"""Masks and photos with more pixels are refused before they are decoded."""
_LIMIT = f"at most {MAX_PIXELS} pixels", "make it smaller"

DAMAGED = (
    *(OSError, EOFError, SyntaxError, struct.error),
    *(zlib.error, ValueError, TypeError, LookupError, OverflowError),
)
"""What Pillow is known to raise for damaged files."""


@contextmanager
def opened(
    path: Path, formats: tuple[str, ...], expected: str, content: str | None = None
) -> Iterator[ImageFile.ImageFile]:
    """The image with its header read; what fails inside the block, decoding included, becomes a UserError.

    So does a file whose sha256 is not `content`, where that is given: of the very bytes that are then decoded.
    Pillow's warnings about doubtful metadata are of no use to who reads pixels: they are not shown.
    """
    try:
        if path.exists() and not path.is_file():
            # A pipe would be waited for without end.
            raise UserError(path, f"an unreadable image ({kind_of(path)})", expected)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with path.open("rb") as file, PillowImage.open(_checked(file, path, content), formats=formats) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UserError(path, f"{image.width}×{image.height} pixels", *_LIMIT)
                yield image
    except FileNotFoundError:
        raise UserError(path, "no such file", expected) from None
    except PillowImage.DecompressionBombError:
        # Pillow has a limit of its own, which is larger, and tells that one.
        raise UserError(path, "too many pixels", *_LIMIT) from None
    except UnidentifiedImageError:
        # Pillow repeats the path alone.
        what = "another format than " + " or ".join(formats) if path.stat().st_size else "an empty file"
        raise UserError(path, f"an unreadable image ({what})", expected) from None
    except DAMAGED as error:
        raise UserError(path, f"an unreadable image ({error})", expected) from None


def _checked(file: BufferedReader, path: Path, content: str | None) -> BufferedReader:
    """The file at its beginning; raises UserError where it has another sha256."""
    if content is not None:
        # Hashing takes 3 to 5 % of the time that decoding takes, and no look at a file's dates could be as sure.
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != content:
            raise changed(path, found, content)
        file.seek(0)
    return file
