"""IoU by the size of objects: what a mean over all pixels owes to large ones.

In each photo a class is small, medium or large by its share of the photo's known pixels. Of each size and class the
pixels of those photos are added up, IoU is taken, and then the mean over the classes that occur in this size. A photo
that does not show a class belongs to none of its sizes: what is predicted of it there counts in mIoU alone.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from results.metric import Metric
from results.metrics.image_sums import ImageSums
from results.metrics.miou import iou, mean_of_defined

__all__ = ["SIZES", "SizeIoU"]

SIZES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"small, < 5 %": (0.0, 0.05), "medium, 5–20 %": (0.05, 0.2), "large, ≥ 20 %": (0.2, np.inf)}
)
"""Name → the least share of the photo, and the one that it stays below."""


class SizeIoU(Metric[ImageSums]):
    """Mean IoU of foreground classes where they are small, medium, large."""

    reads = "counts"

    def measures(self, counted: ImageSums) -> Mapping[str, float]:
        """One number a size; nan for a size that no class has in any photo."""
        known_N1 = counted.truth_NC.sum(axis=1, keepdims=True)
        share_NK = counted.truth_NC[:, 1:] / np.maximum(known_N1, 1)
        found = {}
        for name, (least, below) in SIZES.items():
            chosen_NK = (share_NK > 0) & (share_NK >= least) & (share_NK < below)
            hits_K, true_K, predicted_K = (
                (pixels_NC[:, 1:] * chosen_NK).sum(axis=0)
                for pixels_NC in (counted.hits_NC, counted.truth_NC, counted.predicted_NC)
            )
            found[f"mIoU of objects, {name}"] = float(mean_of_defined(iou(hits_K, true_K, predicted_K)))
        return found
