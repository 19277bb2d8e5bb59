"""Suite → the graph of stages it needs. Two recipes with a common beginning share those stages, because keys agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.blueprint import Blueprint
from harness.diagnostics import Diagnostics
from harness.graph import Ref, Stage
from harness.lines import Line
from harness.parts import parts_of
from harness.pictures import Pictures
from harness.plugins import with_plugins
from harness.scored import Scored
from harness.suite import Suite


@dataclass(frozen=True)
class Plan:
    """All stages of a suite, and those it is run for: its rows, pictures and diagnostics."""

    suite: Suite
    graph: Mapping[Ref, Stage]
    rows: tuple[Ref, ...]
    pictures: tuple[Ref, ...]
    diagnostics: tuple[Ref, ...]
    unscored: Mapping[str, tuple[Ref, ...]]
    """Pseudo labels and predictions of a data set without true masks, by the name of the folder they are copied to."""

    @property
    def targets(self) -> tuple[Ref, ...]:
        """What must exist in the end."""
        unscored = (ref for refs in self.unscored.values() for ref in refs)
        return (*self.rows, *self.pictures, *self.diagnostics, *unscored)


@with_plugins
def make_plan(suite: Suite) -> Plan:
    """Resolve names, check options and data, and lay out every stage; raises UserError for what a run would refuse."""
    blueprint = Blueprint(suite)
    rows: list[Ref] = []
    pictures: list[Ref] = []
    diagnostics: dict[Ref, None] = {}
    unscored: dict[str, tuple[Ref, ...]] = {}
    for setting in suite.settings:
        for name, recipe in suite.all_recipes().items():
            parts = parts_of(name, recipe, suite)
            if parts.reveal is not None and not any(map(blueprint.dataset.has_mask, blueprint.dataset.training_ids)):
                continue  # photos without masks have no ceiling
            # A ceiling is never ranked: one rng seed shows where it lies.
            for rng_seed in suite.rng_seeds[:1] if parts.reveal is not None else suite.rng_seeds:
                line = Line(blueprint, blueprint.source(setting), name, parts, rng_seed)
                scored = Scored(line)
                rows += scored.rows()
                unscored |= {f"{what}-{name}-{setting.name}-{rng_seed}": r for what, r in scored.unscored().items()}
                pictures += Pictures(scored).sheets()
                # Recipes with one localizer ask for one stage: it bears the name of the first.
                diagnostics |= dict.fromkeys(Diagnostics(line).stages())
    return Plan(suite, blueprint.graph, tuple(rows), tuple(pictures), tuple(diagnostics), unscored)
