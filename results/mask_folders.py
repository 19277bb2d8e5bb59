"""Folders of mask PNGs read against each other: what is counted, what is refused, what is doubtful."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from results.evaluation import mask_digest
from results.metrics.counts import Counts, count, fill_void
from results.metrics.miou import mean_iou
from results.plausibility import FAR_HIGHER, describe_assignment, no_foreground, other_assignment, pooled_pixels
from settings.errors import UserError, printable
from settings.masks import by_colours, check_values, read_mask
from settings.records import UNKNOWN, Mask
from settings.value_maps import composed, lookup_table, value_map_text

__all__ = [
    "MaskFolders",
    "Pooled",
    "ScoredImage",
    "Void",
    "doubts",
    "mask_names",
    "refuse_implausible",
    "scored_images",
]

Void: TypeAlias = Literal["error", "background", "covered-only"]
"""What 255 in a prediction is: a mistake, background, or not scored."""


class MaskFolders(NamedTuple):
    """What is scored against what, and how its files are read."""

    predictions: Path
    truth: Path
    classes: int
    void: Void
    allow_missing: bool
    truth_map: Mapping[int, int]
    prediction_map: Mapping[int, int]


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


def scored_images(folders: MaskFolders, names: list[str]) -> Iterator[ScoredImage]:
    """Count each truth of these names against its prediction; raises UserError for the first file that does not fit."""
    for name in names:
        true_file, file = folders.truth / name, folders.predictions / name
        true_mask = _read_mask(true_file, folders.truth_map, folders.classes)
        is_missing = folders.allow_missing and not file.exists()
        predicted = np.zeros_like(true_mask) if is_missing else _read_prediction(folders, file)
        if predicted.shape != true_mask.shape:
            raise UserError(file, f"{_size(predicted)} pixels", f"{_size(true_mask)}, the size of {true_file}")
        counts, other_palette = _counted(folders, predicted, true_mask), ""
        colour_counts = counts
        if not is_missing:
            by_colour = _by_colours(folders, file, predicted)
            true_by_colour = _by_colours(folders, true_file, true_mask)
            if by_colour is not predicted or true_by_colour is not true_mask:
                colour_counts = _counted(folders, by_colour, true_by_colour)
                other_palette = _odd_value(file, predicted, by_colour) or _odd_value(
                    true_file, true_mask, true_by_colour
                )
        pixels = pooled_pixels(true_mask), pooled_pixels(predicted)
        pooled = Pooled(counts, colour_counts, *pixels, other_palette)
        yield ScoredImage(Path(name).stem, pooled, mask_digest(true_mask), predicted, true_mask)


def _counted(folders: MaskFolders, predicted: Mask, true_mask: Mask) -> Counts:
    if folders.void == "error":
        return count(predicted, true_mask, folders.classes)
    return count(*fill_void(predicted, true_mask, folders.void), folders.classes)


def _read_mask(file: Path, values: Mapping[int, int], classes: int) -> Mask:
    if not values:
        return read_mask(file, classes)
    mask: Mask = lookup_table(values)[read_mask(file)]
    check_values(file, mask, classes)
    return mask


def _read_prediction(folders: MaskFolders, file: Path) -> Mask:
    mask = _read_mask(file, folders.prediction_map, folders.classes)
    if folders.void == "error" and (mask == UNKNOWN).any():
        raise _unexpected_void(folders, file)
    return mask


def _unexpected_void(folders: MaskFolders, file: Path) -> UserError:
    """The error for 255 in a prediction, with the mend that fits all files together."""
    refuse_implausible(folders, _pixels_of(folders.truth, folders.truth_map))
    mend = "--void background or --void covered-only scores pseudo labels"
    if no_foreground(_pixels_of(folders.predictions, folders.prediction_map)):
        mend = _mend(folders.prediction_map, "predictions", "--map-predictions", folders.classes)
    return UserError(file, f"mask value {UNKNOWN}", f"0..{folders.classes - 1}", mend)


def _pixels_of(folder: Path, values: Mapping[int, int]) -> NDArray[np.int64]:
    """The pixels by value of all masks of a folder that can be read."""
    total = np.zeros(UNKNOWN + 1, np.int64)
    for name in mask_names(folder, "mask"):
        try:
            total += pooled_pixels(lookup_table(values)[read_mask(folder / name)])
        except UserError:
            # The first bad file is the one that is told, and that is another one.
            continue
    return total


def refuse_implausible(folders: MaskFolders, true_pixels: NDArray[np.int64]) -> None:
    """Raise UserError where no true mask holds a class, though there are classes."""
    found = no_foreground(true_pixels)
    if found:
        mend = "a score of background alone says nothing; are these the right masks?"
        if true_pixels[UNKNOWN]:
            mend = _mend(folders.truth_map, "masks", "--map", folders.classes)
        expected = f"pixels of classes 1..{folders.classes - 1}"
        raise UserError(folders.truth, found, expected, mend)


def _mend(values: Mapping[int, int], what: str, option: str, classes: int) -> str:
    """How masks that hold 255 for their objects become those of classes."""
    if values:
        return f"{option} {value_map_text(values)} leaves no class: is it the right one?"
    value = "1"
    if classes > 2:
        value = "CLASS"
    return f"{what} of 0/{UNKNOWN} must become 0/{value}: {option} {UNKNOWN}:{value}"


def _by_colours(folders: MaskFolders, file: Path, mask: Mask) -> Mask:
    """The mask by its colours, where it has VOC's in another order; else itself."""
    if folders.truth_map or folders.prediction_map:
        # Somebody has said what values mean.
        return mask
    coloured = by_colours(file)
    if coloured is None or np.array_equal(coloured, mask):
        return mask
    allowed = (coloured < folders.classes) | ((coloured == UNKNOWN) & (mask == UNKNOWN))
    return coloured if allowed.all() else mask


def _odd_value(file: Path, mask: Mask, by_colour: Mask) -> str:
    odd = np.flatnonzero(mask.ravel() != by_colour.ravel())
    if not odd.size:
        return ""
    value, meant = mask.ravel()[odd[0]], by_colour.ravel()[odd[0]]
    return f"the palette of {printable(file.name)} gives value {value} VOC's colour of value {meant}"


def doubts(folders: MaskFolders, pooled: Pooled) -> Iterator[str]:
    """What speaks against the number, one line each; the score stays what it is."""
    by_colour = mean_iou(pooled.colour_counts).mean
    if by_colour >= mean_iou(pooled.counts).mean + FAR_HIGHER:
        mend = "`seedbed data import-masks` makes class indices of colours"
        yield f"{pooled.other_palette}: read by colours the mIoU would be {by_colour:.4f}; {mend}"
    elif assignment := other_assignment(pooled.counts):
        values = value_map_text(composed(folders.prediction_map, assignment.values))
        yield f"{describe_assignment(assignment)} (--map-predictions {values}): classes in another order?"
    if pooled.predicted_pixels[UNKNOWN] and (found := no_foreground(pooled.predicted_pixels, "prediction")):
        yield f"{found}; {_mend(folders.prediction_map, 'predictions', '--map-predictions', folders.classes)}"


def mask_names(folder: Path, what: str) -> list[str]:
    """The names of the PNGs of a folder, sorted; raises UserError where there is none, and for two of one id."""
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
