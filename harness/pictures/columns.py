"""The kinds of column of a sheet that `seedbed show` draws: which artefacts each reads of a line, and what it draws.

A further kind of picture is a further entry of KINDS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from harness.drawing.sheet import Column, maps_column, masks_column, saliency_column
from harness.stages.cue import plan_maps_of_cue
from harness.stages.gallery import drawn_photos, drawn_predictions
from harness.stages.labels import plan_pseudo_labels
from harness.stages.line import Line
from harness.stages.localizer import plan_maps
from harness.stages.refiner import plan_refined
from harness.stages.scoring import plan_main_choice
from harness.stages.segmenter import plan_predictions
from harness.stages.source import Source
from harness.stages.stored import StoredMasks, maps_of_photos
from harness.stages.weak_set import weak_set_of
from harness.stages.work import weights_in
from harness.store.layout import FeatureFiles, FitFiles, MapFiles, MaskFiles, Ref, StageFiles, WeakSetFiles
from harness.store.store import Artefact
from methods.base import LocalizationMaps, Localizer, NamedCue, Refiner, Surroundings
from settings.records import Photo

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
        """The ids of the photos on the sheet, without an order."""
        return frozenset(photo.id for photo in self.photos)

    def shards_in(self, source: Source) -> list[int]:
        """The shards of a source that hold the photos; none where the source lacks one of them."""
        # A sheet shows all of its photos in each column, or has no such column.
        if not all(photo_id in source for photo_id in self.ids):
            return []
        return source.shards_of(self.ids)


class Kind(NamedTuple):
    """A kind of column: its name for messages, what it reads of a line, and the columns that show what was read."""

    what: str
    needs: Callable[[Line, Subject], Needs]
    draw: Callable[[Line, Subject, Inputs], list[Column]]


SomeFiles = TypeVar("SomeFiles", bound=StageFiles)


def _files(inputs: Inputs, role: str, kind: type[SomeFiles]) -> list[SomeFiles]:
    """The files of the artefacts of a role; none where nothing has it."""
    return [kind(artefact.folder) for artefact in inputs.get(role, ())]


def _needs_maps(line: Line, subject: Subject) -> Needs:
    shards = subject.shards_in(line.source)
    if line.components.localizer is None or not shards:
        return {}
    return {"maps": tuple(plan_maps(line, shard) for shard in shards)}


def _draw_maps(line: Line, subject: Subject, inputs: Inputs) -> list[Column]:
    found = maps_of_photos(_files(inputs, "maps", MapFiles), subject.ids)
    return [maps_column(f"{line.recipe}\nlocalization maps", found.get, subject.class_id)]


def _needs_refined(line: Line, subject: Subject) -> Needs:
    """The maps after each refiner, under the number of its step as role."""
    shards = subject.shards_in(line.source)
    needs: dict[str, tuple[Ref, ...]] = {}
    if shards:
        for step in range(1, len(line.components.refiners) + 1):
            needs[str(step)] = tuple(plan_refined(line, shard, step) for shard in shards)
    return needs


def _draw_refined(line: Line, subject: Subject, inputs: Inputs) -> list[Column]:
    names = line.components.refiner_names
    columns = []
    for step in inputs:
        found = maps_of_photos(_files(inputs, step, MapFiles), subject.ids)
        head = f"{line.recipe}\nafter {names[int(step) - 1]}"
        columns.append(maps_column(head, found.get, subject.class_id))
    return columns


def _needs_views(line: Line, subject: Subject) -> Needs:
    """What the maps were made of: weights and stored features; nothing for a localizer without further kinds of map."""
    localizer = line.components.localizer
    # The base class has none to show; only who overrides it is worth reading features for.
    if localizer is None or type(localizer).views is Localizer.views:
        return {}
    # As keys: shards share the weights, which are to be opened once.
    needs: dict[str, dict[Ref, None]] = {}
    for ref in _needs_maps(line, subject).get("maps", ()):
        for role, refs in line.blueprint.graph[ref].inputs.items():
            needs.setdefault(role, {}).update(dict.fromkeys(refs))
    return {role: tuple(refs) for role, refs in needs.items()}


def _draw_views(line: Line, subject: Subject, inputs: Inputs) -> list[Column]:
    """The localizer's further kinds of map, made on demand from the weights and features of the stored ones."""
    from methods.features import StoredFeatures

    localizer, offer = line.components.localizer, line.source.offer
    assert localizer is not None and offer is not None
    weak = weak_set_of(offer, _files(inputs, "weak_set", WeakSetFiles))
    weights = weights_in(_files(inputs, "weights", FitFiles))
    bank = StoredFeatures([files.features for files in _files(inputs, "features", FeatureFiles)])
    # On a CPU, whatever the stages ran on: ten photos are no work.
    surroundings = Surroundings(
        weak.label_space, line.blueprint.suite.backbone, weights, bank, weak, rng_seed=line.rng_seed
    )
    found: dict[str, dict[str, LocalizationMaps]] = {}
    for photo in subject.photos:
        for name, maps in localizer.views(photo, surroundings).items():
            found.setdefault(name, {})[photo.id] = maps
    columns = []
    for name, by_id in found.items():
        columns.append(maps_column(f"{line.recipe}\n{name}", by_id.get, subject.class_id))
    return columns


def _needs_inner(line: Line, subject: Subject) -> Needs:
    """What each refiner with inner maps of its own reads, under the number of its step and the role."""
    shards, needs = subject.shards_in(line.source), dict[str, dict[Ref, None]]()
    for step, refiner in enumerate(line.components.refiners, 1):
        if not shards or type(refiner).views is Refiner.views:
            continue
        for shard in shards:
            for role, refs in line.blueprint.graph[plan_refined(line, shard, step)].inputs.items():
                needs.setdefault(f"{step} {role}", {}).update(dict.fromkeys(refs))
    return {role: tuple(refs) for role, refs in needs.items()}


def _draw_inner(line: Line, subject: Subject, inputs: Inputs) -> list[Column]:
    """The refiners' inner maps, made on demand from the maps that they refine, their weights and stored features."""
    from methods.features import StoredFeatures

    columns = []
    for step in sorted({int(role.partition(" ")[0]) for role in inputs}):
        refiner, name = line.components.refiners[step - 1], line.components.refiner_names[step - 1]
        known = maps_of_photos(_files(inputs, f"{step} maps", MapFiles), subject.ids)
        surroundings = Surroundings(
            line.blueprint.dataset.label_space,
            line.blueprint.suite.backbone,
            weights_in(_files(inputs, f"{step} weights", FitFiles)),
            StoredFeatures([files.features for files in _files(inputs, f"{step} features", FeatureFiles)]),
        )
        found: dict[str, dict[str, LocalizationMaps]] = {}
        for photo in subject.photos:
            # A photo without a class has no map to show.
            if photo.id in known and known[photo.id].class_ids:
                for view, maps in refiner.views(photo, known[photo.id], surroundings).items():
                    found.setdefault(view, {})[photo.id] = maps
        for view, by_id in found.items():
            columns.append(maps_column(f"{line.recipe}\n{name}: {view}", by_id.get, subject.class_id))
    return columns


def _cues_of(line: Line) -> list[NamedCue]:
    """The cues that the recipe's cue fuses, if it does, and that cue itself, last."""
    cue = line.components.cue
    if cue is None:
        return []
    return [*cue.parts, NamedCue(line.components.names["cue"], cue)]


def _needs_cue(line: Line, subject: Subject) -> Needs:
    """Saliency maps, those of each cue under its place as role: what is fused has a column too."""
    shards = subject.shards_in(line.source)
    needs: dict[str, tuple[Ref, ...]] = {}
    if shards:
        for number, named in enumerate(_cues_of(line)):
            needs[str(number)] = tuple(plan_maps_of_cue(line, named, shard) for shard in shards)
    return needs


def _draw_cue(line: Line, subject: Subject, inputs: Inputs) -> list[Column]:
    columns = []
    for number, named in enumerate(_cues_of(line)):
        found = StoredMasks(_files(inputs, str(number), MaskFiles))
        columns.append(saliency_column(f"{line.recipe}\ncue {named.name}", found.saliency))
    return columns


def _needs_pseudo_labels(line: Line, subject: Subject) -> Needs:
    shards = subject.shards_in(line.source)
    if line.components.labeler is None or not shards:
        return {}
    choice = plan_main_choice(line)
    return {"masks": tuple(plan_pseudo_labels(line, shard, choice) for shard in shards)}


def _draw_pseudo_labels(line: Line, subject: Subject, inputs: Inputs) -> list[Column]:
    return [masks_column(f"{line.recipe}\npseudo label", StoredMasks(_files(inputs, "masks", MaskFiles)).mask)]


def _needs_prediction(line: Line, subject: Subject) -> Needs:
    """Predictions of the split that reports segmentation, else those that the gallery asked for."""
    val = line.blueprint.val
    if line.components.segmenter is None or line.last_step != "segmentation":
        return {}
    if subject.split == val.name:
        shards = subject.shards_in(val)
        return {"masks": plan_predictions(line, val, shards, plan_main_choice(line))}
    # A run segments train and dev for its gallery alone.
    if not subject.ids <= {photo.id for photo in drawn_photos(line)}:
        return {}
    drawn = drawn_predictions(line)
    if not drawn:
        return {}
    return {"masks": drawn}


def _draw_prediction(line: Line, subject: Subject, inputs: Inputs) -> list[Column]:
    return [masks_column(f"{line.recipe}\nprediction", StoredMasks(_files(inputs, "masks", MaskFiles)).mask)]


KINDS: Mapping[str, Kind] = {
    "maps": Kind("localization maps", _needs_maps, _draw_maps),
    "refined": Kind("refined maps", _needs_refined, _draw_refined),
    "views": Kind("kinds of map", _needs_views, _draw_views),
    "inner": Kind("inner maps of a refiner", _needs_inner, _draw_inner),
    "cue": Kind("saliency", _needs_cue, _draw_cue),
    "pseudo_labels": Kind("pseudo labels", _needs_pseudo_labels, _draw_pseudo_labels),
    "prediction": Kind("predictions", _needs_prediction, _draw_prediction),
}
