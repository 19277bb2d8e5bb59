"""Pseudo labels that take the outlines of mask proposals, such as SAM's, by the rule of SAM_WSSS (Chen et al., 2023):

<root>/<photo id>/*.png    8-bit grey, 128 and more inside; one file a proposal, which may overlap each other
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from methods.base import LocalizationMaps, Saliency
from methods.labelers.threshold import Threshold as ThresholdLabeler
from methods.labelers.threshold import ThresholdOptions
from methods.outside import OutsideOptions, place_of
from settings.errors import UserError
from settings.masks import check_size
from settings.records import Mask, Photo
from settings.saliency import read_saliency

INSIDE = 128
"""Grey level from which a pixel is in a proposal."""


class ProposalsOptions(ThresholdOptions, OutsideOptions):
    """The threshold rule that makes a mask of the maps, where the proposals lie, and which of them are taken."""

    inside: float = Field(
        0.5, ge=0, le=1, description="a proposal is taken with more of it in the class than this share"
    )
    covers: float = Field(0.85, ge=0, le=1, description="or where it holds at least this share of the class")


class Proposals(ThresholdLabeler):
    """The threshold labeler's mask, in which proposals replace the pixels of each class that they lie over."""

    options_model = ProposalsOptions
    options: ProposalsOptions
    place_options = frozenset({"root"})

    @property
    def supervision(self) -> str:
        """What the user says that the proposals were made with."""
        return self.options.supervision

    def files(self, photo: Photo) -> tuple[Path, ...]:
        """The PNGs of the photo's folder, by name; raises UserError where there are none.

        None for a photo without labels.
        """
        if not photo.labels:
            return ()
        folder = place_of(self.options.root, photo)
        found = tuple(sorted(folder.glob("*.png"))) if folder.is_dir() else ()
        if not found:
            raise UserError(folder, "no proposals", f"a folder of one .png a proposal for photo '{photo.id}'")
        return found

    def label(self, photo: Photo, maps: LocalizationMaps | None, cue_HW: Saliency | None = None) -> Mask:
        """uint8 (H, W) without undecided pixels; raises UserError for a proposal of another size than the photo."""
        mask_HW = super().label(photo, maps, cue_HW)
        proposals = []
        for path in self.files(photo):
            grey_HW = read_saliency(path)
            check_size(path, grey_HW, mask_HW.shape)
            proposals.append(grey_HW >= INSIDE)
        return merged(mask_HW, proposals, self.options.inside, self.options.covers)


def merged(mask_HW: Mask, proposals: Sequence[NDArray[np.bool_]], inside: float = 0.5, covers: float = 0.85) -> Mask:
    """A mask whose classes, from the lowest up, take the proposals (H, W) that fit them; each is taken once.

    A proposal fits a class if more than `inside` of it lies in the class, or if it holds at least `covers` of the
    class. Pixels of the class under no proposal that is left stay its own; those under rejected ones alone become
    background. Where two classes take the same pixels, the higher class id has them.
    """
    left = list(proposals)
    result_HW = np.zeros_like(mask_HW)
    for value in np.unique(mask_HW[mask_HW > 0]):
        in_class_HW = mask_HW == value
        under_any_HW, taken_HW = np.zeros_like(in_class_HW), np.zeros_like(in_class_HW)
        rejected = []
        for proposal_HW in left:
            under_any_HW |= proposal_HW
            shared = np.count_nonzero(proposal_HW & in_class_HW)
            fits = shared > inside * np.count_nonzero(proposal_HW) or shared >= covers * np.count_nonzero(in_class_HW)
            if fits:
                taken_HW |= proposal_HW
            else:
                rejected.append(proposal_HW)
        left = rejected
        result_HW[taken_HW | (in_class_HW & ~under_any_HW)] = value
    return result_HW
