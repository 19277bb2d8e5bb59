"""The worst classes: what a mean over classes hides of them."""

from collections.abc import Mapping

import numpy as np

from results.metric import Metric
from results.metrics.image_sums import ImageSums
from results.metrics.miou import iou, mean_of_defined

__all__ = ["ClassIoU"]

LOWEST = 4
"""The worst classes are one in so many, rounded up."""


class ClassIoU(Metric[ImageSums]):
    """IoU over all photos of the worst class, and the mean of the worst quarter; the background is a class too."""

    reads = "counts"

    def measures(self, counted: ImageSums) -> Mapping[str, float]:
        """Two numbers over the classes in truth or prediction; nan where nothing was counted."""
        sums = (counted.hits_NC, counted.truth_NC, counted.predicted_NC)
        of_classes = iou(*(pixels_NC.sum(axis=0) for pixels_NC in sums))
        ascending = np.sort(of_classes[~np.isnan(of_classes)])
        worst = ascending[: -(-len(ascending) // LOWEST)]
        return {
            "IoU of the worst class": float(mean_of_defined(ascending[:1])),
            "IoU of the worst quarter of classes": float(mean_of_defined(worst)),
        }
