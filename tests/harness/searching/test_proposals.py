"""Proposals: the same for the same history, never twice, with prefixes by gain per remaining second."""

from typing import Any

import optuna
import pytest

from harness.searching.journal import write_journal
from harness.searching.proposals import Cuts, Known, Proposer, choice_labels, finished_trial
from harness.searching.space import Dimension, Space, space_of
from harness.suites.search import Range
from settings.records import fingerprint
from tests.harness.searching.pretended import run, search_of, suite_of

RATE, ITERATIONS = "localizer.training.learning_rate", "refiners.0.iterations"


@pytest.fixture
def space() -> Space:
    return space_of("cam", suite_of())


def known(number: int, rate: float, iterations: int, score: float, seconds: tuple[float, float]) -> Known:
    return Known(number, {RATE: rate, ITERATIONS: iterations}, "complete", score, (score, score), seconds)


@pytest.mark.parametrize("sampler", ["random", "tpe", "prefix"])
def test_the_same_history_gives_the_same_proposals(space: Space, sampler: str) -> None:
    def proposed() -> list[object]:
        proposer = Proposer(space, sampler, 0)  # type: ignore[arg-type]
        found = []
        for number in range(14):
            found.append(proposer.propose(number))
            if number >= 2:
                values = found[number - 2].values
                score = -abs(values[RATE] - 0.1)
                proposer.tell(Known(number - 2, values, "complete", score, (score, score), (3.0, 1.0)))
        return [(each.values, each.origin) for each in found]

    first = proposed()
    assert first == proposed()
    assert all(0.001 <= values[RATE] <= 1 and 1 <= values[ITERATIONS] <= 60 for values, _ in first)


def test_a_continued_proposer_goes_on_as_if_it_had_not_stopped(space: Space) -> None:
    whole = Proposer(space, "tpe", 0)
    for number in range(12):
        values = whole.propose(number).values
        whole.tell(Known(number, values, "complete", -values[RATE], (0.0, -values[RATE]), (1.0, 1.0)))
    again = Proposer(space, "tpe", 0)
    for each in list(whole.known):
        again.begin(each.number, each.values)
        again.tell(each)
    assert again.propose(12) == whole.propose(12)


@pytest.mark.parametrize("told", [23, 25, 33])
def test_among_many_trials_a_continued_proposer_sees_what_the_other_sees(
    space: Space, told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"MANY": 20, "CUT_EACH": 5, "LATEST": 8, "BEST": 4}.items():
        monkeypatch.setattr(f"harness.searching.proposals.{name}", value)
    whole = Proposer(space, "prefix", 0)
    for number in range(told):
        values = whole.propose(number).values
        score = -abs(values[RATE] - 0.1)
        whole.tell(Known(number, values, "complete", score, (score, score), (3.0, 1.0)))
    again = Proposer(space, "prefix", 0)
    for each in list(whole.known):
        again.begin(each.number, each.values)
        again.tell(each)
    assert again.propose(told) == whole.propose(told)


def test_what_is_left_of_a_space_that_was_mostly_tried_is_gone_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.searching.proposals.MANY", 12)
    ranges = {"localizer.hidden": {"choice": [0, 16, 32]}, ITERATIONS: {"int": [1, 9], "step": 2}}
    ranges[RATE] = {"uniform": [0.1, 0.2], "step": 0.1}
    proposer = Proposer(space_of("cam", suite_of(ranges=ranges)), "prefix", 0)
    proposals = []
    for number in range(30):
        proposals.append(proposer.propose(number))
        values = proposals[-1].values
        score = -values[RATE]
        proposer.tell(Known(number, values, "complete", score, (score, score), (3.0, 1.0)))
    assert {fingerprint(each.values) for each in proposals} == {
        fingerprint({"localizer.hidden": hidden, ITERATIONS: iterations, RATE: rate})
        for hidden in (0, 16, 32)
        for iterations in (1, 3, 5, 7, 9)
        for rate in (0.1, 0.2)
    }
    assert {each.origin for each in proposals[-14:]} == {"random"}
    assert proposer.is_exhausted


def test_the_prefix_of_a_default_that_lies_outside_of_the_ranges_is_not_kept(space: Space) -> None:
    changed = space_of("cam", suite_of(ranges={"localizer.hidden": {"choice": [0, 32]}, ITERATIONS: {"int": [1, 60]}}))
    default = Known(0, {"localizer.hidden": 16, ITERATIONS: 10}, "complete", 0.9, (0.9, 0.9), (9.0, 1.0))
    assert set(Cuts(changed).weights([default])) == {None}
    proposer = Proposer(changed, "prefix", 0)
    proposer.begin(0, default.values)
    proposer.tell(default)
    assert proposer.propose(1).values["localizer.hidden"] in (0, 32)


def test_a_space_whose_options_depend_on_each_other_ends_when_all_of_it_was_tried() -> None:
    dropout = {"choice": [0.1, 0.2], "when": {"localizer.hidden": 16}}
    ranges = {"localizer.dropout": dropout, "localizer.hidden": {"choice": [8, 16]}}
    proposer = Proposer(space_of("cam", suite_of(ranges=ranges)), "random", 0)
    found = [proposer.propose(number).values for number in range(3)]
    expected = [{"localizer.hidden": 8}, *({"localizer.hidden": 16, "localizer.dropout": each} for each in (0.1, 0.2))]
    assert sorted(map(fingerprint, found)) == sorted(map(fingerprint, expected))
    assert proposer.is_exhausted


def test_a_default_outside_of_a_finite_space_leaves_all_of_it_to_be_tried() -> None:
    proposer = Proposer(space_of("cam", suite_of(ranges={"localizer.hidden": {"choice": [0, 8]}})), "random", 0)
    proposer.begin(0, {"localizer.hidden": 16})
    found = []
    while not proposer.is_exhausted:
        found.append(proposer.propose(len(found) + 1).values["localizer.hidden"])
    assert sorted(found) == [0, 8]


def test_the_origin_of_what_is_left_of_a_space_is_an_even_draw(space: Space) -> None:
    sizes = space_of("cam", suite_of(ranges={"localizer.hidden": {"choice": list(range(0, 64, 2))}}))
    proposer = Proposer(sizes, "tpe", 0)
    origins = []
    for number in range(32):
        proposal = proposer.propose(number)
        value = proposal.values["localizer.hidden"]
        proposer.tell(Known(number, proposal.values, "complete", -value, (0.0, -value), (1.0, 1.0)))
        origins.append(proposal.origin)
    assert set(origins[:10]) == {"random"} and {"tpe", "random"} == set(origins[10:])


def test_parallel_proposals_are_all_others(space: Space) -> None:
    changed = space_of("cam", suite_of(ranges={"localizer.hidden": {"choice": [0, 16, 32, 64]}}))
    proposer = Proposer(changed, "tpe", 0)
    values = [proposer.propose(number).values["localizer.hidden"] for number in range(4)]
    assert sorted(values) == [0, 16, 32, 64]
    assert proposer.is_exhausted


@pytest.mark.parametrize(("sampler", "keeping"), [("prefix", [1, 3, 5]), ("tpe", []), ("random", [])])
def test_before_any_trial_has_ended_every_other_one_keeps_what_the_default_computes(
    space: Space, sampler: str, keeping: list[int]
) -> None:
    proposer = Proposer(space, sampler, 0)  # type: ignore[arg-type]
    proposer.begin(0, {RATE: 0.05, ITERATIONS: 10})
    proposals = [proposer.propose(number) for number in range(1, 7)]
    assert [each.number for each in proposals if each.values[RATE] == 0.05] == keeping
    assert [each.number for each in proposals if each.origin == "random, prefix of trial 0"] == keeping
    assert len({fingerprint(each.values) for each in proposals}) == 6


def test_the_first_ones_keep_nothing_of_a_default_outside_of_the_ranges(space: Space) -> None:
    proposer = Proposer(space, "prefix", 0)
    proposer.begin(0, {RATE: 7.0, ITERATIONS: 10})
    assert [proposer.propose(number).origin for number in range(1, 5)] == ["random"] * 4


def test_a_cut_is_as_likely_as_its_gain_per_remaining_second(space: Space) -> None:
    # Localizer 9 s, refiner 1 s. Scores spread by 0.1 with the rate, and by 0.01 within one rate.
    told = [
        known(0, 0.1, 1, 0.50, (9, 1)),
        known(1, 0.1, 2, 0.51, (0, 1)),
        known(2, 0.2, 1, 0.60, (9, 1)),
        known(3, 0.2, 2, 0.61, (0, 1)),
    ]
    scores = [0.50, 0.51, 0.60, 0.61]
    mean = sum(scores) / 4
    overall = (sum((score - mean) ** 2 for score in scores) / 3) ** 0.5
    within = (2 * 2 * 0.005**2 / 2) ** 0.5
    assert Cuts(space).weights(told) == pytest.approx({None: overall / 10, 0: within / 1})


def test_a_prefix_that_would_be_stopped_is_not_kept(space: Space) -> None:
    told = [known(number, 0.1 + number / 100, 1, 0.5, (9, 1)) for number in range(4)]
    assert set(Cuts(space).weights(told)) == {None, 0}
    assert set(Cuts(space).weights(told, lambda rung, score: False)) == {None}


def test_choices_of_mappings_are_proposed_as_mappings() -> None:
    chains = [[{"name": "pamr", "iterations": 3}], [{"name": "pamr", "iterations": 5}, {"name": "pamr"}]]
    changed = space_of("cam", suite_of(ranges={"refiners": {"choice": chains}}))
    proposer = Proposer(changed, "random", 0)
    assert proposer.propose(0).values["refiners"] in chains


@pytest.mark.parametrize("choices", [[False, 0, 16], [1, 1.0, True], ["[1, 2]", [1, 2]], [0, 16, 32]])
def test_choices_that_python_holds_for_equal_are_all_proposed(choices: list[Any]) -> None:
    dimension = Dimension("localizer.hidden", Range(choice=tuple(choices)))
    labels = choice_labels(dimension)
    assert [fingerprint(value) for value in labels.values()] == [fingerprint(value) for value in choices]
    assert len(set(labels)) == len(choices)


def test_what_lies_outside_of_the_ranges_is_not_told_to_optuna(space: Space) -> None:
    assert finished_trial(space, known(0, 5.0, 1, 0.5, (1, 1))) is None
    proposer = Proposer(space, "tpe", 0)
    proposer.begin(0, {RATE: 5.0, ITERATIONS: 10})
    proposer.tell(known(0, 5.0, 10, 0.5, (1, 1)))
    assert proposer.propose(1).values[RATE] <= 1


def test_the_journal_is_opened_by_optuna(tmp_path) -> None:  # type: ignore[no-untyped-def]
    search, _ = search_of(tmp_path, suite_of(sampler="random"))
    run(tmp_path, search, [])
    write_journal([search], tmp_path / "optuna.log")
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "optuna.log")))
    study = optuna.load_study(study_name="cam", storage=storage)
    assert search.best is not None
    assert study.best_value == search.best.score
    assert study.best_params == search.best.values
    states = [trial.state.name for trial in study.trials]
    ours = [{"complete": "COMPLETE", "stopped": "PRUNED"}[trial.state] for trial in search.trials.values()]
    assert states == ours
