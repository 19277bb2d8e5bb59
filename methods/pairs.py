"""Which photos are put beside which: partners in training, references at inference.

Both share a class, but for the partners of photos that show none: these share nothing with anybody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from settings.records import WeakSet

PartnerRule = Literal["any", "with_target", "same_source"]
"""Of which sources the two photos of a training pair may be: any, at least one of the target set, both of one."""


class Partners:
    """Draws training pairs: one of the anchor's classes, then a photo with that class (possibly the anchor itself).

    An anchor without labels, a negative, is put beside any photo: common maps of both are to show nothing, contrastive
    ones all that the partner has.
    """

    def __init__(self, weak: WeakSet, rule: PartnerRule = "any") -> None:
        labels_NK = weak.labels_NK() > 0
        sources_N = np.array([photo.source for photo in weak.photos])
        self._classes = [np.flatnonzero(row) for row in labels_NK]
        self._sources = [photo.source for photo in weak.photos]
        allowed = {source: _allowed(rule, source, sources_N) for source in dict.fromkeys(self._sources)}
        self._any: Mapping[str, NDArray[np.int64]] = {
            source: np.flatnonzero(allowed_N) for source, allowed_N in allowed.items()
        }
        self._members: Mapping[str, list[NDArray[np.int64]]] = {
            source: [np.flatnonzero(column & allowed_N) for column in labels_NK.T]
            for source, allowed_N in allowed.items()
        }

    def of(self, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """One partner row an anchor row; a photo without any partner is its own."""
        return np.array([self._partner(row, rng) for row in rows], np.int64)

    def _partner(self, row: np.int64, rng: np.random.Generator) -> np.int64:
        source, classes = self._sources[row], self._classes[row]
        members = self._any[source]
        if len(classes):
            members = self._members[source][rng.choice(classes)]
        if not len(members):
            return row
        drawn: np.int64 = rng.choice(members)
        return drawn


def _allowed(rule: PartnerRule, source: str, sources_N: NDArray[np.str_]) -> NDArray[np.bool_]:
    """The photos that an anchor of a source may be paired with."""
    if rule == "any" or (rule == "with_target" and source == "target"):
        return np.ones(len(sources_N), np.bool_)
    allowed_N: NDArray[np.bool_] = sources_N == ("target" if rule == "with_target" else source)
    return allowed_N


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
