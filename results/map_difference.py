"""Whether two classifiers differ in mAP on the same photos: the photos are resampled, as they are for mIoU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from results.metrics.classification import mean_average_precision
from results.statistics import Difference, Sample, difference

__all__ = ["map_difference"]

RESAMPLES = 500
Scores = NDArray[np.float32]


def map_difference(a_NK: Scores, b_NK: Scores, labels_NK: Scores, *, resamples: int = RESAMPLES) -> Difference:
    """mAP of scores `a` less that of scores `b`, both of (photos, K), on the same photos in the same order.

    A draw leaves out the classes that none of its photos shows, for both sides. Raises ValueError for fewer than two
    photos, and where no class is defined.
    """
    if len(labels_NK) < 2 or not labels_NK.any():
        raise ValueError(f"two photos and a label at least, found {len(labels_NK)} photos")
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(labels_NK), size=len(labels_NK)) for _ in range(resamples)]
    draws = [draw for draw in draws if labels_NK[draw].any()]
    found = []
    for scores_NK in (a_NK, b_NK):
        own = mean_average_precision(scores_NK, labels_NK).mean
        drawn = [mean_average_precision(scores_NK[draw], labels_NK[draw]).mean for draw in draws]
        found.append(Sample(np.array([own]), np.array([drawn]), len(labels_NK)))
    return difference(*found)
