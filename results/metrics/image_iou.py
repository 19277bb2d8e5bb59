"""The mIoU of single photos: what a number over all pixels together hides of them.

A photo's mIoU is the mean over the classes that it has in truth or prediction. Their mean over photos is no mIoU of
the set (protocol `voc/1` is one confusion over all photos) and is never ranked.
"""

from collections.abc import Mapping

import numpy as np

from results.metric import Metric
from results.metrics.image_sums import ImageSums
from results.metrics.miou import mean_of_defined

__all__ = ["ImageIoU"]

LOWEST = 10
"""The worst photos are one in so many, rounded up."""


class ImageIoU(Metric[ImageSums]):
    """Mean over photos, and over the worst tenth of them; photos without a counted pixel are left out."""

    reads = "counts"

    def measures(self, counted: ImageSums) -> Mapping[str, float]:
        """Two numbers; nan where no photo has a counted pixel."""
        of_photos = mean_of_defined(counted.iou_NC())
        ascending = np.sort(of_photos[~np.isnan(of_photos)])
        worst = ascending[: -(-len(ascending) // LOWEST)]
        return {
            "mIoU of single photos": float(mean_of_defined(ascending)),
            "mIoU of single photos, worst tenth": float(mean_of_defined(worst)),
        }
