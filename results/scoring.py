"""Scoring a folder of mask PNGs against the folder of their truths."""

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import numpy as np

from results.counted import ImageSums, class_sums, sums_of_images
from results.evaluation import evaluation_fingerprint
from results.mask_folders import MaskFolders, Pooled, Void, doubts, mask_names, refuse_implausible, scored_images
from results.metrics.counts import Counts
from results.metrics.miou import MeanIoU, mean_iou, nullable
from results.protocols import protocol as protocol_named
from results.statistics import Whole
from settings.config import existing_folder
from settings.errors import UserError, printable
from settings.lists import read_classes, read_ids
from settings.records import UNKNOWN, LabelSpace
from settings.stems import alike, names_alike, told_renames

__all__ = ["FolderScore", "score_folder", "score_two"]

MANY = 400
"""True masks from which on a second process pays: it takes a second to start."""

FEW = 0.1
"""Up to this share of missing predictions, scoring them as background may be meant: a program failed on some photos."""

_AS_FOUND: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True)
class FolderScore:
    """The score of a folder of masks."""

    counts: Counts
    result: MeanIoU
    photos: int
    missing: tuple[str, ...]
    """Names of truths without a prediction, scored as all background."""
    extra: tuple[str, ...]
    """Names of predictions without a truth, not scored."""
    protocol: str
    void: Void
    fingerprint: str
    """The evaluation fingerprint over the scored ids, their true masks and the class names (numbers without names)."""
    classes: tuple[str, ...]
    """K + 1 names by mask value, background first; numbers where no names were given."""
    images: ImageSums
    """What each photo adds to the counts."""
    named: bool
    """Whether class names were given: then rows scored on the same masks have this fingerprint."""
    doubts: tuple[str, ...] = ()
    """What speaks against the number: another reading of the predicted values that scores far higher, say."""

    @property
    def miou(self) -> float:
        """0..1; nan where no class is defined."""
        return self.result.mean

    def to_json(self) -> dict[str, Any]:
        """For `--json`: null stands for an undefined value."""
        return {
            "miou": nullable(self.miou),
            "per_class": [nullable(value) for value in self.result.per_class],
            "classes": self.counts.classes,
            "undefined": list(self.result.undefined),
            "images": self.photos,
            "missing": len(self.missing),
            "protocol": self.protocol,
            "void": self.void,
            "fingerprint": self.fingerprint,
            "doubts": list(self.doubts),
        }

    def to_text(self) -> str:
        """For the terminal: mIoU, IoU by class, and what the reader has to know about them."""
        lines = [f"mIoU {self.miou:.4f}  ({self.protocol}, {self.photos} images, {self.counts.classes} classes)"]
        lines += [f"  class {c:3d}  {_three(value)}" for c, value in enumerate(self.result.per_class)]
        whose = "" if self.named else "  (classes are numbers: rows have another one, which --names FILE gives)"
        lines.append(f"  evaluation fingerprint {self.fingerprint}{whose}")
        return "\n".join(lines + [f"note: {note}" for note in self.notes()])

    def notes(self) -> list[str]:
        """What the number alone does not say, one line each."""
        undefined = ", ".join(map(str, self.result.undefined))
        candidates = (
            (self.missing, f"{len(self.missing)} missing predictions scored as all background: {_some(self.missing)}"),
            (self.extra, f"{len(self.extra)} predictions without a truth, not scored: {_some(self.extra)}"),
            (self.result.undefined, f"in neither truth nor prediction, left out of the mean: class {undefined}"),
            (self.void != "error", f"255 in predictions: {self.void}"),
        )
        return [*(note for holds, note in candidates if holds), *self.doubts]


def score_folder(
    predictions: Path,
    truth: Path,
    classes: int | None = None,
    protocol: str = "voc/1",
    void: Void = "error",
    allow_missing: bool = False,
    names: Path | None = None,
    ids: Path | None = None,
    truth_map: Mapping[int, int] = _AS_FOUND,
    prediction_map: Mapping[int, int] = _AS_FOUND,
) -> FolderScore:
    """Score each truth `<id>.png` with the prediction of the same name; `classes` (2..255) includes the background.

    `void` says what 255 in a prediction is. `names` is a file of the K class names in mask order, one a line, as a
    folder data set's `classes.txt`: with it `classes` may be left out, and the fingerprint is that of a run's rows
    where the files are named by the data set's photo ids and hold the very masks that it scores on. Without names
    classes are numbers, and the fingerprint agrees with that of other folders scored so, never with a row's.
    `ids` is a list of the photos to score, such as val.txt; without it all true masks count.
    `truth_map` and `prediction_map` say what values of the files stand for; those that they do not name stay.

    Raises UserError, before anything is reported, for an unknown protocol or option, a missing number of classes, an
    empty folder, two truths of one id, for missing predictions (unless `allow_missing`: then all background), and for
    the first file in name order that is unreadable, of another size or mode, or holds a value above the classes; and
    where no true mask holds a class, since a number would tell nothing.
    """
    rules = protocol_named(protocol)
    _check_options(classes, void)
    class_names = _class_names(classes, names)
    classes = len(class_names)
    truth, predictions = _folder(truth, "mask"), _folder(predictions, "prediction")
    truths, predicted = mask_names(truth, "mask"), mask_names(predictions, "prediction")
    if ids is not None:
        truths = _listed(truths, truth, ids)
    if not allow_missing:
        _check_all_are_there(predictions, predicted, truths, ids is not None)
    folders = MaskFolders(predictions, truth, classes, void, allow_missing, truth_map, prediction_map)
    pooled, digests, sums = Pooled.nothing(classes), dict[str, str](), dict[str, Whole]()
    for image in scored_images(folders, truths):
        pooled += image.pooled
        digests[image.id] = image.truth_digest
        sums[image.id] = class_sums(image.pooled.counts)
    refuse_implausible(folders, pooled.true_pixels)
    missing, extra = sorted(set(truths) - set(predicted)), sorted(set(predicted) - set(truths))
    return FolderScore(
        pooled.counts,
        mean_iou(pooled.counts),
        len(truths),
        tuple(missing),
        tuple(extra),
        rules.name,
        void,
        evaluation_fingerprint(class_names, digests),
        class_names,
        sums_of_images(sums, pooled.counts),
        named=names is not None,
        doubts=tuple(doubts(folders, pooled)),
    )


def score_two(
    a: Path,
    b: Path,
    truth: Path,
    classes: int | None = None,
    void: Void = "error",
    names: Path | None = None,
    ids: Path | None = None,
) -> tuple[FolderScore, FolderScore]:
    """The scores of two folders against the same true masks, as `score_folder` gives them; large ones in two processes.

    Raises UserError as `score_folder` does, for whichever folder does not fit.
    """
    score = partial(score_folder, truth=truth, classes=classes, void=void, names=names, ids=ids)
    is_large = truth.is_dir() and sum(1 for _ in truth.iterdir()) >= MANY
    if not is_large:
        return score(a), score(b)
    # Not forked: who calls may have threads.
    with ProcessPoolExecutor(1, get_context("spawn")) as processes:
        other = processes.submit(score, a)
        own = score(b)
        return other.result(), own


def _listed(names: list[str], truth: Path, ids: Path) -> list[str]:
    """The true masks of the photos of a list, in name order; raises UserError for a photo without one."""
    by_id = {Path(name).stem: name for name in names}
    wanted = read_ids(ids)
    if not wanted:
        raise UserError(ids, "no photo", "photo ids, one a line")
    for photo_id in wanted:
        if photo_id not in by_id:
            meant = alike(photo_id, by_id)
            mend = f"is it '{by_id[meant]}'?" if meant else ""
            raise UserError(truth / f"{photo_id}.png", "no true mask", f"one for each photo of {ids}", mend)
    return sorted(by_id[photo_id] for photo_id in wanted)


def _check_all_are_there(predictions: Path, predicted: list[str], truths: list[str], listed: bool) -> None:
    """Raise UserError for the first true mask without a prediction, with the mend that fits how many there are."""
    present = frozenset(predicted)
    missing = [name for name in truths if name not in present]
    if not missing:
        return
    if renames := names_alike(missing, present):
        mend = told_renames(renames, "")
    elif len(missing) <= max(1, FEW * len(truths)) < len(truths):
        mend = "--allow-missing scores it as all background"
    elif listed:
        mend = "is it the list that was predicted?"
    else:
        mend = "--ids LIST scores the photos of a list alone, such as those of val.txt"
    found = "no prediction"
    if len(missing) > 1:
        found = f"no prediction, as for {len(missing)} of {len(truths)} true masks"
    raise UserError(predictions / missing[0], found, "one per truth mask", mend)


def _class_names(classes: int | None, names: Path | None) -> tuple[str, ...]:
    """The K + 1 names by mask value, background first; the mask values themselves where no file names them."""
    if names is None:
        if classes is None:
            raise UserError("--classes", "nothing", f"2..{UNKNOWN}, the background included", "or give --names FILE")
        return tuple(map(str, range(classes)))
    named = LabelSpace(read_classes(names)).mask_names
    if classes not in (None, len(named)):
        expected = f"{len(named)}, as {names} names them, the background included"
        raise UserError("--classes", str(classes), expected, "leave one of the two out")
    return named


def _check_options(classes: int | None, void: str) -> None:
    if classes is not None and not 2 <= classes <= UNKNOWN:
        raise UserError("--classes", str(classes), f"2..{UNKNOWN}, the background included")
    if void not in get_args(Void):
        raise UserError("--void", f"'{void}'", "one of " + ", ".join(get_args(Void)))


def _folder(path: Path, what: str) -> Path:
    folder = existing_folder(path)
    if folder is None:
        raise UserError(path, "no folder", f"a folder of {what} PNGs")
    return folder


def _three(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.3f}"


def _some(names: tuple[str, ...], most: int = 5) -> str:
    return ", ".join(map(printable, names[:most])) + (", …" if len(names) > most else "")
