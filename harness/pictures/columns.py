"""The kinds of column of a sheet that `seedbed show` draws: which artefacts each reads of a line, and what it draws.

A further kind of picture is a further entry of KINDS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, NamedTuple

from harness.drawing.sheet import Column, maps_column, masks_column
from harness.stages.gallery import Pictures
from harness.stages.scored import Scored
from harness.stages.source import Source
from harness.stages.stored import MaskFolders, stored_maps
from harness.stages.weak_set import kept_of
from harness.stages.work import Context
from harness.store.layout import Ref
from harness.store.store import Artefact
from methods.base import LocalizationMaps, Localizer
from settings.records import Photo

if TYPE_CHECKING:
    import torch

__all__ = ["KINDS", "Inputs", "Kind", "Needs", "Subject"]

Needs = Mapping[str, tuple[Ref, ...]]
"""What a column reads, by role; empty where no run makes it."""
Inputs = Mapping[str, Sequence[Artefact]]
"""The opened artefacts of a column's needs."""


@dataclass(frozen=True)
class Subject:
    """The photos of a sheet, all of one split; `class_id` is the class whose map is shown, None for the strongest."""

    split: str
    photos: tuple[Photo, ...]
    class_id: int | None

    @property
    def ids(self) -> frozenset[str]:
        """The photos' ids."""
        return frozenset(photo.id for photo in self.photos)

    def shards_in(self, source: Source) -> list[int]:
        """The shards of a source that hold the photos; none where the source lacks one of them."""
        return source.shards_of(self.ids) if all(photo_id in source for photo_id in self.ids) else []


class Kind(NamedTuple):
    """A kind of column: its name for messages, what it reads of a line, and the columns that show what was read."""

    what: str
    needs: Callable[[Scored, Subject], Needs]
    draw: Callable[[Scored, Subject, Inputs], list[Column]]


def _needs_maps(scored: Scored, subject: Subject) -> Needs:
    line = scored.line
    shards = subject.shards_in(line.source)
    if line.components.localizer is None or not shards:
        return {}
    return {"maps": tuple(line.maps(shard) for shard in shards)}


def _draw_maps(scored: Scored, subject: Subject, inputs: Inputs) -> list[Column]:
    found = stored_maps(inputs["maps"], subject.ids)
    return [maps_column(f"{scored.line.recipe}\nlocalization maps", found.get, subject.class_id)]


def _needs_refined(scored: Scored, subject: Subject) -> Needs:
    """The maps after each refiner, under the number of its step as role."""
    line = scored.line
    shards = subject.shards_in(line.source)
    needs: dict[str, tuple[Ref, ...]] = {}
    if shards:
        for step in range(1, len(line.components.refiners) + 1):
            needs[str(step)] = tuple(line.refined(shard, step) for shard in shards)
    return needs


def _draw_refined(scored: Scored, subject: Subject, inputs: Inputs) -> list[Column]:
    names = scored.line.components.refiner_names
    columns = []
    for step, artefacts in inputs.items():
        found = stored_maps(artefacts, subject.ids)
        head = f"{scored.line.recipe}\nafter {names[int(step) - 1]}"
        columns.append(maps_column(head, found.get, subject.class_id))
    return columns


def _needs_views(scored: Scored, subject: Subject) -> Needs:
    """What the maps were made of: weights and stored features; nothing for a localizer without further kinds of map."""
    localizer = scored.line.components.localizer
    if localizer is None or type(localizer).views is Localizer.views:
        return {}
    needs: dict[str, dict[Ref, None]] = {}
    for ref in _needs_maps(scored, subject).get("maps", ()):
        for role, refs in scored.line.blueprint.graph[ref].inputs.items():
            needs.setdefault(role, {}).update(dict.fromkeys(refs))
    return {role: tuple(refs) for role, refs in needs.items()}


def _draw_views(scored: Scored, subject: Subject, inputs: Inputs) -> list[Column]:
    """The localizer's further kinds of map, made on demand from the weights and features of the stored ones."""
    from safetensors.torch import load_file

    from methods.features import StoredFeatures

    line = scored.line
    localizer, offer = line.components.localizer, line.source.offer
    assert localizer is not None and offer is not None
    weak = offer.weak
    for artefact in inputs.get("weak_set", ()):
        weak = kept_of(weak, artefact)
    weights: dict[str, torch.Tensor] = {}
    for fit in inputs.get("weights", ()):
        weights |= load_file(fit.path("weights.safetensors"))
    bank = StoredFeatures([artefact.path("features.safetensors") for artefact in inputs.get("features", ())])
    # On a CPU, whatever the stages ran on: ten photos are no work.
    context = Context("cpu", "float32", line.rng_seed, Path(gettempdir()), lambda done, total, unit, values: None)
    found: dict[str, dict[str, LocalizationMaps]] = {}
    for photo in subject.photos:
        views = localizer.views(photo, weak, weights, bank, context)  # type: ignore[arg-type]  # a frozen protocol
        for name, maps in views.items():
            found.setdefault(name, {})[photo.id] = maps
    return [maps_column(f"{line.recipe}\n{name}", by_id.get, subject.class_id) for name, by_id in found.items()]


def _needs_pseudo_labels(scored: Scored, subject: Subject) -> Needs:
    line = scored.line
    shards = subject.shards_in(line.source)
    if line.components.labeler is None or not shards:
        return {}
    return {"masks": tuple(line.pseudo_labels(shard, None) for shard in shards)}


def _draw_pseudo_labels(scored: Scored, subject: Subject, inputs: Inputs) -> list[Column]:
    return [masks_column(f"{scored.line.recipe}\npseudo label", MaskFolders(inputs["masks"]).read)]


def _needs_prediction(scored: Scored, subject: Subject) -> Needs:
    """Predictions of the split that reports segmentation, else those that the gallery asked for."""
    line = scored.line
    val = line.blueprint.val
    if line.components.segmenter is None or line.blueprint.suite.policies.get("fixed") != "segmentation":
        return {}
    if subject.split == val.name:
        shards = subject.shards_in(val)
        return {"masks": tuple(line.segment(val, val.shards[shard], [shard], None) for shard in shards)}
    pictures = Pictures(scored)
    drawn = pictures.predictions() if subject.ids <= {photo.id for photo in pictures.photos} else ()
    return {"masks": drawn} if drawn else {}


def _draw_prediction(scored: Scored, subject: Subject, inputs: Inputs) -> list[Column]:
    return [masks_column(f"{scored.line.recipe}\nprediction", MaskFolders(inputs["masks"]).read)]


KINDS: Mapping[str, Kind] = {
    "maps": Kind("localization maps", _needs_maps, _draw_maps),
    "refined": Kind("refined maps", _needs_refined, _draw_refined),
    "views": Kind("kinds of map", _needs_views, _draw_views),
    "pseudo_labels": Kind("pseudo labels", _needs_pseudo_labels, _draw_pseudo_labels),
    "prediction": Kind("predictions", _needs_prediction, _draw_prediction),
}
