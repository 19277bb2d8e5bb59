"""Whether a data set can mean what it seems to, before a run pays for it: a few masks are held against labels.

Only where the few look odd, all are read: a data set of hundreds of thousands of photos is planned as fast as any.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from results.plausibility import (
    Shown,
    contradiction,
    describe_contradiction,
    mend_of_contradiction,
    mend_of_void,
    mismatch,
    no_foreground,
    pooled_pixels,
)
from settings.dataset import Dataset
from settings.errors import UserError
from settings.masks import StrayValues
from settings.records import UNKNOWN, Photo
from settings.supervision import Gate

__all__ = ["check_plausible"]

_Item = TypeVar("_Item")
SAMPLE = 24
"""Masks of a split that are looked at first, spread over it."""


def check_plausible(dataset: Dataset, trained: Sequence[Photo], reported: Iterable[str]) -> None:
    """Raise UserError where no reported mask holds a class, or labels contradict masks in one way throughout.

    `trained` are the photos with labels, `reported` the splits whose masks are scored. Masks that are drawn are right
    by the program that draws them, and are not looked at.
    """
    if not dataset.mask_folders():
        return
    masks = _Masks(dataset)
    for split in dict.fromkeys(reported):
        ids = [photo_id for photo_id in dataset.splits[split] if dataset.has_mask(photo_id)]
        if no_foreground(masks.pixels(_spread(ids))):
            pixels = masks.pixels(ids)
            if found := no_foreground(pixels):
                expected = f"pixels of classes 1..{dataset.label_space.foreground}"
                mend = mend_of_void(dataset.label_space, bool(pixels[UNKNOWN]))
                raise UserError(f"{dataset.name}/{split}", found, expected, mend)
    labelled = [photo for photo in trained if photo.labels and dataset.has_mask(photo.id)]
    few = masks.shown(_spread(labelled))
    disagree = sum(set(shown.labels) != shown.classes for shown in few)
    # Slips and small objects make a few photos disagree anywhere.
    if 3 * disagree > len(few):
        _refuse_contradiction(dataset, masks.shown(labelled))


def _refuse_contradiction(dataset: Dataset, photos: Sequence[Shown]) -> None:
    expected = "masks that show what photos are labelled"
    look = f"see `seedbed data check` of {dataset.name}"
    if found := contradiction(photos, dataset.label_space.foreground):
        mend = f"{mend_of_contradiction(found)}; {look}"
        raise UserError(dataset.name, describe_contradiction(found, dataset.label_space), expected, mend)
    if text := mismatch(photos):
        raise UserError(dataset.name, text, expected, f"are labels and masks of the same photos? {look}")


class _Masks:
    """True masks by id, each read once, and only their pixels by value kept; None of one that cannot be read."""

    def __init__(self, dataset: Dataset) -> None:
        self._split_of = {photo_id: split for split, ids in dataset.splits.items() for photo_id in ids}
        # What is read here decides nothing that is reported: it is no stage's, and stands in no ledger.
        self._gate = Gate(dataset, "planning", "show")
        self._read: dict[str, NDArray[np.int64] | None] = {}

    def pixels(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Pooled over the masks that can be read."""
        total = np.zeros(UNKNOWN + 1, np.int64)
        for photo_id in ids:
            found = self._pixels_of(photo_id)
            if found is not None:
                total += found
        return total

    def shown(self, photos: Sequence[Photo]) -> list[Shown]:
        """Labels and mask values of the photos whose masks can be read."""
        compared = []
        for photo in photos:
            found = self._pixels_of(photo.id)
            if found is not None:
                compared.append(Shown(photo.labels, tuple(np.flatnonzero(found).tolist())))
        return compared

    def _pixels_of(self, photo_id: str) -> NDArray[np.int64] | None:
        if photo_id not in self._read:
            try:
                found: NDArray[np.int64] | None = pooled_pixels(self._gate.mask(self._split_of[photo_id], photo_id))
            except StrayValues as error:
                # That it holds them at all is what counts here.
                found = np.zeros(UNKNOWN + 1, np.int64)
                found[list(error.present)] = 1
            except UserError:
                # The stage that needs it says so.
                found = None
            self._read[photo_id] = found
        return self._read[photo_id]


def _spread(of: Sequence[_Item]) -> Sequence[_Item]:
    """Some of them, evenly."""
    return of[:: max(1, -(-len(of) // SAMPLE))]
