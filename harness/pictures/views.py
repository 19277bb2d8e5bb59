"""The kinds of map that a localizer can show beside those it stores, computed on demand from weights and features."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from harness.stages.line import Line
from harness.stages.weak_set import weak_set_of
from harness.stages.work import weights_in
from harness.store.layout import FeatureFiles, FitFiles, WeakSetFiles
from harness.store.store import Artefact
from methods.base import LocalizationMaps, Surroundings
from settings.records import Photo


def views(
    line: Line, photos: Sequence[Photo], inputs: Mapping[str, Sequence[Artefact]]
) -> dict[str, dict[str, LocalizationMaps]]:
    """Maps by their name and photo id, in the order the localizer names them; empty where it offers none.

    `inputs` are the weights and the stored features that the maps of these photos were made of.
    """
    from methods.features import StoredFeatures

    localizer, offer = line.components.localizer, line.source.offer
    assert localizer is not None and offer is not None
    weak = weak_set_of(offer, [WeakSetFiles(artefact.folder) for artefact in inputs.get("weak_set", ())])
    weights = weights_in(FitFiles(artefact.folder) for artefact in inputs.get("weights", ()))
    bank = StoredFeatures([FeatureFiles(artefact.folder).features for artefact in inputs.get("features", ())])
    # On a CPU, whatever the stages ran on: ten photos are no work.
    surroundings = Surroundings(
        weak.label_space, line.blueprint.suite.backbone, weights, bank, weak, rng_seed=line.rng_seed
    )
    found: dict[str, dict[str, LocalizationMaps]] = defaultdict(dict)
    for photo in photos:
        for name, maps in localizer.views(photo, surroundings).items():
            found[name][photo.id] = maps
    return dict(found)
