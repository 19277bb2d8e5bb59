"""The saliency rule of OAA (Jiang et al., ICCV 2019) and MCIS (Sun et al., ECCV 2020): saliency gives the shape, the
maps give the class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from methods.base import Labeler, LocalizationMaps, Saliency
from methods.upsampling import upsample
from settings.options import Options
from settings.records import UNKNOWN, Mask, Photo


class SaliencyOptions(Options):
    """The constants of the rule; scores are 0..1, saliency 0..255."""

    fg: float = Field(0.3, ge=0, le=1, description="scores below count as 0")
    conflict: float = Field(0.99, ge=0, le=1, description="more than one score above: unknown")
    att: float = Field(0.95, ge=0, le=1, description="a class score above makes a background pixel unknown")
    sal_thr: int = Field(32, ge=0, le=255, description="saliency from which a background pixel is unknown")


MCIS = SaliencyOptions()
OAA = SaliencyOptions(conflict=0.9, att=0.8)
MIN_SHARE = 0.01
"""With a smaller share of pixels that have a class, the whole mask is unknown."""


class SaliencyLabeler(Labeler):
    """Pseudo labels by the saliency rule; the defaults are the constants of MCIS."""

    options_model = SaliencyOptions
    options: SaliencyOptions

    @property
    def needs_cue(self) -> bool:
        """True: the cue's saliency gives the shape."""
        return True

    def label(self, photo: Photo, maps: LocalizationMaps | None, cue_HW: Saliency | None = None) -> Mask:
        """uint8 (H, W) with unknown pixels; a photo without labels is all background, whatever is salient in it."""
        assert maps is not None
        assert cue_HW is not None
        if not maps.class_ids:
            return np.zeros(maps.image_size, np.uint8)
        maps_KHW = (np.clip(upsample(maps), 0, 1) * 255).astype(np.uint8)
        return saliency_rule(maps_KHW, maps.class_ids, cue_HW, self.options)


def saliency_rule(
    maps_KHW: NDArray[np.uint8], class_ids: Sequence[int], saliency_HW: Saliency, options: SaliencyOptions = MCIS
) -> Mask:
    """The pseudo label of a photo from its maps and its saliency, all uint8 at photo size (docs/methods.md §3).

    `class_ids` (0-based) name the maps; the result holds 0 background, class id + 1, 255 unknown. All arithmetic is
    float32 as the released programs write it, since ties depend on it.
    """
    scores_CHW = np.concatenate([1 - saliency_HW[None].astype(np.float32) / np.float32(255), _min_max(maps_KHW)])
    scores_CHW[scores_CHW < np.float32(options.fg)] = 0
    winner_HW = scores_CHW.argmax(0)
    label_HW: Mask = np.array([0, *(class_id + 1 for class_id in class_ids)], np.uint8)[winner_HW]
    attended_HW = (scores_CHW[1:] > np.float32(options.att)).any(0)
    doubtful_HW = np.maximum(saliency_HW, np.uint8(255) * attended_HW) >= options.sal_thr
    label_HW[(winner_HW == 0) & doubtful_HW] = UNKNOWN
    label_HW[(scores_CHW > np.float32(options.conflict)).sum(0) > 1] = UNKNOWN
    if np.count_nonzero((label_HW != 0) & (label_HW != UNKNOWN)) < MIN_SHARE * label_HW.size:
        label_HW[:] = UNKNOWN
    return label_HW


def _min_max(maps_KHW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Each map stretched to [0, 1]."""
    scores_KHW = maps_KHW.astype(np.float32)
    low = scores_KHW.min((1, 2), keepdims=True)
    high = scores_KHW.max((1, 2), keepdims=True)
    stretched_KHW: NDArray[np.float32] = (scores_KHW - low) / (high - low + np.float32(1e-8))
    return stretched_KHW
