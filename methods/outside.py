"""What components have in common that take over what other programs made: where it lies, and who supervised it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from settings.errors import UserError
from settings.masks import check_size, read_mask
from settings.options import AbsolutePath, Options
from settings.photo_ids import file_of
from settings.records import Mask, Photo

SUPERVISION = "what the files were made with: I image-level labels, S a salient-object network, L language, …; I+S"


class OutsideOptions(Options):
    """Where the files lie, and what supervision made them."""

    root: AbsolutePath = Field(description="the folder of the files")
    supervision: str = Field("", validate_default=True, pattern=r"^([A-Z](\+[A-Z])*)?$", description=SUPERVISION)

    @field_validator("supervision")
    @classmethod
    def _declared(cls, supervision: str) -> str:
        if not supervision:
            raise ValueError(SUPERVISION)
        return supervision


def place_of(root: Path, photo: Photo, suffix: str = "") -> Path:
    """`<root>/<place or id><suffix>`; raises UserError for a place outside the folder, and for a missing folder."""
    if not root.is_dir():
        raise UserError(root, "no folder", "the folder of what another program made")
    return file_of(root, photo.place or photo.id, suffix)


def mask_file(root: Path, photo: Photo) -> Path:
    """`<root>/<place or id>.png`; raises UserError where there is no such file."""
    path = place_of(root, photo, ".png")
    if not path.is_file():
        raise UserError(path, "no such file", f"the mask of photo '{photo.id}'")
    return path


def read_mask_of(photo: Photo, path: Path) -> Mask:
    """The mask of a file, uint8 (H, W); raises UserError for another size than the photo's, and for no mask."""
    mask_HW = read_mask(path)
    check_size(path, mask_HW, photo.image().shape[:2])
    return mask_HW
