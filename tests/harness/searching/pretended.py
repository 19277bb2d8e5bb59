"""A search whose stages compute nothing: scores are closed forms, and artefacts are published by the test."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.execution.driver import Result
from harness.searching.search import RecipeSearch, Searches
from harness.searching.space import Space, space_of
from harness.searching.trials import Bench, Reading, Rung, Score
from harness.stages.graph import Stage
from harness.store.layout import Ref
from harness.store.store import Store
from harness.suites.search import Budget, Search
from harness.suites.suite import Suite
from settings.records import fingerprint
from tests.harness.fakes import fake_stage

SEARCH: Mapping[str, Any] = {
    "ranges": {
        "localizer.training.learning_rate": {"log_uniform": [0.001, 1.0]},
        "refiners.0.iterations": {"int": [1, 60]},
    },
    "budget": {"trials": 24},
    "parallel": 4,
}
LOCALIZER, LABELS = "localizer", "pseudo_labels"


def suite_of(**changes: Any) -> Suite:
    """A suite with one recipe of two steps and a search."""
    recipe = {
        "localizer": {"name": "cam", "hidden": 16, "training": {"epochs": 2}},
        "refiners": [{"name": "pamr", "iterations": 10}],
        "labeler": {"name": "threshold", "threshold": 0.3},
    }
    content = {"name": "pretended", "dataset": "scenes", "recipes": {"cam": recipe}, "search": {**SEARCH, **changes}}
    return Suite.model_validate(content)


class PretendedBench(Bench):
    """Two rungs, a stage each; the score is highest at a learning rate of 0.1 and 20 iterations."""

    def __init__(self, suite: Suite) -> None:
        assert suite.search is not None
        self.suite, self.objective = suite, suite.search.objective
        self.masks, self.classes = 8, 3
        self.stages: dict[Ref, Stage] = {}
        self.scores: dict[Ref, float] = {}
        self.broken: set[float] = set()
        """Learning rates with which the localizer fails, or gives no number."""

    @property
    def graph(self) -> Mapping[Ref, Stage]:
        return self.stages

    def rungs(self, space: Space, values: Mapping[str, Any], is_default: bool = False) -> tuple[Rung, ...]:
        every = {**space.defaults(self.suite), **values}
        rate, iterations = every["localizer.training.learning_rate"], every["refiners.0.iterations"]
        first = fake_stage(f"fit {rate}", label=f"fit {rate}", group="fit", photos=10)
        last = fake_stage(
            f"refine {rate} {iterations}", {"maps": (first.ref,)}, label="refine", group="refine", photos=10
        )
        self.stages |= {first.ref: first, last.ref: last}
        self.scores[first.ref] = 1 - abs(rate - 0.1)
        self.scores[last.ref] = self.scores[first.ref] - abs(iterations - 20) / 1000
        if rate in self.broken:
            self.scores[first.ref] = float("nan")
        return Rung(LOCALIZER, (first.ref,), Reading("best")), Rung(LABELS, (last.ref,), Reading("best"))

    def score(self, store: Store, rung: Rung) -> Score:
        store.open_all(rung.targets)
        return Score(self.scores[rung.targets[0]], 0.3)


def search_of(folder: Path, suite: Suite, trials: int | None = None) -> tuple[RecipeSearch, PretendedBench]:
    """The search of the suite's recipe on the store in a folder, continued from what lies there."""
    search, bench = suite.search, PretendedBench(suite)
    assert isinstance(search, Search)
    budget = Budget(trials=trials) if trials else search.budget
    return RecipeSearch(space_of("cam", suite), bench, Store.at(folder).create(), search, budget, 4), bench


def publish(store: Store, stage: Stage) -> None:
    """Make a stage's artefact, as a worker does."""
    attempt = store.attempt(stage.ref)
    attempt.path("made").write_text(stage.label)
    attempt.record = attempt.record.__class__(stage.ref.kind, stage.ref.key, attempt.folder.name, {}, seconds=2.0)
    store.publish(attempt)


def run(folder: Path, search: RecipeSearch, made: list[Ref], most: int | None = None, last_first: bool = False) -> bool:
    """Drive a search in this process; False where it was left after `most` stages, as if it had been killed."""
    store, feed = Store.at(folder), Searches([search], lambda *_: None)
    waiting: dict[Ref, Stage] = {}
    result = Result()
    while True:
        waiting |= feed.more(result)
        ready = [ref for ref, stage in waiting.items() if all(store.has(need) for need in stage.needs())]
        if not ready:
            search.settle()
            return True
        if most is not None and len(made) >= most:
            return False
        ref = ready[-1 if last_first else 0]
        publish(store, waiting.pop(ref))
        made.append(ref)


def told(search: RecipeSearch) -> str:
    """All that two runs of one search must agree on."""
    trials = [(t.number, t.values, t.origin, t.state, t.score, t.threshold) for t in search.trials.values()]
    return fingerprint(sorted(trials))
