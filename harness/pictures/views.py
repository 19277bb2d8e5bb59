"""The kinds of map that a localizer can show beside those it stores, computed on demand from weights and features."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from harness.stages.lines import Line
from harness.stages.weak_set import kept_of
from harness.stages.work import Context
from harness.store.store import Artefact
from methods.base import LocalizationMaps
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
    context = _context(line)
    found: dict[str, dict[str, LocalizationMaps]] = defaultdict(dict)
    for photo in photos:
        for name, maps in localizer.views(photo, weak, weights, bank, context).items():
            found[name][photo.id] = maps
    return dict(found)


def _context(line: Line) -> Any:
    """What a stage would hand over, on a CPU: ten photos are no work (Any: mypy wants a protocol's fields settable)."""
    return Context("cpu", "float32", line.rng_seed, Path(gettempdir()), lambda done, total, unit, values: None)
