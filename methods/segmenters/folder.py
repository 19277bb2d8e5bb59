"""Predictions that any other program made of val, as a segmentation: `<root>/<photo id>.png`, class indices.

What trained the network is not asked: a recipe of this segmenter needs neither localizer nor labeler.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from methods.base import Photos, Segmenter, Surroundings
from methods.outside import OutsideOptions, mask_file, read_mask_of
from settings.errors import UserError
from settings.masks import check_values
from settings.records import UNKNOWN, Mask, Photo


class FolderSegmenter(Segmenter):
    """Reads the prediction of each photo; nothing is trained."""

    options_model = OutsideOptions
    place_options = frozenset({"root"})
    options: OutsideOptions
    knows_scored_photos_alone = True

    @property
    def supervision(self) -> str:
        """What the user says that the predictions were made with."""
        return self.options.supervision

    def files(self, photo: Photo) -> tuple[Path, ...]:
        """The prediction's file; raises UserError where there is none."""
        return (mask_file(self.options.root, photo),)

    def apply(self, photos: Photos, surroundings: Surroundings) -> Iterator[Mask]:
        """The masks as they are; raises UserError for another size than the photo's, values above K, and 255."""
        classes = surroundings.label_space.foreground + 1
        for photo in photos:
            (path,) = self.files(photo)
            mask_HW = read_mask_of(photo, path)
            check_values(path, mask_HW, classes)
            if (mask_HW == UNKNOWN).any():
                mend = "masks that leave pixels undecided are pseudo labels: labeler 'folder' reads those of train"
                raise UserError(
                    path, f"mask value {UNKNOWN}", f"0..{classes - 1}: a prediction decides each pixel", mend
                )
            yield mask_HW
