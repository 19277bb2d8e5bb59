"""The gate: every pixel label is read through it and written in its ledger (who saw which pixels, and why)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal

from settings.dataset import Dataset
from settings.errors import UserError, changed
from settings.guard import at_the_gate
from settings.records import Mask

__all__ = ["Gate", "LedgerEntry", "Purpose"]

Purpose = Literal["score", "choose", "train", "simulate", "show"]
"""Why a mask is read: to report a number, to choose an option, to train on it, to simulate a saliency network that
was trained on masks, to draw a picture."""


@dataclass(frozen=True)
class LedgerEntry:
    """The masks (or image-level labels) of `ids` were read in one stage for one purpose."""

    kind: Literal["mask", "image_labels"]
    split: str
    purpose: Purpose
    stage: str
    ids: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many photos' labels were read."""
        return len(self.ids)

    def to_json(self) -> dict[str, Any]:
        """Plain types, as the artefact's record keeps them."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "LedgerEntry":
        """The entry that `to_json` wrote."""
        return cls(**{**content, "ids": tuple(content["ids"])})


class Gate:
    """The only way to a mask: it knows the stage and the purpose, and remembers each id it has handed out.

    `planned` is the beginning of each mask's `Dataset.mask_content` as the run was planned with it, by photo id.
    """

    def __init__(
        self, dataset: Dataset, stage: str, purpose: Purpose, planned: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._dataset = dataset
        self._stage = stage
        self._purpose: Purpose = purpose
        self._members = {split: frozenset(ids) for split, ids in dataset.splits.items()}
        self._planned = planned
        self._ids: dict[str, list[str]] = {}

    def mask(self, split: str, photo_id: str) -> Mask:
        """The true mask, uint8 (H, W).

        Raises UserError when the photo does not belong to the split, and when the mask is not the planned one.
        """
        if photo_id not in self._members.get(split, ()):
            raise UserError(f"{self._dataset.name}/{split}", f"photo '{photo_id}'", "an id of that split")
        with at_the_gate():
            mask = self._dataset.read_mask(photo_id)
            # After it was read: a mask that is exchanged while a run goes on must not count under the old one's key.
            self._check(photo_id)
        self._ids.setdefault(split, []).append(photo_id)
        return mask

    def mask_of(self, photo_id: str) -> Mask:
        """The true mask of a photo of any split."""
        split = next((name for name, ids in self._members.items() if photo_id in ids), "")
        return self.mask(split, photo_id)

    def entries(self) -> tuple[LedgerEntry, ...]:
        """What was read so far, one entry a split."""
        return tuple(
            LedgerEntry("mask", split, self._purpose, self._stage, tuple(sorted(set(ids))))
            for split, ids in sorted(self._ids.items())
        )

    def _check(self, photo_id: str) -> None:
        planned = self._planned.get(photo_id)
        if planned is None:
            return
        found = self._dataset.mask_content(photo_id)
        if not found.startswith(planned):
            where = self._dataset.mask_file(photo_id) or f"{self._dataset.name}: mask of photo '{photo_id}'"
            raise changed(where, found, planned)
