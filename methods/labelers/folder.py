"""Masks that any other program made, as pseudo labels: `<root>/<photo id>.png`, indices, 255 where undecided."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from methods.base import Labeler, LocalizationMaps, Saliency
from methods.outside import OutsideOptions, mask_file, read_mask_of
from settings.errors import UserError
from settings.records import UNKNOWN, Mask, Photo


class Folder(Labeler):
    """Reads the mask of each photo, which shows the photo's own labels alone, as the protocol has it.

    A photo without labels needs no mask: it is all background.
    """

    options_model = OutsideOptions
    place_options = frozenset({"root"})
    options: OutsideOptions
    needs_maps = False

    @property
    def supervision(self) -> str:
        """What the user says that the masks were made with."""
        return self.options.supervision

    def files(self, photo: Photo) -> tuple[Path, ...]:
        """The mask's file, none for a photo without labels; raises UserError where it is missing."""
        if not photo.labels:
            return ()
        return (mask_file(self.options.root, photo),)

    def label(self, photo: Photo, maps: LocalizationMaps | None, cue_HW: Saliency | None = None) -> Mask:
        """The mask; raises UserError for another size than the photo's, and for classes that its labels exclude."""
        if not photo.labels:
            return np.zeros(photo.image().shape[:2], np.uint8)
        (path,) = self.files(photo)
        mask_HW = read_mask_of(photo, path)
        allowed = (0, *(label + 1 for label in photo.labels), UNKNOWN)
        if stray := sorted(set(np.unique(mask_HW).tolist()) - set(allowed)):
            expected = f"{', '.join(map(str, allowed))}, by the image-level labels of photo '{photo.id}'"
            mend = f"write {UNKNOWN} where a program chose a class that the labels exclude"
            raise UserError(path, f"mask value {stray[0]}", expected, mend)
        return mask_HW
