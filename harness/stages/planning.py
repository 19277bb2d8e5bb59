"""Suite → the graph of stages it needs. Two recipes with a common beginning share those stages, because keys agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from harness.stages.blueprint import Blueprint
from harness.stages.cue import impossible
from harness.stages.file_names import FileNames
from harness.stages.gallery import plan_sheets
from harness.stages.graph import Graph
from harness.stages.kind import kinds
from harness.stages.line import Line
from harness.stages.measures import plan_diagnostics
from harness.stages.numerics import has_compiled_loops, resolve_device
from harness.stages.plugins import with_plugins
from harness.stages.rows import plan_rows, plan_unscored
from harness.store.layout import Ref
from harness.suites.recipes import RecipeComponents, Skipped, possible_recipes
from harness.suites.suite import Compute, Suite
from results.plausibility import ADD_NEGATIVES, describe_never_absent, never_absent
from results.selection import is_held_out
from settings.errors import UserError, unknown_name

__all__ = ["Plan", "make_plan"]


@dataclass(frozen=True)
class Plan:
    """Stages of a suite, and which of them must exist in the end.

    The targets of a whole suite are its rows, pictures, diagnostics and whatever else it asks for; an audit asks for
    keep-lists alone, and has none of these.
    """

    suite: Suite
    graph: Graph
    """All stages, each after its inputs; those that no target needs are not run."""
    targets: tuple[Ref, ...]
    rows: tuple[Ref, ...] = ()
    pictures: tuple[Ref, ...] = ()
    diagnostics: tuple[Ref, ...] = ()
    unscored: Mapping[str, tuple[Ref, ...]] = field(default_factory=dict)
    """Pseudo labels and predictions of a data set without true masks, by the name of the folder they are copied to."""
    notes: tuple[str, ...] = ()
    """What is to be known of the settings: photos, drops, classes without extra photos; and which lines are skipped."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """The recipes that stand under no setting, each with the reason."""


@with_plugins
def make_plan(suite: Suite) -> Plan:
    """Resolve names, check options and data, and lay out every stage; raises UserError for what a run would refuse."""
    _check_resources(suite)
    names = FileNames(suite)
    blueprint = Blueprint(suite)
    rows: list[Ref] = []
    pictures: list[Ref] = []
    unscored: dict[str, tuple[Ref, ...]] = {}
    # Several lines may ask for one stage: each is wanted once.
    diagnostics: dict[Ref, None] = {}
    # Likewise of a setting, whatever recipes stand under it.
    unlearnable: dict[str, None] = {}
    # What kinds of stage ask for by their own `targets`.
    others: dict[Ref, None] = {}
    skipped = Skipped()
    recipes = _with_masks_revealed(possible_recipes(suite, skipped), blueprint, skipped)
    for line in _lines(suite, blueprint, recipes):
        if reason := impossible(line):
            # One setting's trouble: under the others the recipe has its rows.
            skipped.add(line.recipe, reason, line.source.name)
            continue
        unlearnable |= dict.fromkeys(_unlearnable(line))
        rows += plan_rows(line)
        for what, refs in plan_unscored(line).items():
            name = f"{what}-{line.recipe}-{line.source.name}-{line.rng_seed}"
            names.add(name, line.recipe, line.label(what))
            unscored[name] = refs
        for ref in plan_sheets(line):
            names.add_sheets(line.recipe, blueprint.graph[ref])
            pictures.append(ref)
        diagnostics |= dict.fromkeys(plan_diagnostics(line))
        for kind in kinds().values():
            others |= dict.fromkeys(kind.targets(line))
    notes = (
        *blueprint.notes(),
        *unlearnable,
        *_threshold_notes(blueprint, recipes),
        *_training_notes(suite.compute),
        *skipped.notes(),
    )
    targets = [*rows, *pictures, *diagnostics]
    for refs in unscored.values():
        targets += refs
    targets += others
    return Plan(
        suite,
        blueprint.graph,
        tuple(targets),
        tuple(rows),
        tuple(pictures),
        tuple(diagnostics),
        unscored,
        notes,
        skipped.reasons(),
    )


def _check_resources(suite: Suite) -> None:
    """Raise UserError where `resources:` names an unknown kind of stage, with the nearest known one."""
    # Here and not where suites are read: suites know no stages.
    known = (*kinds(), "all")
    for name in suite.resources:
        if name not in known:
            raise unknown_name(suite.place_of("resources"), "kind of stage", name, known)


def _threshold_notes(blueprint: Blueprint, recipes: Mapping[str, RecipeComponents]) -> list[str]:
    """A line for a suite whose thresholds were to be chosen on dev, where dev has no mask to choose them on."""
    suite = blueprint.suite
    if not any(map(is_held_out, suite.policies)) or any(map(is_held_out, blueprint.policies)):
        return []
    thresholds = []
    for name, components in recipes.items():
        # References declare one for any data.
        if name in suite.recipes and components.labeler and components.labeler.declared_threshold is not None:
            thresholds.append(f"{name} {components.labeler.declared_threshold:g}")
    if not thresholds:
        return []
    dev = f"{blueprint.dataset.name}/dev"
    return [f"WARNING: {dev} has no true mask, so these thresholds stay, chosen on other data: {', '.join(thresholds)}"]


def _training_notes(compute: Compute) -> tuple[str, ...]:
    """What of the way in which networks are trained shows in scores or in hours, and is not the usual one.

    Several processes, and how they do batch norm; a missing numba.
    """
    notes = []
    if compute.train_processes > 1:
        norm = "by each process for itself, unlike one process"
        if compute.sync_batch_norm:
            norm = "over the whole batch"
        notes.append(f"each network is trained by {compute.train_processes} processes, batch norm {norm}")
    if resolve_device(compute.device) == "cpu" and not has_compiled_loops():
        notes.append("numba is not installed: trainings take up to five times as long (pip install numba)")
    return tuple(notes)


def _unlearnable(line: Line) -> tuple[str, ...]:
    """The note of classes that a line's localizer cannot learn under its setting, since they label every photo.

    Raises UserError where no other class is left.
    """
    localizer, offer = line.components.localizer, line.source.offer
    if localizer is None or offer is None or not localizer.needs_negatives:
        return ()
    weak = offer.weak
    everywhere = never_absent([photo.labels for photo in weak.photos], weak.label_space.foreground)
    if not everywhere:
        return ()
    found = describe_never_absent(everywhere, len(weak.photos), weak.label_space)
    if len(everywhere) == weak.label_space.foreground:
        where = f"{line.blueprint.dataset.name}, setting {line.source.name}"
        raise UserError(where, found, "photos with and without a class", ADD_NEGATIVES)
    return (f"setting {line.source.name}: {found}; {ADD_NEGATIVES}",)


def _with_masks_revealed(
    recipes: Mapping[str, RecipeComponents], blueprint: Blueprint, skipped: Skipped
) -> dict[str, RecipeComponents]:
    """The recipes less those that masks would have to be revealed to, where there are none."""
    dataset = blueprint.dataset
    if any(map(dataset.has_mask, dataset.training_ids)):
        return dict(recipes)
    possible = {}
    for name, components in recipes.items():
        if components.reveal is None:
            possible[name] = components
        else:
            skipped.add(name, "no photo of train and dev has a true mask")
    return possible


def _lines(suite: Suite, blueprint: Blueprint, recipes: Mapping[str, RecipeComponents]) -> Iterator[Line]:
    """The recipes of every setting with every rng seed; what no setting changes stands under the first alone."""
    for position, (label, setting) in enumerate(suite.settings.items()):
        source = blueprint.source(label, setting)
        for name, components in recipes.items():
            # A ceiling, which no setting changes, would be the very same row under each.
            is_repeated = position > 0 and not components.follows_setting
            if is_repeated or not suite.stands_under(name, label):
                continue
            # Three times the same predictions would be one measurement that is taken for three.
            seeds = suite.seeds_of(name, label)[: 1 if components.is_made_elsewhere else None]
            for rng_seed in seeds:
                yield Line(blueprint, source, name, components, rng_seed)
