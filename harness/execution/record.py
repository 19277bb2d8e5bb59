"""What a store keeps of a stage that ended: beside its files, of what and how it was made; else, why it failed."""

from __future__ import annotations

from collections.abc import Sequence

from harness.stages.graph import Stage
from harness.stages.plugins import DATA, named_components, plugins_of
from harness.stages.provenance import modules_imported_by, sources_of
from harness.stages.work import Work
from settings.discovery import Registry
from settings.plugins import plugged_in

__all__ = ["failure_of", "record_of", "source_modules"]

SOURCES_OF_KIND = {
    "features": "methods.features",
    "sweep": "results.metrics.sweep",
    "score": "results.metrics.counts",
    "select": "results.selection",
    "row": "results.metrics.miou",
    "examine_cue": "results.metrics.foreground",
    "gallery": "harness.drawing.sheet",
    "reveal": "harness.stages.revealing",
}
"""The module that computes a kind of stage which no component stands for."""


def record_of(work: Work, seconds: float, peak_memory_bytes: int) -> dict[str, object]:
    """What the record of a published stage tells beside its files; `seconds` are this stage's share of its job."""
    stage = work.stage
    return {
        "label": stage.label,
        "group": stage.group,
        "identity": stage.identity,
        "inputs": [list(ref) for ref in dict.fromkeys(stage.needs())],
        "seconds": round(seconds, 4),
        "photos": stage.photos,
        "device": work.context.device,
        "peak_memory_bytes": peak_memory_bytes,
        "sources": {name: sources_of(name) for name in source_modules(stage)},
    }


def failure_of(stage: Stage, reason: str, trace: str) -> dict[str, object]:
    """What `seedbed logs` tells of a failed stage, with all that is needed to run it again."""
    return {"label": stage.label, "reason": reason, "traceback": trace, "stage": stage.to_json()}


def source_modules(stage: Stage) -> list[str]:
    """The modules whose sources make a stage's artefact: its component's, or the one that computes its kind.

    A plug-in's own text is in the key; here stand the modules of ours that it imports.
    """
    if stage.kind in SOURCES_OF_KIND:
        return [SOURCES_OF_KIND[stage.kind]]
    named = named_components(stage)
    makers = [named["component"]] if "component" in named else [named[role] for role in DATA]
    modules: set[str] = set()
    with plugged_in(plugins_of([stage])):
        for registry, name in makers:
            modules.update(_modules(registry, name))
    return sorted(modules)


def _modules(registry: Registry, name: str) -> Sequence[str]:
    plugin = registry.plugin(name)
    return modules_imported_by(plugin.tree) if plugin else [registry.module_of(name)]
