"""Which photos are put beside which: partners in training, references at inference. Both share a class."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from settings.records import WeakSet


class Partners:
    """Draws training pairs: one of the anchor's classes, then a photo with that class (possibly the anchor itself)."""

    def __init__(self, labels_NK: NDArray[np.float32]) -> None:
        self._classes = [np.flatnonzero(row) for row in labels_NK]
        self._members = [np.flatnonzero(column) for column in labels_NK.T]

    def of(self, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """One partner row an anchor row; a photo without labels is its own partner."""
        return np.array([self._partner(row, rng) for row in rows], np.int64)

    def _partner(self, row: np.int64, rng: np.random.Generator) -> np.int64:
        if not len(self._classes[row]):
            return row
        drawn: np.int64 = rng.choice(self._members[rng.choice(self._classes[row])])
        return drawn


class References:
    """Draws the photos that a class of a photo is looked for in: with replacement, the photo itself allowed.

    A draw is a hash of (rng seed, photo, class, number), so it does not depend on how photos are cut into shards.
    """

    def __init__(self, weak: WeakSet, rng_seed: int, count: int) -> None:
        self._rng_seed, self._count = rng_seed, count
        self._members: dict[int, list[str]] = {}
        for photo in weak.photos:
            for class_id in photo.labels:
                self._members.setdefault(class_id, []).append(photo.id)

    def of(self, photo_id: str, class_id: int) -> Sequence[str]:
        """Ids of `count` photos with that class."""
        members = self._members[class_id]
        draws = (f"{self._rng_seed}/{photo_id}/{class_id}/{draw}" for draw in range(self._count))
        return [members[int.from_bytes(sha256(draw.encode()).digest()) % len(members)] for draw in draws]
