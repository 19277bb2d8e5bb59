"""What speaks against the rows of a run: masks of other programs whose classes may be in another order."""

from __future__ import annotations

from collections.abc import Iterator

from harness.execution.running import Run
from harness.stages.rows import RowIdentity
from harness.store.layout import RowFiles
from harness.store.store import Lost, Store
from harness.suites.suite import Recipe
from results.per_image import read_table, total_counts, total_label_counts
from results.plausibility import describe_assignment, other_assignment

__all__ = ["doubts"]


def doubts(store: Store, run: Run) -> tuple[str, ...]:
    """One line for each row whose predicted values would score far higher with other meanings.

    Only rows of recipes that read masks of other programs: what Seedbed trains is taught which class is which. Its
    counts are read for nothing else, and a finished suite is shown in seconds.
    """
    return tuple(dict.fromkeys(_doubts(store, run)))


def _doubts(store: Store, run: Run) -> Iterator[str]:
    recipes = run.plan.suite.all_recipes()
    for ref in run.plan.rows:
        identity = run.plan.graph[ref].identity
        assert isinstance(identity, RowIdentity)
        place = identity.row
        if place.stage not in ("pseudo_labels", "segmentation") or not _reads_masks(recipes[place.recipe]):
            continue
        try:
            table = read_table(RowFiles(store.open(ref).folder).counts)
        except Lost:
            continue
        if place.stage == "pseudo_labels":
            counts = total_label_counts(table, len(place.classes)).as_background
        else:
            counts = total_counts(table, len(place.classes))
        if found := other_assignment(counts):
            stage = place.stage.replace("_", " ")
            yield f"{place.recipe}, {place.setting}, {stage}: {describe_assignment(found)}: classes in another order?"


def _reads_masks(recipe: Recipe) -> bool:
    """Whether masks come from a folder that somebody else has filled."""
    return any(component and component.name == "folder" for component in (recipe.labeler, recipe.segmenter))
