"""The label rule of AuxSegNet (Xu et al., ICCV 2021): a pixel is sure where maps and saliency say the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from methods.base import Labeler, LocalizationMaps, Saliency
from methods.upsampling import upsample, upsample_background
from settings.options import Options
from settings.records import UNKNOWN, Mask, Photo


class AgreementOptions(Options):
    """Where a map shows its class, and where saliency an object; both in [0, 1]."""

    map_threshold: float = Field(0.2, ge=0, le=1)
    saliency_threshold: float = Field(0.06, ge=0, le=1)


RELEASED = AgreementOptions()


class Agreement(Labeler):
    """Reads maps with a background map beside them, as the refiner `cross_task` gives, and the cue's saliency.

    The saliency is the mean of the cue's and of what the background map leaves.
    """

    options_model = AgreementOptions
    options: AgreementOptions

    @property
    def needs_cue(self) -> bool:
        """True: half of the saliency is the cue's."""
        return True

    @property
    def needs_background(self) -> bool:
        """True: the other half is what the background map leaves."""
        return True

    def label(self, photo: Photo, maps: LocalizationMaps | None, cue_HW: Saliency | None = None) -> Mask:
        """uint8 (H, W), 255 where maps and saliency disagree; a photo without labels is all background.

        Raises ValueError for a saliency map of another size than the photo's, and for maps without a background.
        """
        assert maps is not None
        assert cue_HW is not None
        if not maps.class_ids:
            return np.zeros(maps.image_size, np.uint8)
        if cue_HW.shape != maps.image_size:
            raise ValueError(f"{photo.id}: saliency {cue_HW.shape} of a photo {maps.image_size}")
        cue: NDArray[np.float32] = cue_HW.astype(np.float32) / np.float32(255)
        saliency_HW: NDArray[np.float32] = (1 - upsample_background(maps) + cue) / np.float32(2)
        return agreement(upsample(maps), maps.class_ids, saliency_HW, self.options)


def agreement(
    maps_CHW: NDArray[np.float32],
    class_ids: Sequence[int],
    saliency_HW: NDArray[np.float32],
    options: AgreementOptions = RELEASED,
) -> Mask:
    """The label of each pixel, uint8 (H, W), from maps of the photo's classes (0-based) and saliency of one size.

    The strongest class where a map and the saliency are above their thresholds, background where neither is, 255 where
    one is.
    """
    winner_HW = np.array(class_ids, np.uint8)[maps_CHW.argmax(0)] + np.uint8(1)
    is_class_HW = maps_CHW.max(0) > options.map_threshold
    is_salient_HW = saliency_HW > options.saliency_threshold
    label_HW: Mask = np.where(is_class_HW & is_salient_HW, winner_HW, np.uint8(0))
    label_HW[is_class_HW != is_salient_HW] = UNKNOWN
    return label_HW
