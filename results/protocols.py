"""Named scoring protocols. A rule that changes a number gets a new version, and so a new name.

`voc/1`: one confusion over the whole set; IoU = tp / (tp + fp + fn); mean over all defined classes, background too;
unknown truth (255) left out. Rows and boards know no other. What public programs do instead stands beside it, to be
compared with: the same masks, the rules by which those programs make another number of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

from settings.errors import unknown_name

__all__ = ["LEGACY", "PROTOCOLS", "RULES", "VOC", "Protocol", "Rules", "protocol", "rules_of"]


class Protocol(NamedTuple):
    """A set of rules by which masks become a score, as rows name it."""

    name: str
    version: int


VOC = "voc/1"
PROTOCOLS = {VOC: Protocol(VOC, 1)}
PredictedVoid: TypeAlias = Literal["background", "not scored", "missed"]
TrueVoid: TypeAlias = Literal["left out", "background"]
Absent: TypeAlias = Literal["left out", "0"]
Mean: TypeAlias = Literal["set", "photos", "photos and classes"]


@dataclass(frozen=True)
class Rules:
    """Where programs that score masks differ; the defaults are those of `voc/1`."""

    predicted_void: PredictedVoid = "background"
    """255 in a prediction. `voc/1` refuses it, unless its reader says which of the first two it is."""
    true_void: TrueVoid = "left out"
    absent: Absent = "left out"
    """A class in neither truth nor prediction."""
    mean: Mean = "set"
    """Over what IoU is taken: the pixels of all photos; each photo, and the mean over photos of their means over
    classes; each photo, and the mean over all classes of all photos."""


RULES: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("predicted_void", "background"): "255 in predictions is background",
        ("predicted_void", "missed"): "255 in predictions is no class: what it hides is missed, and none is in excess",
        ("true_void", "background"): "255 in the truth is background",
        ("absent", "0"): "a class in neither truth nor prediction counts as 0",
        ("mean", "photos"): "mean over photos of each one's mIoU",
        ("mean", "photos and classes"): "mean over every class of every photo",
    }
)
"""What a rule says, by the field and value of `Rules`."""
LEGACY: Mapping[str, Rules] = MappingProxyType(
    {
        # jiwoon-ahn/irn, step/eval_sem_seg.py: 255 becomes 0; chainercv's confusion; numpy's nanmean.
        "irn": Rules(),
        # YudeWang/SEAM, evaluation.py: counts each value below 21 by itself; 1e-10 in the denominator makes 0 of 0/0.
        "seam": Rules(predicted_void="missed", absent="0"),
        # open-mmlab/mmsegmentation, IoUMetric: histograms over the classes; nanmean.
        "mmseg": Rules(predicted_void="missed"),
        # The habit of training loops that log a mean of means.
        "per_image": Rules(mean="photos"),
        # torchmetrics 1.9, segmentation.MeanIoU(input_format="index"): no index to ignore, so that 255 has to become
        # a class before; sums over samples and present classes alike.
        "torchmetrics": Rules(true_void="background", mean="photos and classes"),
    }
)
"""What public programs do with masks, by name: for comparison only."""


def protocol(name: str) -> Protocol:
    """The protocol of rows of that name; raises UserError with the nearest name for an unknown one."""
    if name not in PROTOCOLS:
        raise unknown_name("--protocol", "protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def rules_of(name: str) -> Rules | None:
    """The rules of a legacy protocol; None for one of rows. Raises UserError for a name that is neither's."""
    if name in PROTOCOLS:
        return None
    if name not in LEGACY:
        raise unknown_name("--protocol", "protocol", name, (*PROTOCOLS, *LEGACY))
    return LEGACY[name]
