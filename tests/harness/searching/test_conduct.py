"""A whole search on real stages of tiny scenes: run, shown, continued, extended, and its winners as a suite."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from harness.execution.workers import Workers
from harness.searching.bound import bounds_of
from harness.searching.conduct import Asked, Outcome, conduct
from harness.searching.outputs import to_json
from harness.searching.records import Trial
from harness.searching.search import RecipeSearch
from harness.stages.planning import make_plan
from harness.store.care.waste import waste_of
from harness.store.layout import Ref
from harness.store.store import Store
from harness.suites.suite import load_suite
from settings.errors import UserError

SEARCH = {
    "include": "smoke",
    "recipes": {"coattention": None, "cam+saliency": None, "other": {"localizer": "untrained", "labeler": "threshold"}},
    "dataset": {"train": 8, "dev": 4, "val": 4},
    "segmenter": "none",
    "search": {
        "ranges": {"localizer.hidden": {"choice": [0, 16]}, "labeler.threshold": "free"},
        "recipes": ["cam"],
        "objective": {"scored": "pseudo_labels", "policy": "held_out(4)"},
        "budget": {"trials": 3},
        "sampler": "random",
    },
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("searched") / "mine.yaml"
    path.write_text(yaml.safe_dump(SEARCH))
    return path


WHOLE = Asked()


def searched(suite: Path, asked: Asked = WHOLE, told: list[int] | None = None, *overrides: str) -> Outcome:
    def listen(_: object, search: RecipeSearch) -> None:
        if told is not None:
            told.append(len(search.trials))

    return conduct(str(suite), overrides, suite.parent / "store", Workers("serial"), asked, listen)


@pytest.fixture(autouse=True)
def unplotted(outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches within a test draw no plots: that of the module's fixture has drawn all of them."""
    monkeypatch.setattr("harness.searching.conduct.draw_outputs", lambda *_: None)


@pytest.fixture(scope="module")
def outcome(suite: Path) -> Outcome:
    return searched(suite)


def trials_of(outcome: Outcome) -> list[Trial]:
    return list(outcome.findings[0].search.trials.values())


def test_a_free_threshold_costs_nothing_and_is_the_best_of_the_sweep(outcome: Outcome) -> None:
    first, second, third = trials_of(outcome)
    assert (first.values, second.values, third.values) == (
        {"localizer.hidden": 16},
        {"localizer.hidden": 16},
        {"localizer.hidden": 0},
    )
    assert (first.threshold, first.origin) == (0.3, "default")
    assert second.spent == 0
    assert second.score is not None and first.score is not None
    assert second.score >= first.score
    assert third.spent > 0


def test_the_folder_tells_all_of_it(outcome: Outcome) -> None:
    names = {path.name for path in outcome.folder.iterdir()}
    pictures = {f"{name}.{kind}" for name in ("best-so-far", "importances", "rungs") for kind in ("png", "svg")}
    assert names >= pictures | {"trials.csv", "summary.md", "winners.yaml", "optuna.log"}
    table = pd.read_csv(outcome.folder / "trials.csv")
    assert table["trial"].tolist() == [0, 1, 2]
    assert table["score"].tolist() == pytest.approx([trial.score for trial in trials_of(outcome)])
    assert "dev − reported" in (outcome.folder / "summary.md").read_text()


def test_the_winners_file_is_a_suite_of_the_default_and_what_replaces_it(outcome: Outcome) -> None:
    written = load_suite(outcome.folder / "winners.yaml")
    expected = {"cam"} if outcome.findings[0].is_default else {"cam", "cam-searched"}
    assert set(written.recipes) == expected
    assert written.search is None
    assert make_plan(written).rows


def test_the_gap_is_that_between_dev_and_what_is_reported(outcome: Outcome) -> None:
    gap = outcome.gaps["cam", False]
    assert (gap.dev, gap.split) == (trials_of(outcome)[0].score, "train")
    assert gap.reported is not None


def test_called_again_nothing_is_run_and_an_extension_goes_on(suite: Path, outcome: Outcome) -> None:
    told: list[int] = []
    again = searched(suite, Asked(), told)
    assert told == []
    assert trials_of(again) == trials_of(outcome)
    # Both values of the one option were tried: there is nothing left to propose.
    assert len(trials_of(searched(suite, Asked(extend=5)))) == 3
    assert searched(suite, Asked(trials=2)).findings[0].search.budget.trials == 3, "what it has had"


def test_gc_keeps_the_stages_of_recorded_trials(suite: Path, outcome: Outcome) -> None:
    claimed = {Ref(*ref) for trial in trials_of(outcome) for ref in trial.claimed}
    waste = {entry.ref for entry in waste_of(Store.at(suite.parent / "store"), set()) if entry.is_whole_key}
    assert claimed
    assert not claimed & waste


def test_image_level_searches_the_classifier_without_a_mask(suite: Path, outcome: Outcome) -> None:
    ranges = json.dumps({"localizer.hidden": {"choice": [0, 16]}, "labeler.threshold": None})
    overrides = (f"search.ranges={ranges}", "search.objective=image_level", "search.budget.trials=2")
    found = searched(suite, Asked(), None, *overrides)
    assert [trial.rungs[0].name for trial in trials_of(found)] == ["classifier", "classifier"]
    assert all(0 <= (trial.score or 0) <= 1 for trial in trials_of(found))
    assert found.gaps == {}


def test_segmentation_on_dev_is_the_last_rung_of_a_search_for_it(suite: Path, outcome: Outcome) -> None:
    overrides = ("search.objective.scored=segmentation", "search.budget.trials=2", "segmenter=deeplab")
    found = searched(suite, Asked(), None, *overrides, "segmenter.training.epochs=1")
    for trial in trials_of(found):
        assert [rung.name for rung in trial.rungs] == ["pseudo_labels", "segmentation"]
        assert trial.score == trial.rungs[-1].score
    gap = found.gaps["cam", False]
    assert (gap.dev, gap.split) == (trials_of(found)[0].score, "val")


def test_all_recipes_are_searched_with_equal_budgets(suite: Path, outcome: Outcome) -> None:
    overrides = ("search.recipes=[]",)
    ranges = json.dumps({"labeler.threshold": {"choice": [0.2, 0.3, 0.4]}, "localizer.hidden": None})
    with pytest.raises(UserError, match="2 recipes and none named"):
        searched(suite, Asked(), None, *overrides)
    found = searched(suite, Asked(all_recipes=True, trials=2), None, *overrides, f"search.ranges={ranges}")
    assert [finding.search.space.name for finding in found.findings] == ["cam", "other"]
    assert [len(finding.search.trials) for finding in found.findings] == [2, 2]
    table = (found.folder / "summary.md").read_text()
    assert table.count("2 trials") == 2


def test_json_has_no_nan(outcome: Outcome) -> None:
    found = json.loads(json.dumps(to_json(outcome.findings, outcome.gaps, outcome.folder), allow_nan=False))
    assert found["recipes"][0]["trials"] == 3


def test_a_budget_beyond_all_bounds_is_refused(suite: Path, outcome: Outcome) -> None:
    for asked, option in ((Asked(trials=10**6), "--trials"), (Asked(extend=10**5), "--extend")):
        with pytest.raises(UserError, match=f"{option}: found .* trials in all"):
            searched(suite, asked)


def test_plan_tells_of_an_unknown_option(suite: Path, tmp_path: Path) -> None:
    wrong = load_suite(str(suite), ["search.ranges={localizer.hiden: {choice: [0, 16]}}"])
    with pytest.raises(UserError, match=r"did you mean 'localizer\.hidden'"):
        bounds_of(wrong, tmp_path / "store")


def test_more_masks_than_dev_has_are_refused(suite: Path) -> None:
    with pytest.raises(UserError, match="2 to 4 masks"):
        searched(suite, Asked(), None, "search.objective.policy=held_out(64)")
    with pytest.raises(UserError, match="no `search:`"):
        conduct("smoke", (), suite.parent / "store", Workers("serial"), Asked(), lambda *_: None)
