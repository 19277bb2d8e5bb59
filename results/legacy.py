"""What public programs make of masks: the number of each, and which of its rules makes it another than `voc/1`'s."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from results.metrics.counts import check_below, joint_counts
from results.metrics.miou import Floats, MeanIoU, iou, mean_of_defined, nullable
from results.protocols import LEGACY, RULES, VOC, Rules
from settings.records import UNKNOWN, Mask

__all__ = ["ProtocolScore", "RulesTally", "Spread", "joint_pixels"]

Pixels = NDArray[np.int64]


def joint_pixels(prediction_HW: Mask, truth_HW: Mask, classes: int) -> Pixels:
    """Pixels of one photo by truth and prediction, int64 (classes + 1, classes + 1); the last of each is 255.

    Raises ValueError for what `count_labels` refuses, and for a prediction that is no class where the truth is 255.
    """
    pixels = joint_counts(prediction_HW, truth_HW, classes)
    check_below(pixels.sum(axis=0), classes, "prediction", allowed=UNKNOWN)
    kept = [*range(classes), UNKNOWN]
    return pixels[np.ix_(kept, kept)].astype(np.int64)


class RulesTally:
    """Photos added up by one set of rules."""

    def __init__(self, rules: Rules, classes: int) -> None:
        self.rules = rules
        self._total = np.zeros((classes + 1, classes + 1), np.int64)
        self._iou_NC: list[Floats] = []

    def add(self, joint: Pixels) -> None:
        """Add one photo, as `joint_pixels` counts it."""
        if self.rules.mean == "set":
            self._total += joint
        else:
            self._iou_NC.append(_iou(joint, self.rules))

    def result(self) -> MeanIoU:
        """The score; by class it is the mean over photos where each photo was scored by itself."""
        if self.rules.mean == "set":
            iou_C = _iou(self._total, self.rules)
            mean = mean_of_defined(iou_C)
        else:
            iou_NC = np.array(self._iou_NC).reshape(-1, len(self._total) - 1)
            iou_C = mean_of_defined(iou_NC.T)
            mean = mean_of_defined(iou_NC.ravel())
            if self.rules.mean == "photos":
                mean = mean_of_defined(mean_of_defined(iou_NC))
        undefined = tuple(int(c) for c in np.flatnonzero(np.isnan(iou_C)))
        return MeanIoU(float(mean), tuple(iou_C.tolist()), undefined)


def _iou(joint: Pixels, rules: Rules) -> Floats:
    """IoU by class, nan where undefined and the rules leave such a class out."""
    pixels = joint[:-1].copy()
    if rules.true_void == "background":
        pixels[0] += joint[-1]
    undecided, decided = pixels[:, -1], pixels[:, :-1]
    if rules.predicted_void == "background":
        decided[:, 0] += undecided
    truth = decided.sum(axis=1)
    if rules.predicted_void == "missed":
        truth = truth + undecided
    found = iou(np.diagonal(decided), truth, decided.sum(axis=0))
    if rules.absent == "0":
        found = np.nan_to_num(found, nan=0.0)
    return found


@dataclass(frozen=True)
class ProtocolScore:
    """What one protocol makes of the masks."""

    name: str
    miou: float
    because: Mapping[str, float]
    """Each rule in which it differs from `voc/1`, in words, and what that rule alone changes of `voc/1`'s mIoU."""

    def to_json(self) -> dict[str, object]:
        """For `--json`: null stands for an undefined value."""
        because = {words: nullable(change) for words, change in self.because.items()}
        return {"miou": nullable(self.miou), "because": because}


class Spread:
    """The same masks by every protocol, from one pass over the photos."""

    def __init__(self, classes: int, base: Rules) -> None:
        """`base`: the rules of `voc/1`, with what was said of 255 in predictions."""
        self._base = base
        wanted = {base}
        for rules in LEGACY.values():
            wanted |= {rules, *self._each_alone(rules).values()}
        self._tallies = {rules: RulesTally(rules, classes) for rules in wanted}

    def add(self, joint: Pixels) -> None:
        """Add one photo, as `joint_pixels` counts it."""
        for tally in self._tallies.values():
            tally.add(joint)

    def scores(self) -> Sequence[ProtocolScore]:
        """`voc/1` first, then the others in the order of their names."""
        base = self._miou(self._base)
        found = [ProtocolScore(VOC, base, {})]
        for name, rules in sorted(LEGACY.items()):
            because = {words: self._miou(alone) - base for words, alone in self._each_alone(rules).items()}
            found.append(ProtocolScore(name, self._miou(rules), because))
        return found

    def _miou(self, rules: Rules) -> float:
        return self._tallies[rules].result().mean

    def _each_alone(self, rules: Rules) -> dict[str, Rules]:
        """The rules of `voc/1` with one rule of another protocol, for each in which the two differ."""
        found = {}
        for field in fields(Rules):
            value = getattr(rules, field.name)
            if value != getattr(self._base, field.name):
                found[RULES[field.name, value]] = replace(self._base, **{field.name: value})
        return found
