"""Whether numbers can mean what they seem to: labels, true and predicted values of all photos, held against each other.

A score is right for the values it is given; where these cannot be what was meant, it says nothing. Masks of 0 and 255,
classes that are numbered otherwise, and palettes in another order all look like masks, and are told here.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from results.metrics.counts import Counts
from results.metrics.miou import iou, mean_iou
from settings.records import UNKNOWN, LabelSpace
from settings.value_maps import lookup_table, value_map_text

__all__ = [
    "ADD_NEGATIVES",
    "FAR_HIGHER",
    "Assignment",
    "Contradiction",
    "Shown",
    "contradiction",
    "describe_assignment",
    "describe_contradiction",
    "describe_never_absent",
    "mend_of_contradiction",
    "mend_of_void",
    "mends",
    "mismatch",
    "never_absent",
    "no_foreground",
    "other_assignment",
    "pooled_pixels",
]

FAR_HIGHER = 0.2
"""By how much another reading must raise the mIoU to be worth a note: chance and confused classes give less."""
ADD_NEGATIVES = "add photos without it, such as ones that show no class (a row `id,` in labels.csv; voc12: negatives)"
"""How a class that labels every photo becomes one that can be learned."""
MANY = 20
"""Photos that chance alone must make differ before it is an explanation."""
SMOOTHED = 4
"""Values of no class for each class of a value map, at most: more are no numbering of classes."""
MIN_PHOTOS = 3
"""Photos that a value map must mend: two that were exchanged are a slip, and each of them is told by itself."""


def pooled_pixels(mask_HW: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many pixels of a mask hold each of the 256 values, int64 (256,); those of photos add up."""
    return np.bincount(mask_HW.ravel(), minlength=UNKNOWN + 1).astype(np.int64)


def no_foreground(pixels: NDArray[np.int64], what: str = "true mask") -> str:
    """What contradicts a score where no mask holds a pixel of a class, in words; empty where one does.

    `pixels` are pooled over all masks, int64 (256,). Masks without any known pixel are another matter: their score is
    undefined, and nothing is wrong with that.
    """
    known, void = int(pixels[:UNKNOWN].sum()), int(pixels[UNKNOWN])
    if not known or pixels[1:UNKNOWN].any():
        return ""
    found = f"no {what} with a pixel of any class but background"
    if void:
        found += f"; {void / (known + void):.1%} of the pixels are {UNKNOWN}, which is void and no class"
    return found


class Assignment(NamedTuple):
    """Another meaning of predicted values, and the mIoU (0..1) that it would give."""

    values: Mapping[int, int]
    """The class that each of these predicted values stands for then; the others stay."""
    miou: float


def other_assignment(counts: Counts) -> Assignment | None:
    """The one-to-one meaning of predicted values that fits the truth best; None unless it scores far higher.

    Values shifted by one, and classes in another order, are such meanings.
    """
    # Slow to import, and most programs that import this module never ask.
    from scipy.optimize import linear_sum_assignment

    confusion = counts.confusion
    true, predicted = confusion.sum(axis=1, keepdims=True), confusion.sum(axis=0, keepdims=True)
    overlap = np.nan_to_num(iou(confusion, true, predicted))
    # Of equal ones that in which values stay.
    rows, columns = linear_sum_assignment(overlap + 1e-9 * np.eye(counts.classes), maximize=True)
    values = {int(p): int(t) for t, p in zip(rows, columns, strict=True) if t != p and overlap[t, p] > 0}
    moved = np.zeros_like(confusion)
    for value in range(counts.classes):
        moved[:, values.get(value, value)] += confusion[:, value]
    miou = mean_iou(Counts(moved)).mean
    if values and miou >= mean_iou(counts).mean + FAR_HIGHER:
        return Assignment(values, miou)
    return None


def describe_assignment(found: Assignment) -> str:
    """One line about another meaning of predicted values."""
    return f"predicted values read as {value_map_text(found.values)} would score mIoU {found.miou:.4f}"


class Shown(NamedTuple):
    """What labels and mask say of one photo: class ids, and the values of its mask (255 and stray ones too)."""

    labels: tuple[int, ...]
    values: tuple[int, ...]

    @property
    def classes(self) -> set[int]:
        """The class ids that the mask's values stand for."""
        return {value - 1 for value in self.values} - {-1, UNKNOWN - 1}


class Contradiction(NamedTuple):
    """Labels and masks that disagree in the same way throughout."""

    values: Mapping[int, int]
    """The value map that mends it."""
    photos: int
    """How many photos it mends."""
    compared: int
    """How many photos have labels and a mask."""
    example: tuple[int, int]
    """A class id, and the value that masks hold where photos are labelled so."""


def contradiction(photos: Sequence[Shown], classes: int) -> Contradiction | None:
    """The way in which image-level labels contradict masks throughout; None where they agree, or only here and there.

    `classes` is K. Each class is given the mask value that is found in the same photos as its label (by the largest sum
    of intersections over unions of sets of photos); where this mends most photos that disagree, and spoils none to
    speak of, it is what was meant.
    """
    from scipy.optimize import linear_sum_assignment

    compared = [photo for photo in photos if photo.labels and photo.values]
    labels_NK = np.zeros((len(compared), classes), np.int64)
    values_NV = np.zeros((len(compared), UNKNOWN + 1), np.int64)
    for n, photo in enumerate(compared):
        labels_NK[n, list(photo.labels)] = 1
        values_NV[n, list(photo.values)] = 1
    both_KV = labels_NK.T @ values_NV
    either_KV = labels_NK.sum(0)[:, None] + values_NV.sum(0)[None] - both_KV
    together_KV = both_KV / np.maximum(either_KV, 1)
    for value in (0, UNKNOWN):
        if values_NV[:, value].all():
            # What is in every mask, and can be background or void, is no class.
            together_KV[:, value] = 0
    own = np.arange(classes)
    # A class keeps its own value unless another one fits clearly better.
    bonus_KV = np.zeros_like(together_KV)
    bonus_KV[own, own + 1] = 0.01
    ids, found = linear_sum_assignment(together_KV + bonus_KV, maximize=True)
    meant = {int(v): int(c) + 1 for c, v in zip(ids, found, strict=True) if v != c + 1 and together_KV[c, v] >= 0.5}
    if not meant:
        return None
    displaced = _displaced(meant, values_NV, classes)
    if len(displaced) > SMOOTHED * len(meant):
        # Values between those of classes, as smooth resizing makes them: no map mends that.
        return None
    values = {**meant, **displaced}
    mended = _mended(_agreement(compared, {}), _agreement(compared, values))
    if not mended:
        return None
    value, class_value = next(iter(meant.items()))
    return Contradiction(dict(sorted(values.items())), mended, len(compared), (class_value - 1, value))


def describe_contradiction(found: Contradiction, space: LabelSpace) -> str:
    """What contradicts what, in words."""
    class_id, value = found.example
    whose = "a value of no class"
    if value == 0:
        whose = "the value of background"
    elif value <= space.foreground:
        whose = f"the value of '{space.names[value - 1]}'"
    count = f"{found.photos} of {found.compared} photos"
    example = f"where '{space.names[class_id]}' is the label, masks hold {value}, {whose}"
    return f"labels and masks that contradict each other in the same way in {count}: {example}"


def mend_of_contradiction(found: Contradiction) -> str:
    """The option of a data set that reads such masks rightly."""
    return f'the data set\'s option map: "{value_map_text(found.values)}" reads them rightly'


def mend_of_void(space: LabelSpace, has_void: bool) -> str:
    """How a data set's masks without any class become right."""
    if not has_void:
        return "are these the right masks?"
    value = "1"
    if space.foreground > 1:
        value = "CLASS"
    return f'masks of 0/{UNKNOWN} must become 0/{value}, by the data set\'s option map: "{UNKNOWN}:{value}"'


def mends(before: Sequence[Shown], after: Sequence[Shown], other_background: int) -> int:
    """How many photos are read rightly by another reading of their masks and not by the first; 0 where few or none are.

    Both readings are of the same photos in one order. In `other_background` photos they disagree about what is
    background, which labels cannot tell: these count where the other reading fits labels as well as the first.
    """
    right_before, right_after = _agreement(before, {}), _agreement(after, {})
    if other_background >= MIN_PHOTOS and right_after.sum() >= right_before.sum():
        return max(other_background, _mended(right_before, right_after))
    return _mended(right_before, right_after)


def mismatch(photos: Sequence[Shown]) -> str:
    """What is wrong where labels and masks seem to be of other photos, in words; empty where they fit.

    So it is where most photos' labels and masks have no class in common, or where a quarter has none, which are as many
    as there would be if each photo had the mask of any other.
    """
    compared = [photo for photo in photos if photo.labels and set(photo.values) - {UNKNOWN}]
    disjoint = sum(photo.classes.isdisjoint(photo.labels) for photo in compared)
    if disjoint < MIN_PHOTOS or 4 * disjoint < len(compared):
        return ""
    if 3 * disjoint < 2 * len(compared):
        by_chance = _disjoint_by_chance(compared)
        deviation = (by_chance * (1 - by_chance / len(compared))) ** 0.5
        if by_chance < MANY or disjoint < by_chance - 2 * deviation:
            return ""
    return f"labels and masks of {disjoint} of {len(compared)} photos without a class in common"


def _disjoint_by_chance(photos: Sequence[Shown]) -> float:
    """How many photos would have no class in common with their mask, if masks were dealt out at random."""
    labels = Counter(frozenset(photo.labels) for photo in photos)
    classes = Counter(frozenset(photo.classes) for photo in photos)
    pairs = sum(n * m for one, n in labels.items() for other, m in classes.items() if one.isdisjoint(other))
    return pairs / len(photos)


def never_absent(labels: Sequence[Sequence[int]], classes: int) -> tuple[int, ...]:
    """The ids of the classes that label every photo: no photo tells a classifier what they are not.

    `labels` are those of the photos to train on, `classes` is K. None where there are no photos.
    """
    everywhere = set(range(classes)) if labels else set()
    return tuple(sorted(everywhere.intersection(*labels)))


def describe_never_absent(class_ids: Sequence[int], photos: int, space: LabelSpace) -> str:
    """What is wrong with classes that `never_absent` found among so many photos, in words."""
    names = ", ".join(f"'{space.names[class_id]}'" for class_id in class_ids)
    return f"{names} as label of all {photos} photos to train on: no classifier can learn what it is not"


def _displaced(meant: Mapping[int, int], values_NV: NDArray[np.int64], classes: int) -> dict[int, int]:
    """What values stand for that are no class, or whose own class is another value now: background, or void."""
    is_common_V = 2 * values_NV.sum(0) > len(values_NV)
    displaced: dict[int, int] = {}
    for value in np.flatnonzero(values_NV.any(0)).tolist():
        is_free = value in meant.values() or classes < value < UNKNOWN
        if value not in meant and is_free:
            # What most masks hold, and no label goes with, is background.
            displaced[value] = 0 if is_common_V[value] else UNKNOWN
    if 0 in meant and 0 not in displaced.values() and is_common_V[UNKNOWN]:
        # Classes begin at 0, and 255 is all the rest.
        displaced[UNKNOWN] = 0
    return displaced


def _mended(before_N: NDArray[np.bool_], after_N: NDArray[np.bool_]) -> int:
    mended, spoilt = int((~before_N & after_N).sum()), int((before_N & ~after_N).sum())
    if mended < MIN_PHOTOS or 10 * spoilt > mended or 2 * mended < int((~before_N).sum()):
        return 0
    return mended


def _agreement(photos: Sequence[Shown], values: Mapping[int, int]) -> NDArray[np.bool_]:
    """Whether each photo's mask shows just the classes that label it, its values read by a map.

    Photos without labels or without a mask agree with everything.
    """
    table = lookup_table(values)
    agree = np.ones(len(photos), np.bool_)
    for n, photo in enumerate(photos):
        if photo.labels and photo.values:
            shown = {int(table[value]) for value in photo.values} - {0, UNKNOWN}
            agree[n] = shown == {class_id + 1 for class_id in photo.labels}
    return agree
