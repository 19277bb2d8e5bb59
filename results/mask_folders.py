"""A folder of predicted mask PNGs read against true masks: what is counted, what is refused, what is doubtful."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from results.evaluation import mask_digest
from results.metrics.counts import Counts, count, fill_void
from results.metrics.miou import mean_iou
from results.plausibility import FAR_HIGHER, describe_assignment, no_foreground, other_assignment, pooled_pixels
from settings.dataset import Dataset
from settings.errors import UserError, printable
from settings.masks import by_colours, check_values, read_mask
from settings.photo_ids import files_below, id_of
from settings.records import UNKNOWN, Mask
from settings.supervision import Gate
from settings.value_maps import composed, lookup_table, value_map_text

__all__ = [
    "DatasetTruth",
    "FolderTruth",
    "Pooled",
    "Predictions",
    "ScoredImage",
    "TrueMasks",
    "Void",
    "doubts",
    "masks_in",
    "refuse_implausible",
    "scored_images",
]

Void: TypeAlias = Literal["error", "background", "covered-only"]
"""What 255 in a prediction is: a mistake, background, or not scored."""


class TrueMasks(ABC):
    """True masks by photo id, wherever they lie, each with a value for each of `classes` (K + 1), or 255."""

    values: Mapping[int, int]
    """What their values stand for, where somebody said so."""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    @abstractmethod
    def mask(self, photo_id: str) -> Mask:
        """The true mask; raises UserError where it cannot be read or holds other values."""

    @abstractmethod
    def place(self, photo_id: str) -> object:
        """Where a true mask lies, for messages."""

    @abstractmethod
    def by_colours(self, photo_id: str, mask: Mask) -> Mask:
        """The mask as the colours of its palette have it, where these are VOC's in another order; else itself."""

    @abstractmethod
    def all_pixels(self) -> NDArray[np.int64]:
        """The pixels of each of the 256 values, of all true masks that can be read."""

    @abstractmethod
    def without_class(self, found: str, true_pixels: NDArray[np.int64]) -> UserError:
        """The error for true masks of which none holds a class, where `found` tells what they hold."""


class FolderTruth(TrueMasks):
    """The PNGs of a folder, of values that `values` changes."""

    def __init__(self, folder: Path, classes: int, values: Mapping[int, int]) -> None:
        super().__init__(classes)
        self.folder, self.values = folder, values
        self.files = masks_in(folder, "mask")

    def mask(self, photo_id: str) -> Mask:
        """The file's mask, its values changed as `values` has it."""
        return _read_mask(self.place(photo_id), self.values, self.classes)

    def place(self, photo_id: str) -> Path:
        """The file."""
        return self.folder / self.files[photo_id]

    def by_colours(self, photo_id: str, mask: Mask) -> Mask:
        """By the file's palette."""
        return _by_colours(self.place(photo_id), mask, self.classes)

    def all_pixels(self) -> NDArray[np.int64]:
        """Of the whole folder."""
        return _pixels_of(self.folder, self.files.values(), self.values)

    def without_class(self, found: str, true_pixels: NDArray[np.int64]) -> UserError:
        """With the mend `--map` for masks of 0/255."""
        mend = "a score of background alone says nothing; are these the right masks?"
        if true_pixels[UNKNOWN]:
            mend = _mend(self.values, "masks", "--map", self.classes)
        return UserError(self.folder, found, f"pixels of classes 1..{self.classes - 1}", mend)


class DatasetTruth(TrueMasks):
    """The true masks of a split of a data set, which knows what their values mean."""

    values: Mapping[int, int] = MappingProxyType({})

    def __init__(self, dataset: Dataset, split: str) -> None:
        super().__init__(dataset.label_space.foreground + 1)
        self._dataset, self._split = dataset, split
        self._gate = Gate(dataset, "score", "score")

    def mask(self, photo_id: str) -> Mask:
        """As the gate gives it."""
        return self._gate.mask(self._split, photo_id)

    def place(self, photo_id: str) -> object:
        """The mask's file, or what a mask that is drawn is called."""
        return self._dataset.mask_file(photo_id) or f"{self._dataset.name}: mask of photo '{photo_id}'"

    def by_colours(self, photo_id: str, mask: Mask) -> Mask:
        """The mask itself: the data set has said what its values mean."""
        return mask

    def all_pixels(self) -> NDArray[np.int64]:
        """Of the split's masks."""
        total = np.zeros(UNKNOWN + 1, np.int64)
        for photo_id in filter(self._dataset.has_mask, self._dataset.splits[self._split]):
            total += pooled_pixels(self.mask(photo_id))
        return total

    def without_class(self, found: str, true_pixels: NDArray[np.int64]) -> UserError:
        """With the verb that looks at data sets."""
        where, expected = f"{self._dataset.name}/{self._split}", f"pixels of classes 1..{self.classes - 1}"
        return UserError(where, found, expected, "see `seedbed data check`")


class Predictions(NamedTuple):
    """Predicted masks by photo id, and how they are read."""

    folder: Path
    files: Mapping[str, Path]
    """Relative to the folder."""
    classes: int
    void: Void
    values: Mapping[int, int]
    """What their values stand for."""


@dataclass(frozen=True)
class Pooled:
    """What images add up to."""

    counts: Counts
    colour_counts: Counts
    """The counts where palettes with VOC's colours are read by these, and other masks by their values."""
    true_pixels: NDArray[np.int64]
    """Of the 256 values."""
    predicted_pixels: NDArray[np.int64]
    other_palette: str = ""
    """Which colour the first palette in another order gives which value; empty where there is none."""

    @classmethod
    def nothing(cls, classes: int) -> "Pooled":
        """What no image adds up to."""
        none, no_pixels = Counts.zero(classes), np.zeros(UNKNOWN + 1, np.int64)
        return cls(none, none, no_pixels, no_pixels)

    def __add__(self, other: "Pooled") -> "Pooled":
        return Pooled(
            self.counts + other.counts,
            self.colour_counts + other.colour_counts,
            self.true_pixels + other.true_pixels,
            self.predicted_pixels + other.predicted_pixels,
            self.other_palette or other.other_palette,
        )


class ScoredImage(NamedTuple):
    """One photo's part of the score."""

    id: str
    pooled: Pooled
    truth_digest: str
    predicted: Mask
    true_mask: Mask


def scored_images(predictions: Predictions, truth: TrueMasks, ids: Iterable[str]) -> Iterator[ScoredImage]:
    """Count the true mask of each id against its prediction, which is all background where there is none.

    Raises UserError for the first file that does not fit.
    """
    for photo_id in ids:
        true_mask = truth.mask(photo_id)
        if photo_id not in predictions.files:
            nothing = np.zeros_like(true_mask)
            counts = _counted(predictions, nothing, true_mask)
            pixels = pooled_pixels(true_mask), pooled_pixels(nothing)
            pooled = Pooled(counts, counts, *pixels)
            yield ScoredImage(photo_id, pooled, mask_digest(true_mask), nothing, true_mask)
            continue
        file = predictions.folder / predictions.files[photo_id]
        predicted = _read_prediction(predictions, truth, file)
        if predicted.shape != true_mask.shape:
            expected = f"{_size(true_mask)}, the size of {truth.place(photo_id)}"
            raise UserError(file, f"{_size(predicted)} pixels", expected)
        counts, other_palette = _counted(predictions, predicted, true_mask), ""
        colour_counts = counts
        # Where somebody has said what values mean, colours mean nothing.
        if not (truth.values or predictions.values):
            by_colour = _by_colours(file, predicted, predictions.classes)
            true_by_colour = truth.by_colours(photo_id, true_mask)
            if by_colour is not predicted or true_by_colour is not true_mask:
                colour_counts = _counted(predictions, by_colour, true_by_colour)
                other_palette = _odd_value(file.name, predicted, by_colour) or _odd_value(
                    f"{photo_id}.png", true_mask, true_by_colour
                )
        pixels = pooled_pixels(true_mask), pooled_pixels(predicted)
        pooled = Pooled(counts, colour_counts, *pixels, other_palette)
        yield ScoredImage(photo_id, pooled, mask_digest(true_mask), predicted, true_mask)


def _counted(predictions: Predictions, predicted: Mask, true_mask: Mask) -> Counts:
    if predictions.void == "error":
        return count(predicted, true_mask, predictions.classes)
    return count(*fill_void(predicted, true_mask, predictions.void), predictions.classes)


def _read_mask(file: Path, values: Mapping[int, int], classes: int) -> Mask:
    if not values:
        return read_mask(file, classes)
    mask: Mask = lookup_table(values)[read_mask(file)]
    check_values(file, mask, classes)
    return mask


def _read_prediction(predictions: Predictions, truth: TrueMasks, file: Path) -> Mask:
    mask = _read_mask(file, predictions.values, predictions.classes)
    if predictions.void == "error" and (mask == UNKNOWN).any():
        raise _unexpected_void(predictions, truth, file)
    return mask


def _unexpected_void(predictions: Predictions, truth: TrueMasks, file: Path) -> UserError:
    """The error for 255 in a prediction, with the mend that fits all files together."""
    refuse_implausible(truth, truth.all_pixels())
    mend = "--void background or --void covered-only scores pseudo labels"
    if no_foreground(_pixels_of(predictions.folder, predictions.files.values(), predictions.values)):
        mend = _mend(predictions.values, "predictions", "--map-predictions", predictions.classes)
    return UserError(file, f"mask value {UNKNOWN}", f"0..{predictions.classes - 1}", mend)


def _pixels_of(folder: Path, files: Iterable[Path], values: Mapping[int, int]) -> NDArray[np.int64]:
    """The pixels by value of all masks of a folder that can be read."""
    total = np.zeros(UNKNOWN + 1, np.int64)
    for file in files:
        try:
            total += pooled_pixels(lookup_table(values)[read_mask(folder / file)])
        except UserError:
            # The first bad file is the one that is told, and that is another one.
            continue
    return total


def refuse_implausible(truth: TrueMasks, true_pixels: NDArray[np.int64]) -> None:
    """Raise UserError where no true mask holds a class, though there are classes."""
    if found := no_foreground(true_pixels):
        raise truth.without_class(found, true_pixels)


def _mend(values: Mapping[int, int], what: str, option: str, classes: int) -> str:
    """How masks that hold 255 for their objects become those of classes."""
    if values:
        return f"{option} {value_map_text(values)} leaves no class: is it the right one?"
    value = "1"
    if classes > 2:
        value = "CLASS"
    return f"{what} of 0/{UNKNOWN} must become 0/{value}: {option} {UNKNOWN}:{value}"


def _by_colours(file: Path, mask: Mask, classes: int) -> Mask:
    """The mask by its colours, where it has VOC's in another order; else itself."""
    coloured = by_colours(file)
    if coloured is None or np.array_equal(coloured, mask):
        return mask
    allowed = (coloured < classes) | ((coloured == UNKNOWN) & (mask == UNKNOWN))
    return coloured if allowed.all() else mask


def _odd_value(name: str, mask: Mask, by_colour: Mask) -> str:
    odd = np.flatnonzero(mask.ravel() != by_colour.ravel())
    if not odd.size:
        return ""
    value, meant = mask.ravel()[odd[0]], by_colour.ravel()[odd[0]]
    return f"the palette of {printable(name)} gives value {value} VOC's colour of value {meant}"


def doubts(predictions: Predictions, pooled: Pooled) -> Iterator[str]:
    """What speaks against the number, one line each; the score stays what it is."""
    by_colour = mean_iou(pooled.colour_counts).mean
    if by_colour >= mean_iou(pooled.counts).mean + FAR_HIGHER:
        mend = "`seedbed data import-masks` makes class indices of colours"
        yield f"{pooled.other_palette}: read by colours the mIoU would be {by_colour:.4f}; {mend}"
    elif assignment := other_assignment(pooled.counts):
        values = value_map_text(composed(predictions.values, assignment.values))
        yield f"{describe_assignment(assignment)} (--map-predictions {values}): classes in another order?"
    if pooled.predicted_pixels[UNKNOWN] and (found := no_foreground(pooled.predicted_pixels, "prediction")):
        yield f"{found}; {_mend(predictions.values, 'predictions', '--map-predictions', predictions.classes)}"


def masks_in(folder: Path, what: str) -> dict[str, Path]:
    """The PNGs below a folder by photo id, sorted and relative to it; `what` they are, for messages.

    Raises UserError where there is none, and for two of one id.
    """
    files = [path for path in files_below(folder, follow_links=True) if path.suffix.lower() == ".png"]
    if not files:
        raise UserError(folder, "no PNG", f"{what} PNGs named <id>.png")
    by_id: dict[str, Path] = {}
    for path in files:
        photo_id = id_of(path)
        if (other := by_id.setdefault(photo_id, path)) != path:
            raise UserError(folder, f"{other} and {path}", f"one {what} for photo '{photo_id}'")
    return by_id


def _size(mask: Mask) -> str:
    return f"{mask.shape[1]}×{mask.shape[0]}"
