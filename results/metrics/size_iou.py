"""IoU by the size of objects: what a mean over all pixels owes to large ones.

In each photo a class is small, medium or large by its share of the photo's known pixels. Of each size and class the
pixels of those photos are added up, IoU is taken, and then the mean over the classes that occur in this size. A photo
that does not show a class belongs to none of its sizes: what is predicted of it there counts in mIoU alone.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from results.metric import Metric
from results.metrics.image_sums import ImageSums
from results.metrics.miou import iou, mean_of_defined

__all__ = ["SIZES", "Size", "SizeIoU", "of_size"]


class Size(NamedTuple):
    """Objects by the share of the photo's known pixels that a class truly takes: `least` ≤ share < `below`."""

    name: str
    bounds: str
    """In words."""
    least: float
    below: float


SIZES = (
    Size("small", "< 5 %", 0.0, 0.05),
    Size("medium", "5–20 %", 0.05, 0.2),
    Size("large", "≥ 20 %", 0.2, float("inf")),
)


def of_size(truth_NC: NDArray[np.int64], size: Size) -> NDArray[np.bool_]:
    """In which photos which classes have the size, (photos, K + 1), from their true pixels; the background in none."""
    share_NC = truth_NC / np.maximum(truth_NC.sum(axis=1, keepdims=True), 1)
    is_NC: NDArray[np.bool_] = (truth_NC > 0) & (share_NC >= size.least) & (share_NC < size.below)
    is_NC[:, 0] = False
    return is_NC


class SizeIoU(Metric[ImageSums]):
    """Mean IoU of foreground classes where they are small, medium, large."""

    reads = "counts"

    def measures(self, counted: ImageSums) -> Mapping[str, float]:
        """One number a size; nan for a size that no class has in any photo."""
        found = {}
        for size in SIZES:
            chosen_NC = of_size(counted.truth_NC, size)
            hits_C, true_C, predicted_C = (
                (pixels_NC * chosen_NC).sum(axis=0)
                for pixels_NC in (counted.hits_NC, counted.truth_NC, counted.predicted_NC)
            )
            mean = float(mean_of_defined(iou(hits_C, true_C, predicted_C)))
            found[f"mIoU of objects, {size.name}, {size.bounds}"] = mean
        return found
