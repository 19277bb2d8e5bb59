"""What components have in common that take over what other programs made: where it lies, and who supervised it."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from settings.errors import UserError
from settings.options import AbsolutePath, Options
from settings.records import Photo

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
    place = photo.place or photo.id
    parts = place.split("/")
    if "\\" in place or "\0" in place or not all(part.strip(".") for part in parts):
        raise UserError(root, f"photo {photo.id!r}", "an id that names a file inside the folder")
    return root.joinpath(*parts[:-1], parts[-1] + suffix)
