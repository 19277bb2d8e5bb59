"""The kinds of column of a sheet that `seedbed show` draws: which artefacts each reads of a line, and what it draws.

A further kind of picture is a further entry of KINDS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from harness.drawing.cells import Column, maps_column, masks_column
from harness.pictures.views import views
from harness.stages.gallery import drawn_photos, drawn_predictions
from harness.stages.labels import plan_pseudo_labels
from harness.stages.line import Line
from harness.stages.localizer import plan_maps
from harness.stages.refiner import plan_refined
from harness.stages.segmenter import plan_predictions
from harness.stages.source import Source
from harness.stages.stored import StoredMasks, maps_of_photos
from harness.store.layout import MapFiles, MaskFiles, Ref, StageFiles
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
    needs: Callable[[Line, Subject], Mapping[str, Refs]]
    draw: Callable[[Line, Subject, Inputs], list[Column]]


SomeFiles = TypeVar("SomeFiles", bound=StageFiles)


def _files(artefacts: Sequence[Artefact], kind: type[SomeFiles]) -> list[SomeFiles]:
    return [kind(artefact.folder) for artefact in artefacts]


def _needs_maps(line: Line, subject: Subject) -> Mapping[str, Refs]:
    shards = subject.shards_in(line.source) if line.components.localizer else []
    return {"maps": tuple(plan_maps(line, shard) for shard in shards)} if shards else {}


def _draw_maps(line: Line, subject: Subject, inputs: Inputs) -> list[Column]:
    found = maps_of_photos(_files(inputs["maps"], MapFiles), subject.ids)
    return [maps_column(f"{line.recipe}\nlocalization maps", found.get, subject.class_id)]


def _needs_refined(line: Line, subject: Subject) -> Mapping[str, Refs]:
    """The maps after each refiner, a role a step."""
    shards = subject.shards_in(line.source) if line.components.refiners else []
    steps = range(1, len(line.components.refiners) + 1) if shards else ()
    return {str(step): tuple(plan_refined(line, shard, step) for shard in shards) for step in steps}


def _draw_refined(line: Line, subject: Subject, inputs: Inputs) -> list[Column]:
    names = line.components.refiner_names
    found = {step: maps_of_photos(_files(artefacts, MapFiles), subject.ids) for step, artefacts in inputs.items()}
    heads = {step: f"{line.recipe}\nafter {names[int(step) - 1]}" for step in found}
    return [maps_column(heads[step], by_id.get, subject.class_id) for step, by_id in found.items()]


def _needs_views(line: Line, subject: Subject) -> Mapping[str, Refs]:
    """What the maps were made of: weights and stored features; nothing for a localizer that has no other kinds."""
    localizer = line.components.localizer
    if localizer is None or type(localizer).views is Localizer.views:
        return {}
    graph = line.blueprint.graph
    stages = [graph[ref] for ref in _needs_maps(line, subject).get("maps", ())]
    roles = {role for stage in stages for role in stage.inputs}
    return {role: tuple(dict.fromkeys(ref for s in stages for ref in s.inputs.get(role, ()))) for role in roles}


def _draw_views(line: Line, subject: Subject, inputs: Inputs) -> list[Column]:
    found = views(line, subject.photos, inputs)
    recipe = line.recipe
    return [maps_column(f"{recipe}\n{name}", by_id.get, subject.class_id) for name, by_id in found.items()]


def _needs_pseudo_labels(line: Line, subject: Subject) -> Mapping[str, Refs]:
    shards = subject.shards_in(line.source) if line.components.labeler else []
    return {"masks": tuple(plan_pseudo_labels(line, shard) for shard in shards)} if shards else {}


def _needs_prediction(line: Line, subject: Subject) -> Mapping[str, Refs]:
    """Predictions of the split that reports segmentation, else those that the gallery asked for."""
    val = line.blueprint.val
    if line.components.segmenter is None or line.blueprint.suite.policies.get("fixed") != "segmentation":
        return {}
    if subject.split == val.name:
        shards = subject.shards_in(val)
        return {"masks": plan_predictions(line, val, shards)}
    drawn = drawn_predictions(line) if subject.ids <= {photo.id for photo in drawn_photos(line)} else ()
    return {"masks": drawn} if drawn else {}


def _draw_pseudo_labels(line: Line, subject: Subject, inputs: Inputs) -> list[Column]:
    return [masks_column(f"{line.recipe}\npseudo label", StoredMasks(_files(inputs["masks"], MaskFiles)).mask)]


def _draw_prediction(line: Line, subject: Subject, inputs: Inputs) -> list[Column]:
    return [masks_column(f"{line.recipe}\nprediction", StoredMasks(_files(inputs["masks"], MaskFiles)).mask)]


KINDS: Mapping[str, Kind] = {
    "maps": Kind("localization maps", _needs_maps, _draw_maps),
    "refined": Kind("refined maps", _needs_refined, _draw_refined),
    "views": Kind("kinds of map", _needs_views, _draw_views),
    "pseudo_labels": Kind("pseudo labels", _needs_pseudo_labels, _draw_pseudo_labels),
    "prediction": Kind("predictions", _needs_prediction, _draw_prediction),
}
