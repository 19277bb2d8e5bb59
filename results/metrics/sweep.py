"""The threshold curve: mIoU at every background threshold from one pass over the pixels.

A pixel is its winning class where the winning score lies above the threshold, else background. So all that the
curve needs of a pixel is its truth, its winner and how many thresholds its score exceeds: one histogram, cumulated.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from results.metrics.counts import Counts, as_mask, check_classes, check_same_shape
from results.metrics.miou import Floats, iou, mean_of_defined
from results.metrics.winner import Scores
from settings.records import UNKNOWN, Mask

__all__ = ["Best", "Sweep", "exceeded", "threshold_sweep", "thresholds"]

MAX_STEPS = 1_000
"""More thresholds than any curve needs; a histogram grows with them."""


class Best(NamedTuple):
    """The best point of a threshold curve."""

    threshold: float
    miou: float


@dataclass(frozen=True, eq=False)
class Sweep:
    """Pixels by truth, winner and number of thresholds exceeded: int64, (classes, classes, steps + 1); sweeps add."""

    histogram: NDArray[np.int64]

    @property
    def steps(self) -> int:
        """How many thresholds there are."""
        return int(self.histogram.shape[2]) - 1

    @property
    def thresholds(self) -> Scores:
        """Threshold k is the float32 next to k / steps, for k = 0..steps - 1."""
        return thresholds(self.steps)

    def counts(self, k: int) -> Counts:
        """What thresholding at `thresholds[k]` and counting gives, exactly; raises IndexError for another k."""
        if not 0 <= k < self.steps:
            raise IndexError(f"threshold index must be 0..{self.steps - 1}, found {k}")
        confusion = self.histogram[:, :, k + 1 :].sum(axis=2)
        confusion[:, 0] += self.histogram[:, :, : k + 1].sum(axis=(1, 2))
        return Counts(confusion)

    def curve(self) -> Floats:
        """mIoU by threshold, (steps,), as `mean_iou(counts(k)).mean`."""
        return mean_of_defined(self._iou_kC)

    def best(self) -> Best:
        """The threshold of the highest mIoU, the lowest among equals; nan where nothing was counted."""
        curve = self.curve()
        if np.isnan(curve).all():
            return Best(float("nan"), float("nan"))
        k = int(np.nanargmax(curve))
        return Best(float(self.thresholds[k]), float(curve[k]))

    @cached_property
    def _iou_kC(self) -> Floats:
        # Pixels that are not background at threshold k: those that exceed more than k thresholds.
        above_TWk = self.histogram[:, :, :0:-1].cumsum(axis=2)[:, :, ::-1]
        truth_T = self.histogram.sum(axis=(1, 2))
        predicted_kC = above_TWk.sum(axis=0).T.copy()
        hits_kC = np.diagonal(above_TWk).copy()
        predicted_kC[:, 0] = truth_T.sum() - predicted_kC.sum(axis=1)
        hits_kC[:, 0] = truth_T[0] - above_TWk[0].sum(axis=0)
        return iou(hits_kC, truth_T[None], predicted_kC)

    def __add__(self, other: "Sweep") -> "Sweep":
        if not isinstance(other, Sweep):
            return NotImplemented
        if other.histogram.shape != self.histogram.shape:
            raise ValueError(f"sweeps of {self.histogram.shape} and {other.histogram.shape} cannot be added")
        return Sweep(self.histogram + other.histogram)

    def __radd__(self, other: int) -> "Sweep":
        # sum() begins with 0.
        return self if other == 0 else NotImplemented

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sweep) and np.array_equal(self.histogram, other.histogram)

    def __hash__(self) -> int:
        return hash(self.histogram.tobytes())


def thresholds(steps: int) -> Scores:
    """The float32 next to k / steps, for k = 0..steps - 1."""
    _check_steps(steps)
    return (np.arange(steps) / steps).astype(np.float32)


def threshold_sweep(score_HW: Scores, winner_HW: Mask, truth_HW: Mask, classes: int, steps: int = 100) -> Sweep:
    """Score one image at thresholds k / steps, k = 0..steps - 1, in one pass.

    `score_HW` (float32, 0..1) is the winning map's score, `winner_HW` its mask value (1..classes - 1). A pixel is
    the winner where its score is strictly above the threshold, else background; unknown truth (255) is left out.
    Raises ValueError for other shapes, types and values, scores that are not finite among them.
    """
    check_classes(classes)
    _check_steps(steps)
    winner, truth = as_mask(winner_HW, "winner"), as_mask(truth_HW, "truth")
    check_same_shape(winner, truth)
    _check_scores(score_HW, truth)
    _check_values(winner, truth, classes)
    # Unknown truth takes the row after the last class, which is then dropped.
    pair = np.minimum(truth, classes).astype(np.uint16)
    pair *= np.uint16(classes)
    pair += winner
    cell = np.multiply(pair, steps + 1, dtype=np.int32)
    cell += exceeded(score_HW, steps)
    histogram = np.bincount(cell.ravel(), minlength=(classes + 1) * classes * (steps + 1))
    return Sweep(histogram.astype(np.int64, copy=False).reshape(classes + 1, classes, steps + 1)[:classes])


def exceeded(score_HW: Scores, steps: int) -> NDArray[np.int32]:
    """How many of `thresholds(steps)` each score (0..1) lies strictly above, 0..steps, exactly.

    Rounding score × steps gives the number or one less, whatever float32 does to the product; comparing with the
    threshold of that index settles it. Dividing in float32 gives the very thresholds of `thresholds`: a quotient
    of small whole numbers rounds the same way by way of float64 (Figueroa, "When is double rounding innocuous?").
    """
    nearest = score_HW * np.float32(steps)
    nearest += np.float32(0.5)
    np.floor(nearest, out=nearest)
    above: NDArray[np.int32] = nearest.astype(np.int32)
    nearest /= np.float32(steps)
    above += nearest < score_HW
    return above


def _check_steps(steps: int) -> None:
    if not 1 <= steps <= MAX_STEPS:
        raise ValueError(f"steps must be 1..{MAX_STEPS}, found {steps}")


def _check_scores(score_HW: Scores, truth_HW: Mask) -> None:
    check_same_shape(score_HW, truth_HW)
    if score_HW.dtype != np.float32:
        raise ValueError(f"scores must be float32, found {score_HW.dtype}")
    # Written so that nan, which compares false, is refused too.
    if score_HW.size and not (score_HW.min() >= 0 and score_HW.max() <= 1):
        raise ValueError(f"scores must be finite and within 0..1, found {score_HW.min()}..{score_HW.max()}")


def _check_values(winner_HW: Mask, truth_HW: Mask, classes: int) -> None:
    if winner_HW.size and not (winner_HW.min() >= 1 and winner_HW.max() < classes):
        raise ValueError(f"winners must be 1..{classes - 1}, found {winner_HW.min()}..{winner_HW.max()}")
    if ((truth_HW >= classes) & (truth_HW != UNKNOWN)).any():
        raise ValueError(f"truth must be below {classes} or {UNKNOWN}, found {truth_HW[truth_HW != UNKNOWN].max()}")
