"""Macro mean average precision of a multi-label classifier, from its scores and image-level labels."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from results.metrics.miou import mean_of_defined

__all__ = ["MeanAveragePrecision", "mean_average_precision"]


class MeanAveragePrecision(NamedTuple):
    """mAP (0..1) over the defined classes; nan where none is defined."""

    mean: float
    per_class: tuple[float, ...]
    """By class id; nan where undefined."""
    undefined: tuple[int, ...]
    """Class ids that no photo shows, left out of the mean."""


def mean_average_precision(scores_NK: NDArray[np.float32], labels_NK: NDArray[np.float32]) -> MeanAveragePrecision:
    """AP_k = Σ (R_n − R_{n−1}) P_n over the ranking of the photos by score (scikit-learn), and its mean over classes.

    Scores are compared within a class only, so logits will do; labels are multi-hot. Equal scores make one step.
    A class without a photo has no AP: it is left out of the mean and named as undefined. Raises ValueError where the
    shapes differ or a score is not finite.
    """
    from sklearn.metrics import average_precision_score

    if scores_NK.shape != labels_NK.shape:
        raise ValueError(f"scores {scores_NK.shape} for labels {labels_NK.shape}")
    shown_NK = labels_NK > 0
    ap_K = np.full(labels_NK.shape[1], np.nan)
    for class_id in np.flatnonzero(shown_NK.any(axis=0)):
        ap_K[class_id] = average_precision_score(shown_NK[:, class_id], scores_NK[:, class_id])
    undefined = tuple(int(k) for k in np.flatnonzero(np.isnan(ap_K)))
    return MeanAveragePrecision(float(mean_of_defined(ap_K)), tuple(ap_K.tolist()), undefined)
