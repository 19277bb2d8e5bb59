"""The fifth of dev that one fit leaves out, so that its classifier can be measured on photos it has not seen."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from hashlib import sha256

from settings.dataset import Dataset
from settings.records import WeakSet

SHARE = 5


def held_out_ids(dataset: Dataset) -> tuple[str, ...]:
    """A fifth of dev, rounded up, ascending: the ids that come first by their sha256.

    It depends on dev's ids alone: on no rng seed, no label and no setting.
    """
    dev = sorted(dataset.splits["dev"], key=lambda photo_id: sha256(photo_id.encode()).digest())
    return tuple(sorted(dev[: -(-len(dev) // SHARE)]))


def without(weak: WeakSet, ids: Collection[str]) -> WeakSet:
    """The weak set as a fit sees it that leaves these photos out."""
    left_out = frozenset(ids)
    return replace(weak, photos=tuple(photo for photo in weak.photos if photo.id not in left_out))
