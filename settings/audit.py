"""The audit of extra photos before anybody trains on them: unreadable, tiny, twice, or a photo that is evaluated.

A near-duplicate of an evaluated photo among the training photos would make every number of it worth less.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pydantic import Field

from settings.errors import UserError
from settings.options import Options
from settings.perceptual import BITS, Look, distances, shared_looks
from settings.progress import told
from settings.records import Photo

__all__ = ["Audit", "AuditOptions", "Drop", "audit"]

Reason = Literal["unreadable", "tiny", "exact duplicate", "near duplicate"]
BLOCK = 64
"""Extra photos that are held against all evaluated ones at a time."""


class AuditOptions(Options):
    """What is looked for; the distance was chosen on train photos, see docs/defaults.md."""

    near_duplicates: bool = True
    distance: int = Field(60, ge=0, le=BITS // 2, description=f"at most so many of {BITS} bits differ")
    min_side: int = Field(32, ge=1, le=4096, description="a photo with a shorter side (pixels) is tiny")


@dataclass(frozen=True)
class Drop:
    """A photo that is left out, and why; `twin` is the photo that it shows again."""

    photo_id: str
    reason: Reason
    twin: str = ""
    distance: int | None = None
    detail: str = ""

    def describe(self) -> str:
        """One line for people."""
        of = f" of {self.twin}" if self.twin else ""
        bits = f" ({self.distance} bits differ)" if self.distance else ""
        return f"{self.photo_id}: {self.reason}{of}{bits}{f': {self.detail}' if self.detail else ''}"


@dataclass(frozen=True)
class Audit:
    """What was found among so many declared photos; a photo is dropped for one reason."""

    declared: int
    drops: tuple[Drop, ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """Dropped photos by reason."""
        return Counter(drop.reason for drop in self.drops)

    def to_json(self) -> dict[str, Any]:
        """Plain types, as the weak set's artefact keeps them."""
        return {"declared": self.declared, "drops": [asdict(drop) for drop in self.drops]}


def audit(extra: Sequence[Photo], evaluation: Sequence[Photo], options: AuditOptions) -> Audit:
    """Which extra photos are left out, in their order; evaluated photos that cannot be read are compared with nothing.

    Of photos with equal content the first is kept. The twin of a near-duplicate is the nearest evaluated photo.
    """
    drops: dict[str, Drop] = {}
    looks: dict[str, Look] = {}
    for photo in told(extra, "extra photos audited"):
        try:
            looks[photo.id] = look = shared_looks().of(photo, "looked at")
        except UserError as error:
            drops[photo.id] = Drop(photo.id, "unreadable", detail=str(error))
            continue
        if min(look.height, look.width) < options.min_side:
            drops[photo.id] = Drop(photo.id, "tiny", detail=f"{look.width}×{look.height} pixels")
    if options.near_duplicates:
        left = [photo for photo in extra if photo.id not in drops]
        for drop in _near(left, looks, evaluation, options.distance):
            drops[drop.photo_id] = drop
    # Last, so that the twin of an exact duplicate is a photo that is kept.
    for drop in _twice([photo for photo in extra if photo.id not in drops]):
        drops[drop.photo_id] = drop
    return Audit(len(extra), tuple(drops[photo.id] for photo in extra if photo.id in drops))


def _twice(photos: Sequence[Photo]) -> Iterator[Drop]:
    first: dict[str, str] = {}
    for photo in photos:
        if (twin := first.setdefault(photo.content, photo.id)) != photo.id:
            yield Drop(photo.id, "exact duplicate", twin)


def _near(photos: Sequence[Photo], looks: Mapping[str, Look], evaluation: Sequence[Photo], most: int) -> Iterator[Drop]:
    """Each extra photo, as it is and mirrored, against every crop of every evaluated photo."""
    known = _readable(evaluation)
    if not photos or not known:
        return
    ids = list(known)
    for start in range(0, len(photos), BLOCK):
        block = photos[start : start + BLOCK]
        nearest_NM = distances([looks[photo.id] for photo in block], list(known.values()))
        for photo, row_M in zip(block, nearest_NM, strict=True):
            place = int(row_M.argmin())
            if row_M[place] <= most:
                yield Drop(photo.id, "near duplicate", ids[place], int(row_M[place]))


def _readable(photos: Sequence[Photo]) -> dict[str, Look]:
    looks: dict[str, Look] = {}
    for photo in told(photos, "evaluated photos hashed"):
        try:
            looks[photo.id] = shared_looks().of(photo, "held against")
        except UserError:
            continue  # `seedbed data check` tells of it
    return looks
