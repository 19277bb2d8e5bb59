"""The label rule of CLIP-ES (Lin et al., CVPR 2023): what the maps leave is background, colours refine both, and what
is then still in doubt is unknown."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from methods.base import Labeler, LocalizationMaps, Saliency
from methods.dense_crf import dense_crf
from methods.label_steps import LabelRefiner, require_label_refiner
from methods.upsampling import upsample
from settings.options import Options
from settings.records import UNKNOWN, Mask, Photo


class ClipEsOptions(Options):
    """What refines the scores, and how sure a pixel has to be. Released: dense_crf."""

    label_refiner: LabelRefiner = "pamr"
    confidence: float = Field(0.95, ge=0, le=1, description="probability below which a pixel is unknown")


class ClipEs(Labeler):
    """argmax of [1 − the highest map, maps], refined; 255 where its probability is below the confidence."""

    options_model = ClipEsOptions
    options: ClipEsOptions

    def check_installed(self, where: str) -> None:
        """Raise Impossible where the refiner needs a package that is not installed."""
        require_label_refiner(self.options.label_refiner, where)

    def label(self, photo: Photo, maps: LocalizationMaps | None, cue_HW: Saliency | None = None) -> Mask:
        """uint8 (H, W), 255 where in doubt; a photo without labels is all background."""
        assert maps is not None
        if not maps.class_ids:
            return np.zeros(maps.image_size, np.uint8)
        maps_CHW = upsample(maps)
        scores_SHW = np.concatenate([1 - maps_CHW.max(0, keepdims=True), maps_CHW])
        probabilities_SHW = self._refined(scores_SHW, photo)
        values = np.array([0, *(class_id + 1 for class_id in maps.class_ids)], np.uint8)
        label_HW: Mask = values[probabilities_SHW.argmax(0)]
        label_HW[probabilities_SHW.max(0) < self.options.confidence] = UNKNOWN
        return label_HW

    def _refined(self, scores_SHW: NDArray[np.float32], photo: Photo) -> NDArray[np.float32]:
        """Probabilities of background and classes, which add up to 1 at every pixel."""
        if self.options.label_refiner == "dense_crf":
            # The kernels of the released program.
            return dense_crf(photo.image(), scores_SHW, 1, 3, 67, 3, 4, 10)
        if self.options.label_refiner == "pamr":
            scores_SHW = _pamr(scores_SHW, photo)
        divided_SHW: NDArray[np.float32] = scores_SHW / scores_SHW.sum(0, keepdims=True)
        return divided_SHW


def _pamr(scores_SHW: NDArray[np.float32], photo: Photo) -> NDArray[np.float32]:
    import torch

    from methods.networks.pamr import pamr

    image_3HW = torch.from_numpy(np.ascontiguousarray(photo.image())).permute(2, 0, 1)
    refined: NDArray[np.float32] = pamr(torch.from_numpy(scores_SHW)[None], image_3HW[None])[0].numpy()
    return refined
