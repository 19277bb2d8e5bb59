"""Scoring a folder of mask PNGs against the true masks of a data set's split, or against those of a folder."""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

import numpy as np
import pyarrow as pa

from results.counted import ImageSums, class_sums, sums_of_images
from results.evaluation import evaluation_fingerprint, mask_digest
from results.legacy import ProtocolScore, RulesTally, Spread, joint_pixels
from results.mask_folders import (
    DatasetTruth,
    FolderTruth,
    Pooled,
    Predictions,
    ScoredImage,
    TrueMasks,
    Void,
    doubts,
    masks_in,
    refuse_implausible,
    scored_images,
)
from results.mask_measures import MaskMeasures
from results.metrics.counts import Counts, LabelCounts, count_labels
from results.metrics.miou import MeanIoU, mean_iou, nullable
from results.per_image import confusion_table, label_table
from results.protocols import LEGACY, VOC, Rules, rules_of
from results.statistics import Whole
from settings.config import existing_folder
from settings.dataset import Dataset
from settings.errors import UserError, counted, printable, unknown_name
from settings.lists import read_classes, read_ids
from settings.photo_ids import file_of
from settings.records import UNKNOWN, LabelSpace, fingerprint
from settings.stems import alike, names_alike, told_renames

__all__ = ["Beside", "FolderScore", "PerImage", "score_folder", "score_split", "score_two"]

MANY = 400
"""True masks from which on a second process pays: it takes a second to start."""

FEW = 0.1
"""Up to this share of missing predictions, scoring them as background may be meant: a program failed on some photos."""

LIST_MEND = "--ids LIST scores the photos of a list alone, such as those of val.txt"
_AS_FOUND: Mapping[int, int] = MappingProxyType({})
_BASES: Mapping[Void, Rules] = MappingProxyType(
    {"error": Rules(), "background": Rules(), "covered-only": Rules(predicted_void="not scored")}
)
"""The rules of `voc/1` by what 255 in a prediction is."""


class Beside(NamedTuple):
    """What is wanted of the masks beside their score."""

    metrics: Sequence[str] = ()
    """The names of metrics that read counts or masks."""
    all_protocols: bool = False
    """What every protocol makes of them."""
    per_image: bool = False
    """The counts of each photo, and what identifies the masks."""


_NOTHING = Beside()


class PerImage(NamedTuple):
    """What was counted of each photo, and which masks they were."""

    counts: pa.Table
    """As rows keep it: of predictions a confusion table; where 255 is no mistake a table of pseudo labels."""
    masks_sha256: str
    """Of all pixels of the masks, by photo id; however their files were compressed."""


@dataclass(frozen=True)
class FolderScore:
    """The score of a folder of masks."""

    counts: Counts
    result: MeanIoU
    photos: int
    missing: tuple[str, ...]
    """Files of predictions that are not there, scored as all background."""
    extra: tuple[str, ...]
    """Files of predictions that belong to no photo that is scored."""
    protocol: str
    void: str
    """What 255 in a prediction was: what was asked for, or the rule of a legacy protocol."""
    fingerprint: str
    """The evaluation fingerprint over the scored ids, their true masks and the class names (numbers without names)."""
    class_names: tuple[str, ...] | None
    """The K + 1 names by mask value, with which rows scored on the same masks have this fingerprint; None: numbers."""
    images: ImageSums
    """What each photo adds to the counts."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """What the metrics that were asked for measured, by name; nan where undefined."""
    protocols: tuple[ProtocolScore, ...] = ()
    """What every protocol makes of the same masks, where that was asked for."""
    per_image: PerImage | None = None
    """None where it was not asked for."""
    doubts: tuple[str, ...] = ()
    """What speaks against the number: another reading of the predicted values that scores far higher, say."""

    @property
    def miou(self) -> float:
        """0..1; nan where no class is defined."""
        return self.result.mean

    def to_json(self) -> dict[str, Any]:
        """For `--json`: null stands for an undefined value."""
        told: dict[str, Any] = {
            "miou": nullable(self.miou),
            "per_class": [nullable(value) for value in self.result.per_class],
            "classes": self.counts.classes,
            "names": self.class_names and list(self.class_names),
            "undefined": list(self.result.undefined),
            "images": self.photos,
            "missing": len(self.missing),
            "extra": len(self.extra),
            "protocol": self.protocol,
            "void": self.void,
            "fingerprint": self.fingerprint,
            "doubts": list(self.doubts),
        }
        if self.measures:
            told["measures"] = {name: nullable(value) for name, value in self.measures.items()}
        if self.protocols:
            told["protocols"] = {each.name: each.to_json() for each in self.protocols}
        return told

    def to_text(self) -> str:
        """For the terminal: mIoU, IoU by class, and what the reader has to know about them."""
        lines = [f"mIoU {self.miou:.4f}  ({self.protocol}, {self.photos} images, {self.counts.classes} classes)"]
        for c, value in enumerate(self.result.per_class):
            name = f"  {self.class_names[c]}" if self.class_names else ""
            lines.append(f"  class {c:3d}  {_three(value)}{name}")
        lines += [f"  {name}  {_three(value)}" for name, value in self.measures.items()]
        lines += _told(self.protocols)
        whose = "" if self.class_names else "  (classes are numbers: rows have another one, which --names FILE gives)"
        lines.append(f"  evaluation fingerprint {self.fingerprint}{whose}")
        return "\n".join(lines + [f"note: {note}" for note in self.notes()])

    def notes(self) -> list[str]:
        """What the number alone does not say, one line each."""
        named = self.class_names or range(self.counts.classes)
        undefined = ", ".join(str(named[class_]) for class_ in self.result.undefined)
        candidates = (
            (
                self.missing,
                f"{counted(len(self.missing), 'missing prediction')} scored as all background: {_some(self.missing)}",
            ),
            (self.extra, f"{counted(len(self.extra), 'prediction')} of no scored photo: {_some(self.extra)}"),
            (self.result.undefined, f"in neither truth nor prediction, left out of the mean: class {undefined}"),
            (self.void != "error", f"255 in predictions: {self.void}"),
            (self.protocol in LEGACY, f"the rules of {self.protocol}, for comparison only: no board has such a number"),
        )
        return [*(note for holds, note in candidates if holds), *self.doubts]


def score_folder(
    predictions: Path,
    truth: Path,
    classes: int | None = None,
    protocol: str = VOC,
    void: Void = "error",
    allow_missing: bool = False,
    names: Path | None = None,
    ids: Path | None = None,
    truth_map: Mapping[int, int] = _AS_FOUND,
    prediction_map: Mapping[int, int] = _AS_FOUND,
    beside: Beside = _NOTHING,
) -> FolderScore:
    """Score each true mask `<id>.png` of a folder with the prediction of the same name.

    `classes` (2..255) includes the background. `void` says what 255 in a prediction is. `names` is a file of the K
    class names in mask order, one a line, as a folder data set's `classes.txt`: with it `classes` may be left out, and
    the fingerprint is that of a run's rows where the files are named by the data set's photo ids and hold the very
    masks that it scores on. Without names classes are numbers, and the fingerprint agrees with that of other folders
    scored so, never with a row's. `ids` is a list of the photos to score, such as val.txt; without it all true masks
    count. `truth_map` and `prediction_map` say what values of the files stand for; those that they do not name stay.
    `protocol` may be one of `results.protocols.LEGACY`, which says itself what 255 is.

    Raises UserError, before anything is reported, for an unknown protocol or option, a missing number of classes, an
    empty folder, two truths of one id, for missing predictions (unless `allow_missing`: then all background), and for
    the first file in name order that is unreadable, of another size or mode, or holds a value above the classes; and
    where no true mask holds a class, since a number would tell nothing.
    """
    _check_options(classes, void, protocol)
    class_names = _class_names(classes, names)
    true_masks = FolderTruth(_folder(truth, "mask"), len(class_names), truth_map)
    scored: Collection[str] = true_masks.files
    if ids is not None:
        scored = _listed(true_masks, ids)
    predicted = _predictions(predictions, len(class_names), _read_as(protocol, void), prediction_map)
    if not allow_missing:
        _check_all_are_there(predicted, scored, "is it the list that was predicted?" if ids else LIST_MEND)
    score = _scored(predicted, true_masks, scored, class_names, protocol, beside)
    return replace(score, class_names=class_names if names else None)


def score_split(
    predictions: Path,
    dataset: Dataset,
    split: str = "val",
    protocol: str = VOC,
    void: Void = "error",
    allow_missing: bool = False,
    prediction_map: Mapping[int, int] = _AS_FOUND,
    beside: Beside = _NOTHING,
) -> FolderScore:
    """Score the predictions `<id>.png` of a split's photos against their true masks, as a run's rows are scored.

    Ids, classes and the evaluation fingerprint are those of the rows of that split. The options, and what raises
    UserError, are those of `score_folder`; so does an unknown split, and one without true masks.
    """
    _check_options(None, void, protocol)
    if split not in dataset.splits:
        raise unknown_name("--split", "split", split, dataset.splits)
    scored = [photo_id for photo_id in dataset.splits[split] if dataset.has_mask(photo_id)]
    if not scored:
        raise UserError(f"{dataset.name}/{split}", "no true mask", "one for each photo that is to be scored")
    class_names = dataset.label_space.mask_names
    predicted = _predictions(predictions, len(class_names), _read_as(protocol, void), prediction_map)
    if not allow_missing:
        _check_all_are_there(predicted, scored, "is it the split that was predicted? --split names another")
    return _scored(predicted, DatasetTruth(dataset, split), scored, class_names, protocol, beside)


def _predictions(folder: Path, classes: int, void: Void, values: Mapping[int, int]) -> Predictions:
    folder = _folder(folder, "prediction")
    return Predictions(folder, masks_in(folder, "prediction"), classes, void, values)


def _scored(
    predictions: Predictions,
    truth: TrueMasks,
    ids: Collection[str],
    class_names: tuple[str, ...],
    protocol: str,
    beside: Beside,
) -> FolderScore:
    rules, base, classes = rules_of(protocol), _BASES[predictions.void], len(class_names)
    pooled, digests, sums = Pooled.nothing(classes), dict[str, str](), dict[str, Whole]()
    measures = MaskMeasures(beside.metrics, classes, "background" if predictions.void == "error" else predictions.void)
    by_rules, spread = RulesTally(rules or base, classes), Spread(classes, base)
    kept = _Kept(predictions.void, classes)
    for image in scored_images(predictions, truth, sorted(ids)):
        pooled += image.pooled
        digests[image.id] = image.truth_digest
        sums[image.id] = class_sums(image.pooled.counts)
        measures.add(image.predicted, image.true_mask)
        if beside.per_image:
            kept.add(image)
        if rules is not None or beside.all_protocols:
            joint = joint_pixels(image.predicted, image.true_mask, classes)
            if rules is not None:
                by_rules.add(joint)
            if beside.all_protocols:
                spread.add(joint)
    refuse_implausible(truth, pooled.true_pixels)
    wanted, images = frozenset(ids), sums_of_images(sums, pooled.counts)
    return FolderScore(
        pooled.counts,
        mean_iou(pooled.counts) if rules is None else by_rules.result(),
        len(wanted),
        tuple(f"{photo_id}.png" for photo_id in sorted(wanted - predictions.files.keys())),
        tuple(file.as_posix() for photo_id, file in predictions.files.items() if photo_id not in wanted),
        protocol,
        predictions.void if rules is None else rules.predicted_void,
        evaluation_fingerprint(class_names, digests),
        class_names,
        images,
        measures=measures.measures(images),
        protocols=tuple(spread.scores()) if beside.all_protocols else (),
        doubts=tuple(doubts(predictions, pooled)),
        per_image=kept.per_image() if beside.per_image else None,
    )


class _Kept:
    """Gathers what is kept of each photo."""

    def __init__(self, void: Void, classes: int) -> None:
        self._void, self._classes = void, classes
        self._counts: dict[str, Counts] = {}
        self._labels: dict[str, LabelCounts] = {}
        self._digests: dict[str, str] = {}

    def add(self, image: ScoredImage) -> None:
        """Count the photo; undecided pixels of a pseudo label by themselves."""
        self._digests[image.id] = mask_digest(image.predicted)
        if self._void == "error":
            self._counts[image.id] = image.pooled.counts
        else:
            self._labels[image.id] = count_labels(image.predicted, image.true_mask, self._classes)

    def per_image(self) -> PerImage:
        """All photos together."""
        table = confusion_table(self._counts.items()) if self._void == "error" else label_table(self._labels.items())
        return PerImage(table, fingerprint(sorted(self._digests.items())))


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


def _listed(truth: FolderTruth, ids: Path) -> tuple[str, ...]:
    """The photos of a list; raises UserError for a photo without a true mask."""
    wanted = read_ids(ids, truth.files)
    if not wanted:
        raise UserError(ids, "no photo", "photo ids, one a line")
    for photo_id in wanted:
        if photo_id not in truth.files:
            meant = alike(photo_id, truth.files)
            mend = f"is it '{truth.files[meant]}'?" if meant else ""
            where = file_of(truth.folder, photo_id, ".png")
            raise UserError(where, "no true mask", f"one for each photo of {ids}", mend)
    return wanted


def _check_all_are_there(predictions: Predictions, ids: Collection[str], otherwise: str) -> None:
    """Raise UserError for the first photo without a prediction, with the mend that fits how many there are.

    `otherwise` is the mend where many are missing that lie there under no other name.
    """
    missing = [photo_id for photo_id in sorted(ids) if photo_id not in predictions.files]
    if not missing:
        return
    mend = otherwise
    if renames := names_alike(missing, predictions.files.keys()):
        mend = told_renames(renames, ".png")
    elif len(missing) <= FEW * len(ids):
        mend = "--allow-missing scores it as all background"
    found = "no prediction"
    if len(missing) > 1:
        found = f"no prediction, as for {len(missing)} of {len(ids)} true masks"
    raise UserError(file_of(predictions.folder, missing[0], ".png"), found, "one per true mask", mend)


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


def _check_options(classes: int | None, void: str, protocol: str) -> None:
    if rules_of(protocol) is not None and void != "error":
        raise UserError("--void", void, f"nothing beside --protocol {protocol}", "its rules say what 255 is")
    if classes is not None and not 2 <= classes <= UNKNOWN:
        raise UserError("--classes", str(classes), f"2..{UNKNOWN}, the background included")
    if void not in get_args(Void):
        raise UserError("--void", f"'{void}'", "one of " + ", ".join(get_args(Void)))


def _read_as(protocol: str, void: Void) -> Void:
    """What 255 in a prediction is while files are read: no mistake where a legacy protocol has a rule for it."""
    return void if rules_of(protocol) is None else "background"


def _folder(path: Path, what: str) -> Path:
    folder = existing_folder(path)
    if folder is None:
        raise UserError(path, "no folder", f"a folder of {what} PNGs")
    return folder


def _told(protocols: Sequence[ProtocolScore]) -> list[str]:
    """The same masks by every protocol, each with its difference from `voc/1` and the rules that make it."""
    if not protocols:
        return []
    values = [each.miou for each in protocols if not np.isnan(each.miou)]
    width, base = max(len(each.name) for each in protocols), protocols[0].miou
    lines = [f"  the same masks by every protocol: from {min(values):.4f} to {max(values):.4f}"] if values else []
    for each in protocols:
        lines.append(f"    {each.name:{width}}  {each.miou:.4f}  {each.miou - base:+.4f}")
        lines += [f"    {'':{width}}    {change:+.4f}  {words}" for words, change in each.because.items()]
    return lines


def _three(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.3f}"


def _some(names: tuple[str, ...], most: int = 3) -> str:
    return ", ".join(map(printable, names[:most])) + (", …" if len(names) > most else "")
