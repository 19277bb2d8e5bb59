"""What planning saw of the files outside the store, carried by stages, and held against what they read.

Keys name contents by one hash over a shard; a message has to name the file. So the runtime of a stage has the
beginning of each photo's, mask's and other file's hash. A photo is compared when it is opened and when its bytes are
decoded (`settings.images`), a mask when the gate has read it, all else before the stage is published.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.suites.recipes import file_contents
from methods.base import Component
from settings.errors import UserError, changed, counted
from settings.hashing import content_of
from settings.records import Photo

__all__ = ["check_files", "check_photos", "check_weights", "short"]

_DIGITS = 16
"""Of the 64 of a sha256: enough to tell any two files apart by, and few, since every stage carries them."""


def short(contents: Iterable[str]) -> tuple[str, ...]:
    """The beginnings of some hashes, as the runtime of a stage has them."""
    return tuple(content[:_DIGITS] for content in contents)


def check_photos(photos: Sequence[Photo], planned: Sequence[str] | None) -> None:
    """Raise UserError that names the first photo which is not as planned; None: by an older version, which knew less.

    Later, while the photos are decoded, they check themselves.
    """
    for photo, content in zip(photos, planned or (), strict=planned is not None):
        if not photo.content.startswith(content):
            raise changed(photo.file or f"photo '{photo.id}'", photo.content, content)


def check_files(component: Component, photos: Sequence[Photo], planned: Sequence[str] | None) -> None:
    """Raise UserError that names the first file of another program which is not as planned, after it was read."""
    found = file_contents(component, photos)
    if planned is None or found is None:
        return
    for photo, content, before in zip(photos, found, planned, strict=True):
        if not content.startswith(before):
            raise changed(component.files(photo)[0], content, before)


def check_weights(files: Sequence[Path], planned: Sequence[str]) -> None:
    """Raise UserError that names the first weight file which is not as planned, after it was read."""
    for path, content in zip(files, planned, strict=False):
        found = content_of(path)
        if found != content:
            raise changed(path, found, content)
    # Of downloaded weights there may be more by now.
    if len(files) != len(planned):
        expected = f"the {len(planned)} with which the run was planned"
        raise UserError("weights", counted(len(files), "file"), expected, "plan again")
