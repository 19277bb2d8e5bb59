"""What of one line of the leaderboard is drawn, as stages: photos spread evenly, and the best, median and worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.stages.scored import Scored
from harness.store.layout import Ref
from settings.records import Photo

VERSION = 4
"""Raised when the drawing changes: it is part of a picture's key."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """The sheets of a line."""

    scored: Scored

    def sheets(self) -> list[Ref]:
        """The sheets that a run draws of a line."""
        if not self.photos:
            return []
        return [self._spread(), *([self._by_score()] if self._last in ("pseudo_labels", "segmentation") else [])]

    @cached_property
    def photos(self) -> tuple[Photo, ...]:
        """Photos spread over those whose maps are reported, the same ones for every recipe.

        None where there are no maps or nothing true to hold them against, and for all rng seeds but the first.
        """
        line, suite = self.scored.line, self.scored.line.blueprint.suite
        if (
            not (line.components.localizer and line.components.labeler)
            or line.rng_seed != suite.seeds_of(line.recipe, line.source.name)[0]
        ):
            return ()
        ids = [photo_id for _, shard in self.scored.reported_shards() for photo_id in shard]
        chosen = set(spread(ids, suite.gallery))
        return tuple(photo for photo in line.source.photos if photo.id in chosen)

    def predictions(self) -> tuple[Ref, ...]:
        """The segmentation of the shards that hold these photos; none where nothing is segmented."""
        return self._predictions_of(self._shards()) if self.photos else ()

    @property
    def _last(self) -> str | None:
        """How far the declared options are followed."""
        return self.scored.line.blueprint.suite.policies.get("fixed")

    def _spread(self) -> Ref:
        dataset = self.scored.line.blueprint.dataset
        identity = {
            "photos": [photo.id for photo in self.photos],
            "dataset": dataset.identity(),
            "masks": self.scored.line.blueprint.mask_contents(tuple(photo.id for photo in self.photos)),
        }
        inputs = self._drawn(self._shards())
        return self._gallery(identity, inputs, self.photos, len(self.photos), "", "photos spread over")

    def _by_score(self) -> Ref:
        """Which photos these are is known when the pseudo labels are scored: the stage picks them by their counts."""
        source = self.scored.line.source
        reported = self.scored.reported_shards()
        ids = {photo_id for _, shard in reported for photo_id in shard}
        photos = [photo for photo in source.photos if photo.id in ids]
        count = min(self.scored.line.blueprint.suite.gallery, len(photos))
        shards = [shard for shard, _ in reported]
        inputs = {
            **self._drawn(shards),
            "scores": self.scored.scores("fixed"),
        }
        return self._gallery(
            {"count": count}, inputs, photos, count, "-by-score", "best, median and worst pseudo labels of"
        )

    def _predictions_of(self, shards: Sequence[int]) -> tuple[Ref, ...]:
        """The segmentation of whole shards, since the photos that are picked by score are not known yet."""
        line = self.scored.line
        if line.components.segmenter is None or self._last != "segmentation":
            return ()
        source = line.source
        return tuple(line.segment(source, source.shards[shard], [shard], None) for shard in shards)

    def _gallery(
        self,
        identity: Mapping[str, Any],
        inputs: Mapping[str, tuple[Ref, ...]],
        photos: Sequence[Photo],
        count: int,
        suffix: str,
        what: str,
    ) -> Ref:
        line = self.scored.line
        split = line.blueprint.reported.maps
        shown = {
            "name": f"{line.recipe}-{line.source.name}{suffix}",
            "title": f"{line.recipe} · {line.source.name} · {what} {split}",
            "split": split,
        }
        return line.blueprint.add(
            "gallery",
            {**identity, "version": VERSION},
            inputs=inputs,
            runtime={**line.source.of(photos), **shown},
            label=f"{line.recipe} · {line.source.name} · gallery{suffix.replace('-', ' ')}",
            group="pictures",
            photos=count,
        )

    def _drawn(self, shards: Sequence[int]) -> dict[str, tuple[Ref, ...]]:
        """What the columns show, by role."""
        line, predictions = self.scored.line, self._predictions_of(shards)
        refined = {"refined": tuple(line.final_maps(shard) for shard in shards)} if line.components.refiners else {}
        return {
            "maps": tuple(line.maps(shard) for shard in shards),
            **refined,
            "pseudo_labels": tuple(line.pseudo_labels(shard, None) for shard in shards),
            **({"masks": predictions} if predictions else {}),
        }

    def _shards(self) -> list[int]:
        return self.scored.line.source.shards_of(photo.id for photo in self.photos)


def spread(ids: Sequence[str], count: int) -> list[str]:
    """`count` ids (all, where there are fewer) at even distances."""
    count = min(count, len(ids))
    return [ids[index * len(ids) // count] for index in range(count)]
