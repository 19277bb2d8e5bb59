"""What components promise, held against what they return: a plug-in's mistake is told by name where it is made.

Without this a photo that a localizer skips would be a `KeyError` in a later stage, or a gap that nobody sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from harness.suites.recipes import ComponentIdentity
from methods.base import DrawnPair, FeatureBank, FeatureRequest, Fit, LocalizationMaps, Mask, Photo, Photos
from settings.errors import UserError
from settings.records import UNKNOWN

if TYPE_CHECKING:
    import torch

__all__ = ["DeclaredFeatures", "check_pair", "checked_fit", "checked_maps", "checked_mask", "named", "one_each"]

Item = TypeVar("Item")


def named(component: ComponentIdentity) -> str:
    """How messages call a component: `localizer 'cam'`."""
    return f"{component.role} '{component.name}'"


def one_each(who: str, photos: Photos, items: Iterable[Item], what: str) -> Iterator[tuple[Photo, Item]]:
    """Each photo with what a component made of it; raises UserError where it makes too few, or too many.

    `who` made it and `what` it is, both for the message.
    """
    expected = f"{what} for each photo, in the order of `photos`"
    if not isinstance(items, Iterable):
        raise UserError(who, f"{_type(items)} returned by apply", expected)
    left = iter(items)
    for photo in photos:
        try:
            item = next(left)
        except StopIteration:
            raise UserError(who, f"nothing for photo '{photo.id}'", expected) from None
        yield photo, item
    if next(left, None) is not None:
        raise UserError(who, f"more than {len(photos)} for {len(photos)} photos", expected)


def checked_maps(
    who: str, photos: Photos, records: Iterable[LocalizationMaps], gives_background: bool | None
) -> Iterator[LocalizationMaps]:
    """The records as they come, one a photo, of the photo's own labels.

    Raises UserError that names the component and the photo for one that is skipped or given twice, for maps of other
    classes, and for maps that no file of maps may hold. `gives_background`: what the component says of itself.
    """
    for photo, record in one_each(who, photos, records, "one LocalizationMaps"):
        if not isinstance(record, LocalizationMaps):
            raise UserError(who, f"{_type(record)} for photo '{photo.id}'", "LocalizationMaps")
        if record.photo_id != photo.id:
            found = f"no maps of photo '{photo.id}', but those of '{record.photo_id}' in their place"
            raise UserError(who, found, "one record for each photo, in the order of `photos`", "skip none")
        if tuple(record.class_ids) != photo.labels:
            found = f"maps of class ids {list(record.class_ids)} for photo '{photo.id}'"
            raise UserError(who, found, f"those of its labels, {list(photo.labels)}")
        if gives_background and photo.labels and record.background_HW is None:
            found = f"no background map of photo '{photo.id}'"
            raise UserError(who, found, "one, since the component says gives_background = True")
        _check_values(who, record)
        # Of plain integers: those of numpy go into no header.
        yield replace(record, class_ids=photo.labels)


def checked_mask(who: str, photo: Photo, mask: Any, classes: int, size: tuple[int, int] | None = None) -> Mask:
    """A mask that a component made; raises UserError for another type, size or value. `size`: where it is known."""
    if not isinstance(mask, np.ndarray) or mask.dtype != np.uint8 or mask.ndim != 2:
        raise UserError(who, f"{_type(mask)} for photo '{photo.id}'", "a mask, uint8 of shape (height, width)")
    if size is not None and mask.shape != size:
        raise UserError(who, f"a mask of shape {mask.shape} for photo '{photo.id}'", f"{size}, as the photo")
    present = np.flatnonzero(np.bincount(mask.ravel(), minlength=256))
    stray = present[(present > classes) & (present != UNKNOWN)]
    if stray.size:
        found = f"mask value {stray[0]} for photo '{photo.id}'"
        raise UserError(who, found, f"0 for background, class id + 1 up to {classes}, or {UNKNOWN} where undecided")
    return mask


def checked_fit(who: str, fit: Any) -> Fit:
    """What a component's `fit` returned; raises UserError for all but a `Fit` of named tensors and rows of numbers."""
    import torch

    if not isinstance(fit, Fit):
        raise UserError(who, f"{_type(fit)} returned by fit", "Fit(weights)", "from methods.base import Fit")
    if not isinstance(fit.weights, Mapping):
        raise UserError(who, f"weights that are {_type(fit.weights)}", "a dictionary of tensors by name")
    for name, tensor in fit.weights.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise UserError(who, f"{_type(tensor)} as weight {name!r}", "a dictionary of tensors by name")
    for row in fit.log:
        _check_row(who, row)
    return fit


def check_pair(who: str, photo: Photo, pair: DrawnPair, classes: int) -> None:
    """Raise UserError for a drawn photo of another type or shape, and for a pseudo label that does not fit it."""
    image = pair.image
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise UserError(
            who, f"{_type(image)} for photo '{photo.id}'", "an RGB photo, uint8 of shape (height, width, 3)"
        )
    checked_mask(who, photo, pair.mask, classes, image.shape[:2])


class DeclaredFeatures:
    """A bank of stored features that tells which component asked for features that it did not declare."""

    def __init__(self, bank: FeatureBank, who: str) -> None:
        self._bank = bank
        self._who = who

    def features_BCHW(self, ids: Sequence[str], requests: Sequence[FeatureRequest]) -> torch.Tensor:
        """What the bank has, as `FeatureBank` says; raises UserError for what was not declared."""
        try:
            return self._bank.features_BCHW(ids, requests)
        except KeyError as error:
            request, photo_id = error.args[0]
            raise self._undeclared(f"{request} of photo '{photo_id}'") from None

    def image_size(self, photo_id: str) -> tuple[int, int]:
        """(height, width) of the photo in pixels; raises UserError for a photo without stored features."""
        try:
            return self._bank.image_size(photo_id)
        except KeyError:
            raise self._undeclared(f"the size of photo '{photo_id}', of which no features are stored") from None

    def _undeclared(self, asked: str) -> UserError:
        expected = "features that it declared, of the photos that it was given"
        mend = "name them in its `features`, `fit_features` or `apply_features`"
        return UserError(self._who, f"a look for {asked}", expected, mend)


def _check_values(who: str, record: LocalizationMaps) -> None:
    """Raise UserError for maps of another shape than the record says, or outside [0, 1]."""
    from methods.localization import check_record

    try:
        check_record(record)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(who, str(error), "float maps of shape (classes, height, width) in [0, 1]") from None


def _check_row(who: str, row: Any) -> None:
    """Raise UserError for a row of a fit's log that is no dictionary of plain numbers."""
    expected = "rows of numbers by name in Fit.log"
    if not isinstance(row, Mapping):
        raise UserError(who, f"{_type(row)} in Fit.log", expected)
    for name, value in row.items():
        if not isinstance(value, int | float):
            raise UserError(who, f"{_type(value)} as '{name}' in Fit.log", expected, "float(value)")


def _type(value: object) -> str:
    """What kind of thing a component returned, for messages: `a dict`, `a float32 array of shape (3, 4)`."""
    if isinstance(value, np.ndarray):
        return f"a {value.dtype} array of shape {value.shape}"
    if value is None:
        return "None"
    return f"a {type(value).__name__}"
