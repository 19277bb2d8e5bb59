"""Scoring a folder of mask PNGs against the folder of their truths."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from results.evaluation import evaluation_fingerprint, mask_digest
from results.metrics.counts import Counts, count, fill_void
from results.metrics.miou import MeanIoU, mean_iou, nullable
from results.protocols import protocol as protocol_named
from settings.config import existing_folder
from settings.errors import UserError, printable
from settings.lists import read_classes, read_ids
from settings.masks import read_mask
from settings.records import UNKNOWN, LabelSpace, Mask
from settings.stems import alike, names_alike, told_renames

__all__ = ["FolderScore", "Void", "score_folder"]

FEW = 0.1
"""Up to this share of missing predictions, scoring them as background may be meant: a program failed on some photos."""

Void: TypeAlias = Literal["error", "background", "covered-only"]
"""What 255 in a prediction is: a mistake, background, or not scored."""


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
    named: bool
    """Whether class names were given: then rows scored on the same masks have this fingerprint."""

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
        return [note for holds, note in candidates if holds]


def score_folder(
    predictions: Path,
    truth: Path,
    classes: int | None = None,
    protocol: str = "voc/1",
    void: Void = "error",
    allow_missing: bool = False,
    names: Path | None = None,
    ids: Path | None = None,
) -> FolderScore:
    """Score each truth `<id>.png` with the prediction of the same name; `classes` (2..255) includes the background.

    `void` says what 255 in a prediction is. `names` is a file of the K class names in mask order, one a line, as a
    folder data set's `classes.txt`: with it `classes` may be left out, and the fingerprint is that of a run's rows
    where the files are named by the data set's photo ids and hold the very masks that it scores on. Without names
    classes are numbers, and the fingerprint agrees with that of other folders scored so, never with a row's.
    `ids` is a list of the photos to score, such as val.txt; without it all true masks count.

    Raises UserError, before anything is reported, for an unknown protocol or option, a missing number of classes, an
    empty folder, two truths of one id, for missing predictions (unless `allow_missing`: then all background), and for
    the first file in name order that is unreadable, of another size or mode, or holds a value above the classes.
    """
    rules = protocol_named(protocol)
    _check_options(classes, void)
    class_names = _class_names(classes, names)
    classes = len(class_names)
    truth, predictions = _folder(truth, "mask"), _folder(predictions, "prediction")
    truths, predicted = _names(truth, "mask"), _names(predictions, "prediction")
    if ids is not None:
        truths = _listed(truths, truth, ids)
    if not allow_missing:
        _check_all_are_there(predictions, predicted, truths, ids is not None)
    total, digests = Counts.zero(classes), dict[str, str]()
    for image in _images(predictions, truth, truths, classes, void, allow_missing):
        total += image.counts
        digests[image.id] = image.truth_digest
    missing, extra = sorted(set(truths) - set(predicted)), sorted(set(predicted) - set(truths))
    return FolderScore(
        total,
        mean_iou(total),
        len(truths),
        tuple(missing),
        tuple(extra),
        rules.name,
        void,
        evaluation_fingerprint(class_names, digests),
        named=names is not None,
    )


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


class _Image(NamedTuple):
    id: str
    counts: Counts
    truth_digest: str


def _images(
    predictions: Path, truth: Path, names: list[str], classes: int, void: Void, allow_missing: bool
) -> Iterator[_Image]:
    for name in names:
        true_mask = read_mask(truth / name, classes)
        file = predictions / name
        predicted = np.zeros_like(true_mask) if allow_missing and not file.exists() else _read(file, classes, void)
        if predicted.shape != true_mask.shape:
            raise UserError(file, f"{_size(predicted)} pixels", f"{_size(true_mask)}, the size of {truth / name}")
        pair = (predicted, true_mask) if void == "error" else fill_void(predicted, true_mask, void)
        yield _Image(Path(name).stem, count(*pair, classes), mask_digest(true_mask))


def _read(file: Path, classes: int, void: Void) -> Mask:
    if not file.exists():
        raise UserError(file, "no prediction", "one per truth mask", "--allow-missing scores it as all background")
    mask = read_mask(file, classes)
    if void == "error" and (mask == UNKNOWN).any():
        mend = "--void background or --void covered-only scores pseudo labels"
        raise UserError(file, f"mask value {UNKNOWN}", f"0..{classes - 1}", mend)
    return mask


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


def _names(folder: Path, what: str) -> list[str]:
    # Names with a leading dot are what file managers leave behind.
    names = sorted(f.name for f in folder.iterdir() if f.suffix.lower() == ".png" and not f.name.startswith("."))
    if not names:
        raise UserError(folder, "no PNG", f"{what} PNGs named <id>.png")
    by_id: dict[str, str] = {}
    for name in names:
        if (other := by_id.setdefault(Path(name).stem, name)) != name:
            raise UserError(folder, f"{other} and {name}", f"one {what} for photo '{Path(name).stem}'")
    return names


def _size(mask: Mask) -> str:
    return f"{mask.shape[1]}×{mask.shape[0]}"


def _three(value: float) -> str:
    return "undefined" if np.isnan(value) else f"{value:.3f}"


def _some(names: tuple[str, ...], most: int = 5) -> str:
    return ", ".join(map(printable, names[:most])) + (", …" if len(names) > most else "")
