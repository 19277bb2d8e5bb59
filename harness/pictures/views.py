"""The kinds of map that a localizer can show beside those it stores, computed on demand from weights and features."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from harness.stages.lines import Line
from harness.stages.weak_set import kept_of
from harness.store.store import Artefact
from methods.base import LocalizationMaps, Surroundings
from settings.records import Photo


def views(
    line: Line, photos: Sequence[Photo], inputs: Mapping[str, Sequence[Artefact]]
) -> dict[str, dict[str, LocalizationMaps]]:
    """Maps by their name and photo id, in the order the localizer names them; empty where it offers none.

    `inputs` are the weights and the stored features that the maps of these photos were made of.
    """
    from safetensors.torch import load_file

    from methods.features import StoredFeatures

    localizer, offer = line.components.localizer, line.source.offer
    assert localizer is not None and offer is not None
    weak = offer.weak
    for artefact in inputs.get("weak_set", ()):
        weak = kept_of(weak, artefact)
    weights = {
        name: t for fit in inputs.get("weights", ()) for name, t in load_file(fit.path("weights.safetensors")).items()
    }
    bank = StoredFeatures([artefact.path("features.safetensors") for artefact in inputs.get("features", ())])
    # On a CPU, whatever the stages ran on: ten photos are no work.
    surroundings = Surroundings(
        weak.label_space, line.blueprint.suite.backbone, weights, bank, weak, rng_seed=line.rng_seed
    )
    found: dict[str, dict[str, LocalizationMaps]] = defaultdict(dict)
    for photo in photos:
        for name, maps in localizer.views(photo, surroundings).items():
            found[name][photo.id] = maps
    return dict(found)
