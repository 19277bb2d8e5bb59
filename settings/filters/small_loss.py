"""Confident learning: drop as many photos as the classes seem to be confused, those of largest loss first.

Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021 (arXiv
1911.00068), by the library cleanlab. A photo counts as class j where its probability of j reaches the mean over the
photos that were queried as j; those counts, query class by class, tell how many are wrong.
"""

import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from settings.filter import Filter, Flags, Floats, checked, query_labels
from settings.options import Options

__all__ = ["Rule", "SmallLoss", "SmallLossOptions"]

Rule = Literal["prune_by_noise_rate", "prune_by_class", "both", "confident_learning"]
"""Those rules of cleanlab that do not repeat the filter `classifier`."""


class SmallLossOptions(Options):
    """How the photos are found, once it is estimated how many are wrong."""

    filter_by: Rule = Field("prune_by_noise_rate", description="rule of cleanlab.filter.find_label_issues")


class SmallLoss(Filter):
    """Confident learning; it assumes one query class a photo, and that a photo shows exactly one of the K classes.

    So each row of probabilities is divided by its sum (a row of zeros says nothing: all classes alike). A photo whose
    query class ranks first is always kept, so no photo is dropped that rule `first` of the filter `classifier` keeps;
    and so are all photos where there is but one query class, since nothing tells of another.
    """

    options_model = SmallLossOptions
    options: SmallLossOptions

    def keep(self, probabilities_NK: Floats | None, labels_NK: NDArray[Any]) -> Flags:
        """Photos depend on each other, by the estimated counts; photos with equal rows are kept together.

        Raises ValueError for a photo with several labels too.
        """
        shown_NK = query_labels(labels_NK)
        probabilities_NK = checked(probabilities_NK, shown_NK)
        if (shown_NK.sum(axis=1) > 1).any():
            raise ValueError("a photo with several labels; confident learning takes one query class a photo")
        keep_N: Flags = shown_NK.sum(axis=1) > 0
        query_N = shown_NK[keep_N].argmax(axis=1) if keep_N.any() else np.zeros(0, np.intp)
        if len(np.unique(query_N)) > 1:
            keep_N[keep_N] = self._keep(_distributions(probabilities_NK[keep_N]), query_N)
        return keep_N

    def _keep(self, probabilities_NK: NDArray[np.float64], query_N: NDArray[np.intp]) -> Flags:
        """cleanlab breaks ties by the order of the rows: it gets them sorted, and equal rows share one verdict."""
        rows = np.column_stack([query_N, probabilities_NK])
        distinct, same_N, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
        in_order = np.repeat(distinct, counts, axis=0)
        issues = self._issues(np.ascontiguousarray(in_order[:, 1:]), in_order[:, 0].astype(np.intp))
        all_issues: Flags = np.logical_and.reduceat(issues, np.cumsum(counts) - counts)
        return ~all_issues[same_N.reshape(-1)]

    def _issues(self, probabilities_NK: NDArray[np.float64], query_N: NDArray[np.intp]) -> Flags:
        from cleanlab.filter import find_label_issues

        with warnings.catch_warnings():
            # It leaves a class with a single photo alone, as it should, and a target class without any.
            warnings.filterwarnings("ignore", message="May not flag all label issues")
            issues: Flags = find_label_issues(query_N, probabilities_NK, filter_by=self.options.filter_by, n_jobs=1)
        return issues


def _distributions(probabilities_NK: Floats) -> NDArray[np.float64]:
    wide_NK = probabilities_NK.astype(np.float64)
    sum_N1 = wide_NK.sum(axis=1, keepdims=True)
    even = 1 / wide_NK.shape[1]
    return np.where(sum_N1 > 0, wide_NK / np.where(sum_N1 > 0, sum_N1, 1), even)
