"""Whether the best trial beats the default configuration, by the paired interval on dev; and its recipe file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from harness.searching.records import Trial
from harness.searching.search import RecipeSearch
from harness.searching.space import THRESHOLD
from harness.store.layout import CountFiles, MeasureFiles, Ref
from harness.store.store import Lost, Store
from harness.suites.reading import override
from harness.suites.suite import Suite
from results.comparisons import SEARCHED
from results.counted import image_sums, joined_sums
from results.map_difference import map_difference
from results.per_image import joined, read_table
from results.statistics import Difference, difference, samples
from settings.errors import UserError, counted

__all__ = ["Finding", "finding_of", "masks_text", "recipe_suite"]


@dataclass(frozen=True)
class Finding:
    """What the search of one recipe has come to."""

    search: RecipeSearch
    default: Trial | None
    best: Trial | None
    difference: Difference | None
    """The best trial less the default configuration, on the same masks of dev; None with nothing to compare."""

    @property
    def winner(self) -> Trial | None:
        """The best trial where it is better than the default configuration, else the latter; None where both failed."""
        if self.default is None:
            return self.best
        if self.difference is not None and self.difference.verdict == "better":
            return self.best
        return self.default

    @property
    def is_default(self) -> bool:
        """Whether nothing replaces the default configuration."""
        return self.winner is not None and self.winner.number == 0

    def to_text(self) -> str:
        """One line: how the best trial stands beside the default configuration, and what follows from it."""
        name = self.search.space.name
        if self.best is None:
            return f"{name}: no trial came to its end"
        best = f"best {self.best.score:.4f} (trial {self.best.number})"
        if self.default is None:
            return f"{name}: {best}; the default configuration failed, so there is nothing to hold it against"
        default = f"{name}: default {self.default.score:.4f}"
        if self.difference is None:
            return f"{default}; no trial was better"
        interval = f"{self.difference.mean:+.4f} [{self.difference.low:+.4f}, {self.difference.high:+.4f}]"
        ending = "it replaces the default configuration"
        if self.is_default:
            ending = f"{self.difference.verdict}: the default configuration stays"
        return f"{default}, {best}, difference {interval} on dev; {ending}"


def finding_of(search: RecipeSearch, store: Store) -> Finding:
    """The best trial of a search, held against its default configuration."""
    default = search.trials.get(0)
    if default is not None and default.score is None:
        default = None
    best, found = search.best, None
    if default is not None and best is not None and best.number != 0:
        try:
            found = _difference(search, store, best, default)
        except Lost as error:
            raise UserError(
                error.ref, "a score that is lost", "that of a trial", "search again: it is made anew"
            ) from None
    return Finding(search, default, best, found)


def _difference(search: RecipeSearch, store: Store, best: Trial, default: Trial) -> Difference:
    if search.bench.objective.is_image_level:
        ours, theirs = (_scores(store, trial) for trial in (best, default))
        return map_difference(ours["scores_NK"], theirs["scores_NK"], ours["labels_NK"])
    sums = []
    for trial in (best, default):
        tables = [read_table(CountFiles(artefact.folder).counts) for artefact in store.open_all(trial.targets)]
        sums.append(joined_sums([image_sums(joined(tables), search.bench.classes, trial.threshold)]))
    return difference(*samples(sums))


def _scores(store: Store, trial: Trial) -> Mapping[str, Any]:
    (target,) = trial.targets
    with np.load(MeasureFiles(store.open(Ref(*target)).folder).scores) as content:
        return {name: content[name] for name in ("scores_NK", "labels_NK")}


def recipe_suite(findings: list[Finding], suite: Suite, given: str) -> str:
    """A suite, as YAML, with the default configurations that were searched and the winners beside them.

    `given` is what the command was called with: a ready suite's name, or a file.
    """
    include = given
    if Path(given).suffix in (".yaml", ".yml"):
        include = str(Path(given).absolute())
    searched = [finding.search.space.name for finding in findings]
    # What a reader wants to compare is the winner and what it was before: the included suite's other recipes go.
    recipes: dict[str, Any] = {name: None for name in suite.recipes if name not in searched}
    comments = []
    for finding in findings:
        comments.append(finding.to_text())
        if finding.winner is not None and not finding.is_default:
            recipes[f"{finding.search.space.name}{SEARCHED}"] = _recipe(finding, suite)
    content: dict[str, Any] = {"include": include, "name": f"{suite.name}-winners"}
    for assignment in suite.overrides:
        if not assignment.startswith("search"):
            override(content, assignment)
    merged_recipes = {**content.get("recipes", {}), **recipes}
    content |= {"search": None, "references": [], "recipes": merged_recipes}
    head = "\n".join(f"# {line}" for line in comments)
    body = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    return f"{head}\n{body}"


def _recipe(finding: Finding, suite: Suite) -> dict[str, Any]:
    """The winner as users write a recipe, with how many masks its options were chosen on."""
    winner, space = finding.winner, finding.search.space
    assert winner is not None
    values = dict(winner.values)
    if space.threshold_is_free and winner.threshold is not None:
        values[THRESHOLD] = winner.threshold
    content = space.recipe_of(values).model_dump(mode="json", exclude_unset=True, exclude_none=True)
    if suite.recipes[space.name].segmenter is None:
        # The suite's own: the file that includes it brings it too.
        content.pop("segmenter", None)
    for role in ("pretraining", "localizer", "cue", "labeler", "segmenter"):
        if role in content:
            content[role] = {"name": content[role]["name"], **content[role].get("options", {})}
    if not content.get("refiners"):
        content.pop("refiners", None)
    else:
        content["refiners"] = [{"name": one["name"], **one.get("options", {})} for one in content["refiners"]]
    declared = dict(suite.declared_on_for(space.name))
    masks = finding.search.bench.masks
    if masks:
        declared["dev"] = max(masks, declared.get("dev", 0))
    return {**content, "declared_on": declared}


def masks_text(finding: Finding) -> str:
    """On what the search chose, in words."""
    masks = finding.search.bench.masks
    return counted(masks, "mask") + " of dev" if masks else "image-level labels"
