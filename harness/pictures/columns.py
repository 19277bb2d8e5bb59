"""The kinds of column of a sheet that `seedbed show` draws: which artefacts each reads of a line, and what it draws.

A further kind of picture is a further entry of KINDS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from harness.drawing.cells import Column, maps_column, masks_column, stored_maps
from harness.pictures.views import views
from harness.stages.gallery import Pictures
from harness.stages.scored import Scored
from harness.stages.source import Source
from harness.stages.stored import MaskFolders
from harness.store.layout import Ref
from harness.store.store import Artefact
from methods.base import Localizer
from settings.records import Photo

Refs = tuple[Ref, ...]
Inputs = Mapping[str, Sequence[Artefact]]


@dataclass(frozen=True)
class Subject:
    """The photos of a sheet, all of one split; `class_id` is the class whose map is shown, None for the strongest."""

    split: str
    photos: tuple[Photo, ...]
    class_id: int | None

    @property
    def ids(self) -> frozenset[str]:
        """Of the photos."""
        return frozenset(photo.id for photo in self.photos)

    def shards_in(self, source: Source) -> list[int]:
        """The shards of a source that hold the photos; none where one of them is not in it."""
        return source.shards_of(self.ids) if all(photo_id in source for photo_id in self.ids) else []


class Kind(NamedTuple):
    """A kind of column: what is read, by role (empty where no run makes it), and the columns that show it."""

    what: str
    needs: Callable[[Scored, Subject], Mapping[str, Refs]]
    draw: Callable[[Scored, Subject, Inputs], list[Column]]


def _needs_maps(scored: Scored, subject: Subject) -> Mapping[str, Refs]:
    line = scored.line
    shards = subject.shards_in(line.source) if line.components.localizer else []
    return {"maps": tuple(line.maps(shard) for shard in shards)} if shards else {}


def _draw_maps(scored: Scored, subject: Subject, inputs: Inputs) -> list[Column]:
    found = stored_maps(inputs["maps"], subject.ids)
    return [maps_column(f"{scored.line.recipe}\nlocalization maps", found.get, subject.class_id)]


def _needs_refined(scored: Scored, subject: Subject) -> Mapping[str, Refs]:
    """The maps after each refiner, a role a step."""
    line = scored.line
    shards = subject.shards_in(line.source) if line.components.refiners else []
    steps = range(1, len(line.components.refiners) + 1) if shards else ()
    return {str(step): tuple(line.refined(shard, step) for shard in shards) for step in steps}


def _draw_refined(scored: Scored, subject: Subject, inputs: Inputs) -> list[Column]:
    names = scored.line.components.refiner_names
    found = {step: stored_maps(artefacts, subject.ids) for step, artefacts in inputs.items()}
    heads = {step: f"{scored.line.recipe}\nafter {names[int(step) - 1]}" for step in found}
    return [maps_column(heads[step], by_id.get, subject.class_id) for step, by_id in found.items()]


def _needs_views(scored: Scored, subject: Subject) -> Mapping[str, Refs]:
    """What the maps were made of: weights and stored features; nothing for a localizer that has no other kinds."""
    localizer = scored.line.components.localizer
    if localizer is None or type(localizer).views is Localizer.views:
        return {}
    graph = scored.line.blueprint.graph
    stages = [graph[ref] for ref in _needs_maps(scored, subject).get("maps", ())]
    roles = {role for stage in stages for role in stage.inputs}
    return {role: tuple(dict.fromkeys(ref for s in stages for ref in s.inputs.get(role, ()))) for role in roles}


def _draw_views(scored: Scored, subject: Subject, inputs: Inputs) -> list[Column]:
    found = views(scored.line, subject.photos, inputs)
    recipe = scored.line.recipe
    return [maps_column(f"{recipe}\n{name}", by_id.get, subject.class_id) for name, by_id in found.items()]


def _needs_pseudo_labels(scored: Scored, subject: Subject) -> Mapping[str, Refs]:
    line = scored.line
    shards = subject.shards_in(line.source) if line.components.labeler else []
    return {"masks": tuple(line.pseudo_labels(shard, None) for shard in shards)} if shards else {}


def _needs_prediction(scored: Scored, subject: Subject) -> Mapping[str, Refs]:
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


def _draw_pseudo_labels(scored: Scored, subject: Subject, inputs: Inputs) -> list[Column]:
    return [masks_column(f"{scored.line.recipe}\npseudo label", MaskFolders(inputs["masks"]).read)]


def _draw_prediction(scored: Scored, subject: Subject, inputs: Inputs) -> list[Column]:
    return [masks_column(f"{scored.line.recipe}\nprediction", MaskFolders(inputs["masks"]).read)]


KINDS: Mapping[str, Kind] = {
    "maps": Kind("localization maps", _needs_maps, _draw_maps),
    "refined": Kind("refined maps", _needs_refined, _draw_refined),
    "views": Kind("kinds of map", _needs_views, _draw_views),
    "pseudo_labels": Kind("pseudo labels", _needs_pseudo_labels, _draw_pseudo_labels),
    "prediction": Kind("predictions", _needs_prediction, _draw_prediction),
}
