"""One logistic regression a class on globally pooled frozen features: small, convex, fitted in seconds.

A web filter needs probabilities from a fit that did not train on the photo that is judged. `target` gets them from the
target photos alone, whose labels are trusted; `cross_validated` adds the extra photos of the other folds, with the
labels of their queries, noise included.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from methods.base import Classifier, Photos, Surroundings
from settings.options import Options
from settings.records import Photo

ITERATIONS = 10_000
"""Far above what the solver needs (dozens)."""


class LogisticOptions(Options):
    """What the regressions are fitted on, and how stiffly."""

    train_on: Literal["target", "cross_validated"] = "target"
    folds: int = Field(5, ge=2, le=100, description="parts of the extra photos, under train_on: cross_validated")
    regularisation: float = Field(1.0, gt=0, le=1e6, description="weight of ½‖w‖² beside the summed logistic loss")


class Logistic(Classifier):
    """Independent probabilities a class (rows do not sum to 1) by scikit-learn's LogisticRegression (lbfgs).

    Features are averaged over positions and over a photo and its mirror image, and standardised by the training
    photos. A class that all or none of them show has that share, 1 or 0, as everybody's probability.
    """

    options_model = LogisticOptions
    options: LogisticOptions

    def out_of_fold(self, target: Photos, extra: Photos, surroundings: Surroundings) -> NDArray[np.float32]:
        """float32 (extra photos, K) in [0, 1]; which fold a photo is in depends on its id alone.

        Raises ValueError where no photo is left to train on.
        """
        foreground = surroundings.label_space.foreground
        if not extra:
            return np.zeros((0, foreground), np.float32)
        features_NC = np.concatenate([self._pooled(photos, surroundings) for photos in (target, extra) if photos])
        labels_NK = _labels_NK([*target, *extra], foreground)
        folds_N = np.array([-1] * len(target) + [self._fold(photo) for photo in extra])
        probabilities_NK = np.zeros(labels_NK.shape, np.float32)
        present = np.unique(folds_N[len(target) :])
        for done, fold in enumerate(present, start=1):
            train_N = folds_N == -1 if self.options.train_on == "target" else folds_N != fold
            judged_N = folds_N == fold
            probabilities_NK[judged_N] = self._fitted(features_NC[train_N], labels_NK[train_N], features_NC[judged_N])
            surroundings.progress(done, len(present), "fits")
        return probabilities_NK[len(target) :]

    def _fold(self, photo: Photo) -> int:
        if self.options.train_on == "target":
            return 0
        return int.from_bytes(sha256(photo.id.encode()).digest()) % self.options.folds

    def _pooled(self, photos: Photos, surroundings: Surroundings) -> NDArray[np.float64]:
        views = [surroundings.pooled_NC(photos, request).numpy() for request in self.fit_features()]
        pooled_NC: NDArray[np.float64] = np.mean(views, axis=0, dtype=np.float64)
        return pooled_NC

    def _fitted(
        self, train_NC: NDArray[np.float64], labels_NK: NDArray[np.bool_], judged_MC: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """The probabilities (M, K) of judged photos."""
        if not len(train_NC):
            raise ValueError("no photo to train the classifier on")
        mean_C, std_C = train_NC.mean(0), train_NC.std(0)
        scale_C = np.where(std_C > 0, std_C, 1)
        train_NC, judged_MC = (train_NC - mean_C) / scale_C, (judged_MC - mean_C) / scale_C
        columns = [self._one_class(train_NC, labels_N, judged_MC) for labels_N in labels_NK.T]
        return np.stack(columns, axis=1)

    def _one_class(
        self, train_NC: NDArray[np.float64], labels_N: NDArray[np.bool_], judged_MC: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        from sklearn.linear_model import LogisticRegression

        if labels_N.all() or not labels_N.any():
            return np.full(len(judged_MC), labels_N.mean())
        model = LogisticRegression(C=1 / self.options.regularisation, max_iter=ITERATIONS)
        probabilities: NDArray[np.float64] = model.fit(train_NC, labels_N).predict_proba(judged_MC)[:, 1]
        return probabilities


def _labels_NK(photos: Photos, foreground: int) -> NDArray[np.bool_]:
    labels_NK = np.zeros((len(photos), foreground), np.bool_)
    for row, photo in zip(labels_NK, photos, strict=True):
        row[list(photo.labels)] = True
    return labels_NK
