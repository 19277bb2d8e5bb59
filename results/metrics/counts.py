"""Pixel counts: the one int64 confusion that every score of protocol voc/1 comes from."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from settings.records import UNKNOWN, Mask

__all__ = [
    "Counts",
    "LabelCounts",
    "VoidFilled",
    "VoidRule",
    "as_mask",
    "check_below",
    "check_classes",
    "check_same_shape",
    "count",
    "count_labels",
    "fill_void",
    "joint_counts",
]

VoidRule: TypeAlias = Literal["background", "covered-only"]
"""How unknown pixels of a pseudo label are scored: as background, or not at all."""


@dataclass(frozen=True, eq=False)
class Counts:
    """Pixels by true and predicted class: int64, (classes, classes), [truth, prediction]; counts of images add."""

    confusion: NDArray[np.int64]

    def __post_init__(self) -> None:
        shape = self.confusion.shape
        if len(shape) != 2 or shape[0] != shape[1] or self.confusion.dtype != np.int64:
            raise ValueError(f"a confusion must be a square int64 array, found {self.confusion.dtype} {shape}")

    @classmethod
    def zero(cls, classes: int) -> "Counts":
        """No pixel counted; `classes` includes the background."""
        return cls(np.zeros((classes, classes), np.int64))

    @property
    def classes(self) -> int:
        """K + 1, the background included."""
        return len(self.confusion)

    def __add__(self, other: "Counts") -> "Counts":
        if not isinstance(other, Counts):
            return NotImplemented
        if other.classes != self.classes:
            raise ValueError(f"counts of {self.classes} and of {other.classes} classes cannot be added")
        return Counts(self.confusion + other.confusion)

    def __radd__(self, other: int) -> "Counts":
        # sum() begins with 0.
        return self if other == 0 else NotImplemented

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counts) and np.array_equal(self.confusion, other.confusion)

    def __hash__(self) -> int:
        return hash(self.confusion.tobytes())


def count(prediction_HW: NDArray[Any], truth_HW: NDArray[Any], classes: int) -> Counts:
    """Count one image's pixels by true and predicted class; pixels whose truth is 255 are left out.

    Both are 2-D integer arrays of one shape; `classes` (2..255) includes the background.
    Raises ValueError for other shapes or types, a prediction of `classes` or more (255 too, even where the
    truth is unknown: `fill_void` replaces it), and a truth of `classes` or more other than 255.
    """
    joint = joint_counts(prediction_HW, truth_HW, classes)
    check_below(joint.sum(axis=0), classes, "prediction")
    return Counts(joint[:classes, :classes].astype(np.int64))


@dataclass(frozen=True, eq=False)
class LabelCounts:
    """Pixels of pseudo labels by true class and label, undecided pixels (255) by themselves; counts of images add."""

    decided: Counts
    """The pixels that have a class or are background: what a network is taught."""
    undecided: NDArray[np.int64]
    """The pixels that have neither, by true class: int64, (classes,)."""

    def __post_init__(self) -> None:
        if self.undecided.shape != (self.decided.classes,) or self.undecided.dtype != np.int64:
            found = f"{self.undecided.dtype} {self.undecided.shape}"
            raise ValueError(f"undecided pixels must be int64, one number for each true class, found {found}")

    @property
    def as_background(self) -> Counts:
        """The counts where undecided pixels are background."""
        confusion = self.decided.confusion.copy()
        confusion[:, 0] += self.undecided
        return Counts(confusion)

    @property
    def coverage(self) -> float:
        """The share of the pixels with a known truth that are decided, 0..1; nan where no pixel is known."""
        decided = int(self.decided.confusion.sum())
        known = decided + int(self.undecided.sum())
        return decided / known if known else float("nan")

    def __add__(self, other: "LabelCounts") -> "LabelCounts":
        if not isinstance(other, LabelCounts):
            return NotImplemented
        return LabelCounts(self.decided + other.decided, self.undecided + other.undecided)

    def __radd__(self, other: int) -> "LabelCounts":
        # sum() begins with 0.
        return self if other == 0 else NotImplemented

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LabelCounts):
            return False
        return self.decided == other.decided and np.array_equal(self.undecided, other.undecided)

    def __hash__(self) -> int:
        return hash((self.decided, self.undecided.tobytes()))


def count_labels(prediction_HW: NDArray[Any], truth_HW: NDArray[Any], classes: int) -> LabelCounts:
    """Count one image's pseudo label by true class and label; pixels whose truth is 255 are left out.

    Both are 2-D integer arrays of one shape; `classes` (2..255) includes the background; 255 in the prediction is
    undecided. Raises ValueError for what `count` refuses but for that.
    """
    joint = joint_counts(prediction_HW, truth_HW, classes)
    check_below(joint.sum(axis=0), classes, "prediction", allowed=UNKNOWN)
    decided, undecided = joint[:classes, :classes].astype(np.int64), joint[:classes, UNKNOWN].astype(np.int64)
    return LabelCounts(Counts(decided), undecided)


def joint_counts(prediction_HW: NDArray[Any], truth_HW: NDArray[Any], classes: int) -> NDArray[np.intp]:
    """Pixels by truth and prediction, (256, 256); raises ValueError for a truth that is neither a class nor 255."""
    check_classes(classes)
    prediction, truth = as_mask(prediction_HW, "prediction"), as_mask(truth_HW, "truth")
    check_same_shape(prediction, truth)
    pairs = truth.astype(np.uint16) << 8 | prediction
    # All 256 × 256 pairs in one pass: stray values show up as counts outside, without a pass of their own.
    joint = np.bincount(pairs.ravel(), minlength=1 << 16).reshape(256, 256)
    check_below(joint.sum(axis=1), classes, "truth", allowed=UNKNOWN)
    return joint


class VoidFilled(NamedTuple):
    """A pseudo label and its truth, ready to be counted; both uint8, (H, W)."""

    prediction: Mask
    truth: Mask


def fill_void(prediction_HW: Mask, truth_HW: Mask, void: VoidRule) -> VoidFilled:
    """Give a pseudo label's unknown pixels (255) a score by one of two rules.

    "background" makes them background; "covered-only" leaves them out, by making their truth unknown.
    """
    if void not in ("background", "covered-only"):
        raise ValueError(f"void must be 'background' or 'covered-only', found {void!r}")
    check_same_shape(prediction_HW, truth_HW)
    unknown = prediction_HW == UNKNOWN
    truth = np.where(unknown, np.uint8(UNKNOWN), truth_HW) if void == "covered-only" else truth_HW
    return VoidFilled(np.where(unknown, np.uint8(0), prediction_HW), truth)


def check_classes(classes: int) -> None:
    """Raise ValueError unless 2..255 classes fit beside 255 into a mask."""
    if not 2 <= classes <= UNKNOWN:
        raise ValueError(f"classes must be 2..{UNKNOWN} (background included), found {classes}")


def as_mask(values_HW: NDArray[Any], what: str) -> Mask:
    """The values as uint8; raises ValueError for anything but a 2-D integer array of values 0..255."""
    if values_HW.ndim != 2 or not np.issubdtype(values_HW.dtype, np.integer):
        raise ValueError(f"{what} must be a 2-D integer array, found {values_HW.dtype} of {values_HW.ndim} dimensions")
    if values_HW.dtype == np.uint8:
        return values_HW
    if values_HW.size and (values_HW.min() < 0 or values_HW.max() > UNKNOWN):
        raise ValueError(f"{what} holds {values_HW.min()}..{values_HW.max()}, outside 0..{UNKNOWN}")
    return values_HW.astype(np.uint8)


def check_same_shape(prediction_HW: NDArray[Any], truth_HW: NDArray[Any]) -> None:
    """Raise ValueError where an image and its truth differ in size."""
    if prediction_HW.shape != truth_HW.shape:
        raise ValueError(f"prediction is {prediction_HW.shape}, its truth {truth_HW.shape} (height, width)")


def check_below(pixels: NDArray[np.int64], classes: int, what: str, allowed: int | None = None) -> None:
    """Raise ValueError where pixels, counted by value, hold one that is neither below `classes` nor `allowed`."""
    values = np.flatnonzero(pixels)
    stray = values[(values >= classes) & (values != allowed)]
    if stray.size:
        also = f" or {allowed}" if allowed else ""
        raise ValueError(f"{what} must be below {classes}{also}, found {stray[0]}")
