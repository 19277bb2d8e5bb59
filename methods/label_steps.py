"""What AffinityNet and IRN are trained on: labels of sure pixels, from localization maps; docs/methods.md §4.

Two segmentations of the same maps, one that is quick to say background and one that is slow to: a class is believed
of the first, background of the second, and the rest is unknown. Both may first be refined by the photo's colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from methods.dense_crf import dense_crf, require_dense_crf
from settings.records import UNKNOWN, Image, Mask

LabelRefiner = Literal["none", "pamr", "dense_crf"]
Scores = NDArray[np.float32]
Crf = Callable[[Image, Scores], Scores]
SURE = 0.7
"""IRN's CRF begins with labels, not scores: the label's probability; the other classes share the rest."""


def require_label_refiner(refiner: LabelRefiner, where: str = "") -> None:
    """Raise Impossible where the step needs a package that is not installed: before any work."""
    if refiner == "dense_crf":
        require_dense_crf(".".join(filter(None, [where, "label_refiner"])))


def affinity_labels(
    maps_CHW: Scores,
    class_ids: Sequence[int],
    image_HWC_uint8: Image,
    low: float = 4.0,
    high: float = 24.0,
    refiner: LabelRefiner = "pamr",
) -> Mask:
    """AffinityNet's labels: background (1 − max map)^low for the classes, (1 − max map)^high for the background.

    Maps in [0, 1] of the classes `class_ids` (0-based), the photo at their size (H, W, 3). Returns uint8 (H, W): 0
    background, class id + 1, 255 unknown. Where refined segmentations contradict each other the background wins, as in
    the released program. Raises ValueError for sizes that differ, UserError for a CRF that is not installed.
    """
    _same_size(maps_CHW, image_HWC_uint8)
    rest_HW = 1 - maps_CHW.max(0, initial=0)
    both = [_with_background(rest_HW**power, maps_CHW) for power in (low, high)]
    sure, wide = _segmented(both, image_HWC_uint8, refiner, _psa_crf)
    return _named(np.where(wide == 0, 0, np.where(sure == 0, -1, sure)), class_ids)


def irn_labels(
    maps_CHW: Scores,
    class_ids: Sequence[int],
    image_HWC_uint8: Image,
    foreground: float = 0.30,
    background: float = 0.05,
    refiner: LabelRefiner = "pamr",
) -> Mask:
    """IRN's labels: background `foreground` for the classes, `background` for the background; else as above.

    Where refined segmentations contradict each other the class wins, as in the released program.
    """
    _same_size(maps_CHW, image_HWC_uint8)
    both = [_with_background(np.full(maps_CHW.shape[1:], score), maps_CHW) for score in (foreground, background)]
    sure, wide = _segmented(both, image_HWC_uint8, refiner, _irn_crf)
    return _named(np.where(sure > 0, sure, np.where(wide == 0, 0, -1)), class_ids)


def _same_size(maps_CHW: Scores, image_HWC_uint8: Image) -> None:
    if maps_CHW.shape[1:] != image_HWC_uint8.shape[:2]:
        raise ValueError(f"maps {maps_CHW.shape} and a photo {image_HWC_uint8.shape} of another size")


def _with_background(score_HW: NDArray[np.floating], maps_CHW: Scores) -> Scores:
    return np.concatenate([score_HW[None], maps_CHW]).astype(np.float32)


def _named(winner_HW: NDArray[np.int64], class_ids: Sequence[int]) -> Mask:
    """0 background, n ≥ 1 the n-th class, −1 unknown → values of a mask."""
    values = np.array([0, *(class_id + 1 for class_id in class_ids), UNKNOWN], np.uint8)
    named_HW: Mask = values[winner_HW]
    return named_HW


def _segmented(
    both: Sequence[Scores], image_HWC_uint8: Image, refiner: LabelRefiner, crf: Crf
) -> list[NDArray[np.int64]]:
    """Of each, the index of the highest score, ties to the lowest; background is index 0."""
    # Of a photo without classes the background wins, refined or not; and the CRF's package wants two scores.
    has_classes = len(both[0]) > 1
    if refiner == "pamr" and has_classes:
        both = _pamr(both, image_HWC_uint8)
    if refiner == "dense_crf" and has_classes:
        both = [crf(image_HWC_uint8, scores_SHW) for scores_SHW in both]
    return [scores_SHW.argmax(0) for scores_SHW in both]


def _pamr(both: Sequence[Scores], image_HWC_uint8: Image) -> list[Scores]:
    """Both segmentations refined by PAMR in one pass, since most of the work depends on the image alone."""
    import torch

    from methods.networks.pamr import pamr

    image_3HW = torch.from_numpy(np.ascontiguousarray(image_HWC_uint8)).permute(2, 0, 1)
    refined_CHW: Scores = pamr(torch.from_numpy(np.concatenate(both))[None], image_3HW[None])[0].numpy()
    return np.split(refined_CHW, len(both))


def _psa_crf(image_HWC_uint8: Image, scores_SHW: Scores) -> Scores:
    return dense_crf(image_HWC_uint8, scores_SHW, 3, 3, 80, 13, 10, 10)


def _irn_crf(image_HWC_uint8: Image, scores_SHW: Scores) -> Scores:
    others = (1 - SURE) / (len(scores_SHW) - 1)
    is_label_SHW = scores_SHW.argmax(0) == np.arange(len(scores_SHW))[:, None, None]
    probabilities_SHW = np.where(is_label_SHW, np.float32(SURE), np.float32(others))
    return dense_crf(image_HWC_uint8, probabilities_SHW, 3, 3, 50, 5, 10, 10)
