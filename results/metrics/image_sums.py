"""What the scores of single photos, and of subsets of them, are taken from: pixels by photo and class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from results.metrics.miou import Floats, iou

__all__ = ["ImageSums"]


@dataclass(frozen=True, eq=False)
class ImageSums:
    """Pixels of each photo and class, int64 (photos, K + 1), the photos by ascending id; and the confusion of all."""

    images: tuple[str, ...]
    hits_NC: NDArray[np.int64]
    predicted_NC: NDArray[np.int64]
    truth_NC: NDArray[np.int64]
    confusion_KK: NDArray[np.int64]
    """Of all photos together, (K + 1, K + 1), [truth, prediction]."""

    def over(self, images: Sequence[str]) -> "ImageSums":
        """Over other images, ascending, among which are its own: the rest have no counted pixel."""
        if tuple(images) == self.images:
            return self
        where = np.searchsorted(np.array(images), np.array(self.images))

        def wider(own_NC: NDArray[np.int64]) -> NDArray[np.int64]:
            wide_NC = np.zeros((len(images), own_NC.shape[1]), np.int64)
            wide_NC[where] = own_NC
            return wide_NC

        hits, predicted, truth = map(wider, (self.hits_NC, self.predicted_NC, self.truth_NC))
        return ImageSums(tuple(images), hits, predicted, truth, self.confusion_KK)

    def iou_NC(self) -> Floats:
        """IoU of each class in each photo; nan where the photo has the class in neither truth nor prediction."""
        return iou(self.hits_NC, self.truth_NC, self.predicted_NC)
