"""A trial's stages, rung by rung: what a recipe with some values asks of the one executor, and how it is scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from harness.searching.space import Space, Values
from harness.stages.blueprint import Blueprint
from harness.stages.diagnostics import PLANNERS, read_measures
from harness.stages.graph import Graph, Stage
from harness.stages.line import Line
from harness.stages.scoring import (
    SWEEP_STEPS,
    declared_threshold,
    plan_choice,
    plan_dev_scores,
    plan_dev_segmentation_scores,
    plan_dev_sweeps,
)
from harness.store.layout import CountFiles, MeasureFiles, Ref
from harness.store.store import Artefact, Store
from harness.suites.recipes import components_of
from harness.suites.search import Objective
from harness.suites.suite import Recipe, Suite
from results.metrics.miou import Floats, mean_iou
from results.per_image import joined, read_table, total_label_counts, total_sweep
from settings.errors import UserError
from settings.records import fingerprint

__all__ = ["Bench", "Reading", "Rung", "Score"]

MAP = "classifier mAP"


@dataclass(frozen=True)
class Score:
    """What a rung came to: mIoU or mAP (0..1), nan where it is undefined; and at which threshold."""

    value: float
    threshold: float | None = None


@dataclass(frozen=True)
class Reading:
    """How counts become a score: at the best threshold, at a given one, or as labels are."""

    kind: str
    """`best`, `at`, `labels` or `measure`."""
    threshold: float | None = None


@dataclass(frozen=True)
class Rung:
    """A step of a trial with a score: the stages that must be there, and how they are read."""

    name: str
    targets: tuple[Ref, ...]
    reading: Reading


class Bench:
    """What all trials of a search share: the data set, the setting, one growing graph."""

    def __init__(self, suite: Suite) -> None:
        """Raises UserError where dev has fewer masks than the objective asks for."""
        assert suite.search is not None
        self.objective: Objective = suite.search.objective
        # Segmentation is scored on dev, as all of a search is; maps and labels are scored there whatever is reported.
        report = suite.report
        if self.objective.scored == "segmentation":
            report = "dev"
        self.suite = suite.model_copy(
            update={
                "report": report,
                "policies": {"fixed": "segmentation"},
                "references": (),
                "recipes_of": {},
                "diagnostics": (),
                "gallery": 0,
            }
        )
        self.blueprint = Blueprint(self.suite)
        label = suite.search.setting or next(iter(suite.settings))
        self._source = self.blueprint.source(label, suite.settings[label])
        self.classes = self.blueprint.dataset.label_space.foreground + 1
        self._sweeps: dict[tuple[Ref, ...], tuple[Floats, Score]] = {}
        """By what they were read from: mIoU at every threshold, and the best of it."""
        self._swept_rungs: dict[str, tuple[Rung, ...]] = {}
        """By recipe and all of its options but the threshold."""
        self.masks = 0
        if not self.objective.is_image_level:
            dataset = self.blueprint.dataset
            there = sum(map(dataset.has_mask, dataset.splits["dev"]))
            self.masks = self.objective.masks or there
            if not 2 <= self.masks <= there:
                where = suite.place_of("search.objective.policy")
                expected = f"2 to {there} masks, which is what {dataset.name}/dev has"
                raise UserError(where, f"{self.objective.policy} ({self.masks} masks)", expected)

    @property
    def graph(self) -> Graph:
        """All stages that were planned so far, each after its inputs."""
        return self.blueprint.graph

    def rungs(self, space: Space, values: Values, is_default: bool = False) -> tuple[Rung, ...]:
        """The rungs of a trial; raises UserError for values that do not make a recipe.

        `is_default`: of the configuration as it is written, whose threshold is not free.
        """
        name = space.name
        recipe = space.recipe_of(values)
        components = components_of(name, recipe, self.suite)
        rng_seed = self.suite.seeds_of(name, self._source.name)[0]
        line = Line(self.blueprint, self._source, name, components, rng_seed)
        if self.objective.is_image_level:
            ref = PLANNERS["classifier"](line)
            if ref is None:
                lacking = f"recipe '{name}', which has no classifier to measure"
                raise UserError(self.suite.place_of("search.objective"), lacking, "a localizer with class scores")
            return (Rung("classifier", (ref,), Reading("measure")),)
        free = space.threshold_is_free and not is_default
        threshold = declared_threshold(line)
        found = list(self._swept(line, recipe))
        if threshold is None:
            scored = plan_dev_scores(line, self.objective.masks)
            found.append(Rung("pseudo_labels", scored, Reading("labels")))
        elif not free:
            found[-1] = replace(found[-1], reading=Reading("at", threshold))
        if self.objective.scored == "segmentation":
            if components.segmenter is None:
                lacking, expected = f"recipe '{name}' without a segmenter", "one, or scored: pseudo_labels"
                raise UserError(self.suite.place_of("search.objective.scored"), lacking, expected)
            choice = plan_choice(line, self.objective.policy) if free else None
            scored = plan_dev_segmentation_scores(line, self.objective.masks, choice)
            found.append(Rung("segmentation", scored, Reading("labels")))
        return tuple(found)

    def score(self, store: Store, rung: Rung) -> Score:
        """What the rung's stages measured; raises Lost where one of them is not there, or damaged."""
        artefacts = store.open_all(rung.targets)
        if rung.reading.kind == "measure":
            value = read_measures(MeasureFiles(artefacts[0].folder)).get(MAP)
            return Score(float("nan") if value is None else value)
        if rung.reading.kind == "labels":
            return Score(mean_iou(total_label_counts(_counted(artefacts), self.classes).as_background).mean)
        if rung.targets not in self._sweeps:
            # Read once: trials that share a prefix share its sweeps.
            sweep = total_sweep(_counted(artefacts), self.classes, SWEEP_STEPS)
            best = sweep.best()
            self._sweeps[rung.targets] = sweep.curve(), Score(best.miou, round(best.threshold, 2))
        curve, best_score = self._sweeps[rung.targets]
        if rung.reading.threshold is None:
            return best_score
        return Score(float(curve[round(rung.reading.threshold * SWEEP_STEPS)]), rung.reading.threshold)

    def behind(self, targets: Iterable[Ref], stops: Callable[[Ref], bool]) -> list[Stage]:
        """The stages that targets come of, each after its inputs; what `stops` and what lies behind it is left out."""
        found: dict[Ref, Stage] = {}
        pending = [(ref, False) for ref in targets]
        while pending:
            ref, inputs_done = pending.pop()
            if ref in found:
                continue
            if inputs_done:
                found[ref] = self.graph[ref]
            elif not stops(ref):
                pending.append((ref, True))
                pending += [(need, False) for need in self.graph[ref].needs()]
        return list(found.values())

    def _swept(self, line: Line, recipe: Recipe) -> tuple[Rung, ...]:
        """The rungs whose maps are read at every threshold, each at its best one; the last is that of the labels."""
        content = recipe.model_dump(mode="json")
        if content["labeler"]:
            # Of all thresholds at once: trials that differ in it alone have them in common, and are planned once.
            content["labeler"]["options"].pop("threshold", None)
        known = fingerprint([line.recipe, content])
        if known not in self._swept_rungs:
            self._swept_rungs[known] = tuple(self._planned_sweeps(line))
        return self._swept_rungs[known]

    def _planned_sweeps(self, line: Line) -> Iterator[Rung]:
        components = line.components
        steps = len(components.refiners)
        if components.localizer is not None:
            names = ("localizer", *components.refiner_names)
            for step in range(steps):
                yield Rung(names[step], plan_dev_sweeps(line, self.objective.masks, step), Reading("best"))
        if declared_threshold(line) is not None:
            yield Rung("pseudo_labels", plan_dev_sweeps(line, self.objective.masks, steps), Reading("best"))


def _counted(artefacts: Sequence[Artefact]) -> pa.Table:
    """The counts of several artefacts, one after the other."""
    return joined([read_table(CountFiles(artefact.folder).counts) for artefact in artefacts])
