"""The loop of a search on stages that compute nothing: what is decided hangs on no clock, no order and no kill."""

import json
from pathlib import Path
from random import Random

import pytest

from harness.execution.driver import Result
from harness.execution.growing import run_growing
from harness.execution.workers import Workers
from harness.searching.search import Searches
from harness.stages.graph import Stage
from harness.store.layout import Ref
from harness.store.store import Store
from settings.errors import UserError
from tests.harness.searching.pretended import publish, run, search_of, suite_of, told


def test_trial_0_is_the_default_configuration_and_the_budget_is_kept(tmp_path: Path) -> None:
    search, _ = search_of(tmp_path, suite_of())
    made: list[Ref] = []
    assert run(tmp_path, search, made)
    assert list(search.trials) == list(range(24))
    first = search.trials[0]
    assert (first.origin, first.values) == (
        "default",
        {"localizer.training.learning_rate": 0.05, "refiners.0.iterations": 10},
    )
    assert first.score == pytest.approx(1 - 0.05 - 10 / 1000)
    assert search.best is not None
    assert search.best.score == max(trial.score or 0 for trial in search.trials.values())


def test_no_stage_is_made_twice_and_each_is_paid_by_the_first_trial_that_has_it(tmp_path: Path) -> None:
    search, _ = search_of(tmp_path, suite_of())
    made: list[Ref] = []
    run(tmp_path, search, made)
    assert len(made) == len(set(made))
    claimed = [ref for trial in search.trials.values() for ref in trial.claimed]
    assert sorted(claimed) == sorted(made)
    assert search.spent == 2.0 * len(made)


def test_prefixes_are_kept_once_there_are_trials(tmp_path: Path) -> None:
    search, _ = search_of(tmp_path, suite_of(stopping="none"))
    made: list[Ref] = []
    run(tmp_path, search, made)
    kept = [trial for trial in search.trials.values() if "prefix of trial" in trial.origin]
    assert kept
    for trial in kept:
        number = int(trial.origin.rpartition(" ")[2])
        path = "localizer.training.learning_rate"
        assert trial.values[path] == search.trials[number].values[path]
        assert trial.rungs[0].seconds == 0
    assert len(made) < 2 * 24


def test_ten_kills_and_another_order_end_in_the_same_search(tmp_path: Path) -> None:
    whole, _ = search_of(tmp_path / "whole", suite_of())
    run(tmp_path / "whole", whole, [])
    rng, made, folder = Random(0), [], tmp_path / "killed"
    for _ in range(10):
        search, _ = search_of(folder, suite_of())
        run(folder, search, made, most=len(made) + rng.randint(0, 4), last_first=bool(rng.getrandbits(1)))
    search, _ = search_of(folder, suite_of())
    assert run(folder, search, made, last_first=True)
    assert told(search) == told(whole)
    assert len(made) == len(set(made))


def test_a_rung_that_predicts_the_end_stops_trials_and_fully_run_ones_judge_it(tmp_path: Path) -> None:
    search, _ = search_of(tmp_path, suite_of(sampler="random", budget={"trials": 40}))
    run(tmp_path, search, [])
    stopped = [trial for trial in search.trials.values() if trial.state == "stopped"]
    assert stopped
    assert all(trial.number >= 8 and trial.number % 8 for trial in stopped)
    assert all(trial.score is None and len(trial.rungs) == 1 for trial in stopped)
    (check,) = search.checks()
    assert (check.name, check.trials) == ("localizer", 12)
    assert check.correlation > 0.9


def test_without_stopping_all_trials_come_to_their_end(tmp_path: Path) -> None:
    search, _ = search_of(tmp_path, suite_of(sampler="random", stopping="none"))
    run(tmp_path, search, [])
    assert {trial.state for trial in search.trials.values()} == {"complete"}


def test_a_score_of_nan_and_a_failing_stage_are_recorded_trials(tmp_path: Path) -> None:
    search, bench = search_of(tmp_path, suite_of())
    bench.broken.add(0.05)
    run(tmp_path, search, [])
    assert search.trials[0].state == "failed"
    assert "nan" in search.trials[0].reason
    assert len(search.trials) == 24
    # Tried again by the next call, as a run does with what has failed.
    again, _ = search_of(tmp_path, suite_of())
    run(tmp_path, again, [])
    assert again.trials[0].state == "complete"


def test_a_failed_stage_fails_its_trials_with_its_reason(tmp_path: Path) -> None:
    search, _ = search_of(tmp_path, suite_of(budget={"trials": 2}))
    feed = Searches([search], lambda *_: None)
    stages = feed.more(Result())
    fits = [ref for ref, stage in stages.items() if not stage.inputs]
    failed = Result(
        failures=dict.fromkeys(fits, "the disk broke"), blocked={r: fits[0] for r in stages if r not in fits}
    )
    assert feed.more(failed) == {}
    assert {trial.reason for trial in search.trials.values()} == {"the disk broke"}


def test_an_extended_search_goes_on_where_it_was(tmp_path: Path) -> None:
    search, _ = search_of(tmp_path, suite_of(), trials=10)
    run(tmp_path, search, [])
    longer, _ = search_of(tmp_path, suite_of(), trials=24)
    run(tmp_path, longer, [])
    whole, _ = search_of(tmp_path / "whole", suite_of())
    run(tmp_path / "whole", whole, [])
    assert told(longer) == told(whole)


def test_a_budget_of_stage_seconds_ends_a_search(tmp_path: Path) -> None:
    search, _ = search_of(tmp_path, suite_of(budget={"stage_seconds": 30.0}))
    run(tmp_path, search, [])
    # Those that were under way when the budget was used up come to their end.
    assert 30 <= search.spent <= 30 + 4 * 4


def test_a_budget_of_hours_counts_what_earlier_calls_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def publishing(store: Store, stage: Stage) -> None:
        now[0] += 360.0
        publish(store, stage)

    monkeypatch.setattr("harness.searching.search.time.monotonic", lambda: now[0])
    monkeypatch.setattr("tests.harness.searching.pretended.publish", publishing)
    budget, made = {"hours": 1.0}, list[Ref]()
    search, _ = search_of(tmp_path, suite_of(budget=budget, sampler="random", stopping="none"))
    assert not run(tmp_path, search, made, most=6)
    now[0] += 1e6  # Nothing is under way between two calls: it is not counted.
    again, _ = search_of(tmp_path, suite_of(budget=budget, sampler="random", stopping="none"))
    before = again.hours
    assert 0 < before <= 0.6
    assert run(tmp_path, again, made)
    # A stage takes a tenth of an hour; those of trials that were under way at the end of it are made nevertheless.
    assert 1.0 <= again.hours <= 1.0 + 2 * 4 * 0.1 + 1e-4
    third, _ = search_of(tmp_path, suite_of(budget=budget, sampler="random", stopping="none"))
    trials = len(third.trials)
    assert run(tmp_path, third, made)
    assert len(third.trials) == trials


def test_a_finite_space_ends_when_all_of_it_was_tried(tmp_path: Path) -> None:
    ranges = {"refiners.0.iterations": {"choice": [10, 20, 30]}, "localizer.hidden": {"choice": [16, 32]}}
    changed = suite_of(ranges={**ranges, "localizer.training.learning_rate": {"choice": [0.05, 0.1]}})
    search, _ = search_of(tmp_path, changed, trials=100)
    run(tmp_path, search, [])
    assert len(search.trials) == 3 * 2 * 2


def test_a_search_whose_stages_are_there_starts_no_executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Workers) -> None:
        raise AssertionError("an executor was started")

    monkeypatch.setattr(Workers, "make", refuse)
    search, bench = search_of(tmp_path, suite_of(sampler="random", stopping="none"))
    # What a leaderboard or an earlier search has made, whoever asked for it.
    store = Store.at(tmp_path)
    proposer = search._proposer
    values = [search.defaults, *(proposer.propose(number).values for number in range(1, 24))]
    for each in values:
        for rung in bench.rungs(search.space, each):
            for ref in rung.targets:
                if not store.has(ref):
                    publish(store, bench.graph[ref])
    search, _ = search_of(tmp_path, suite_of(sampler="random", stopping="none"))
    feed = Searches([search], lambda *_: None)
    assert run_growing(feed, "pretended", store, Workers(), feed.rounds) == Result()
    assert len(search.trials) == 24


@pytest.mark.parametrize(
    "changes",
    [
        None,
        {"rungs": []},
        {"number": "2"},
        {"number": 3},
        {"number": None},
        {"state": "weird"},
        {"values": [1]},
        {"hours": None},
        {"rungs": [{"name": "localizer", "score": "0.3"}]},
        {"rungs": [{"name": "localizer", "score": float("nan")}]},
        {"rungs": [{"name": "localizer", "score": 0.3, "seconds": "1"}]},
    ],
)
def test_a_damaged_record_is_a_trial_that_is_run_again(tmp_path: Path, changes: dict[str, object] | None) -> None:
    search, _ = search_of(tmp_path, suite_of(), trials=4)
    run(tmp_path, search, [])
    before = told(search)
    (path,) = (tmp_path / "searches").rglob("00002.json")
    path.write_text("{" if changes is None else json.dumps(json.loads(path.read_text()) | changes))
    again, _ = search_of(tmp_path, suite_of(), trials=4)
    made: list[Ref] = []
    run(tmp_path, again, made)
    assert (told(again), made) == (before, [])


@pytest.mark.parametrize("changes", [{"parallel": 0}, {"parallel": "4"}, {"started": "yesterday"}, {"started": None}])
def test_a_damaged_beginning_is_one_line(tmp_path: Path, changes: dict[str, object]) -> None:
    search, _ = search_of(tmp_path, suite_of(), trials=2)
    run(tmp_path, search, [])
    (path,) = (tmp_path / "searches").rglob("search.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(UserError, match=r"search\.json: found a damaged document"):
        search_of(tmp_path, suite_of(), trials=2)
