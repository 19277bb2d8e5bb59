"""Suite → the graph of stages it needs. Two recipes with a common beginning share those stages, because keys agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.stages.blueprint import Blueprint
from harness.stages.diagnostics import Diagnostics
from harness.stages.gallery import Pictures
from harness.stages.graph import KINDS, Graph
from harness.stages.lines import Line, impossible
from harness.stages.plugins import with_plugins
from harness.stages.scored import Scored
from harness.store.layout import Ref
from harness.suites.recipes import RecipeComponents, Skipped, possible_recipes
from harness.suites.suite import Compute, Suite
from settings.errors import unknown_name

__all__ = ["Goal", "Plan", "make_plan"]


@dataclass(frozen=True)
class Goal:
    """All that running needs to know: stages, and which of them must exist in the end."""

    name: str
    """The suite's, for the log of the run."""
    graph: Graph
    targets: tuple[Ref, ...]


@dataclass(frozen=True)
class Plan(Goal):
    """All stages of a suite; its targets are what it is run for: rows, pictures, diagnostics, unscored masks."""

    suite: Suite
    rows: tuple[Ref, ...]
    pictures: tuple[Ref, ...]
    diagnostics: tuple[Ref, ...]
    unscored: Mapping[str, tuple[Ref, ...]]
    """Pseudo labels and predictions of a data set without true masks, by the name of the folder they are copied to."""
    notes: tuple[str, ...] = ()
    """What is to be known of the settings: photos, drops, classes without extra photos; and which lines are skipped."""


@with_plugins
def make_plan(suite: Suite) -> Plan:
    """Resolve names, check options and data, and lay out every stage; raises UserError for what a run would refuse."""
    _check_kinds(suite)
    blueprint = Blueprint(suite)
    rows: list[Ref] = []
    pictures: list[Ref] = []
    diagnostics: dict[Ref, None] = {}
    unscored: dict[str, tuple[Ref, ...]] = {}
    skipped = Skipped()
    parts = _with_masks_revealed(possible_recipes(suite, skipped), blueprint, skipped)
    for line in _lines(suite, blueprint, parts):
        if reason := impossible(line):
            skipped.add(line.recipe, reason, line.source.name)
            continue
        scored = Scored(line)
        rows += scored.rows()
        name = f"{line.recipe}-{line.source.name}-{line.rng_seed}"
        unscored |= {f"{what}-{name}": refs for what, refs in scored.unscored().items()}
        pictures += Pictures(scored).sheets()
        # Recipes with one localizer ask for one stage: it bears the name of the first.
        diagnostics |= dict.fromkeys(Diagnostics(line).stages())
    masks = [ref for refs in unscored.values() for ref in refs]
    return Plan(
        suite.name,
        blueprint.graph,
        (*rows, *pictures, *diagnostics, *masks),
        suite,
        tuple(rows),
        tuple(pictures),
        tuple(diagnostics),
        unscored,
        (*blueprint.notes(), *_training_notes(suite.compute), *skipped.notes()),
    )


def _check_kinds(suite: Suite) -> None:
    """Raise UserError where `resources:` names a kind of stage that there is not."""
    known = (*KINDS, "all")
    for kind in suite.resources:
        if kind not in known:
            raise unknown_name(suite.place_of("resources"), "kind of stage", kind, known)


def _training_notes(compute: Compute) -> tuple[str, ...]:
    """What is to be known of networks that several processes trained."""
    if compute.train_processes == 1:
        return ()
    norm = "over the whole batch" if compute.sync_batch_norm else "by each process for itself, unlike one process"
    return (f"each network is trained by {compute.train_processes} processes, batch norm {norm}",)


def _with_masks_revealed(
    parts: Mapping[str, RecipeComponents], blueprint: Blueprint, skipped: Skipped
) -> dict[str, RecipeComponents]:
    """The recipes less those that masks would have to be revealed to, where there are none."""
    dataset = blueprint.dataset
    if any(map(dataset.has_mask, dataset.training_ids)):
        return dict(parts)
    for name, each in parts.items():
        if each.reveal is not None:
            skipped.add(name, "no photo of train and dev has a true mask")
    return {name: each for name, each in parts.items() if each.reveal is None}


def _lines(suite: Suite, blueprint: Blueprint, parts: Mapping[str, RecipeComponents]) -> Iterator[Line]:
    """The recipes of every setting with every rng seed; what no setting changes stands under the first alone."""
    for position, (label, setting) in enumerate(suite.settings.items()):
        source = blueprint.source(label, setting)
        for name, each in parts.items():
            if not suite.stands_under(name, label) or (position > 0 and not each.follows_setting):
                continue
            for rng_seed in suite.seeds_of(name, label):
                yield Line(blueprint, source, name, each, rng_seed)
