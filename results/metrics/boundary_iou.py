"""Boundary IoU: the IoU of the inner rims of masks, which large objects cannot hide (Cheng et al., CVPR 2021).

The rim of a class is what lies within 2 % of the photo's diagonal of where the class ends, the photo's edge among
that (at least one pixel; distance is that of king's moves, as in the released program). One sum over all photos for
each class, then the mean over classes, as mIoU. Pixels of unknown truth are in no rim, and what is predicted there
does not matter: classes end at them, in the truth and in the prediction.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from results.metric import Metric
from results.metrics.counts import as_mask, check_classes, check_same_shape
from results.metrics.miou import iou, mean_of_defined
from settings.records import UNKNOWN, Mask

__all__ = ["BoundaryCounts", "BoundaryIoU", "boundary_counts", "rim_width"]

SHARE = 0.02
"""Of the diagonal."""


@dataclass(frozen=True, eq=False)
class BoundaryCounts:
    """Pixels of rims by class, background first: int64, (3, classes): in both rims, in the predicted, in the true."""

    pixels: NDArray[np.int64]

    def __add__(self, other: "BoundaryCounts") -> "BoundaryCounts":
        if not isinstance(other, BoundaryCounts):
            return NotImplemented
        if other.pixels.shape != self.pixels.shape:
            raise ValueError(f"rims of {self.pixels.shape[1]} and {other.pixels.shape[1]} classes cannot be added")
        return BoundaryCounts(self.pixels + other.pixels)

    def __radd__(self, other: int) -> "BoundaryCounts":
        # sum() begins with 0.
        return self if other == 0 else NotImplemented

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BoundaryCounts) and np.array_equal(self.pixels, other.pixels)

    def __hash__(self) -> int:
        return hash(self.pixels.tobytes())


def boundary_counts(prediction_HW: Mask, truth_HW: Mask, classes: int) -> BoundaryCounts:
    """Count one image's rims by class; `classes` (2..255) includes the background.

    Raises ValueError for other shapes or types, and for a value of `classes` or more where the truth is known.
    """
    check_classes(classes)
    prediction, truth = as_mask(prediction_HW, "prediction"), as_mask(truth_HW, "truth")
    check_same_shape(prediction, truth)
    known = truth != UNKNOWN
    prediction = np.where(known, prediction, np.uint8(UNKNOWN))
    for what, mask in (("prediction", prediction), ("truth", truth)):
        if (stray := mask[known & (mask >= classes)]).size:
            raise ValueError(f"{what} must be below {classes}, found {stray[0]}")
    width = rim_width(*truth.shape)
    predicted_rim, true_rim = (known & _rim(mask, width) for mask in (prediction, truth))
    both = predicted_rim & true_rim & (prediction == truth)
    rims = (truth[both], prediction[predicted_rim], truth[true_rim])
    return BoundaryCounts(np.stack([np.bincount(values, minlength=classes) for values in rims]).astype(np.int64))


def rim_width(height: int, width: int) -> int:
    """The width of a photo's rims in pixels, at least 1."""
    return max(1, round(SHARE * float(np.hypot(height, width))))


def _rim(mask: Mask, width: int) -> NDArray[np.bool_]:
    """The pixels that have one of another class, or the outside, within `width` rows and columns."""
    from scipy.ndimage import maximum_filter, minimum_filter

    if not mask.size:
        return np.zeros(mask.shape, np.bool_)
    # Values from 1 on, 0 outside: one pass for all classes, since a pixel lies inside where no other value is near.
    values, size = mask.astype(np.uint16) + 1, 2 * width + 1
    low = minimum_filter(values, size, mode="constant", cval=0)
    rim: NDArray[np.bool_] = low != maximum_filter(values, size, mode="constant", cval=0)
    return rim


class BoundaryIoU(Metric[BoundaryCounts]):
    """Mean over the classes that have a rim in truth or prediction."""

    reads = "masks"
    tally = staticmethod(boundary_counts)

    def measures(self, counted: BoundaryCounts) -> Mapping[str, float]:
        """The one number; nan where nothing was counted."""
        hits, predicted, truth = counted.pixels
        return {"boundary IoU": float(mean_of_defined(iou(hits, truth, predicted)))}
