"""In which order a table becomes complete, and which stage is for which part of it."""

from hypothesis import given
from hypothesis import strategies as st

from harness.stages.graph import Stage, missing_stages
from harness.stages.planning import make_plan
from harness.stages.rounds import Round, round_of_stages, rounds_of
from harness.stages.rows import RowIdentity
from harness.suites.suite import load_suite
from tests.harness.fakes import fake_stage, row_stage

ROWS = [
    *(row_stage("cam", "clean", seed) for seed in (0, 1, 2)),
    row_stage("floor", "clean", 0),
    row_stage("cam", "web", 7),
    *(row_stage("cam", "shuffled", seed) for seed in (0, 1)),
]


def told(rounds: list[Round], rows: list[Stage]) -> list[tuple[str, list[str]]]:
    labels = {row.ref: row.label for row in rows}
    return [(each.name, [labels[ref] for ref in each.rows]) for each in rounds]


def test_setting_by_setting_with_the_first_rng_seed_of_each_then_rng_seed_by_rng_seed() -> None:
    assert told(rounds_of(ROWS), ROWS) == [
        ("1 of 3 rng seeds, setting clean", ["cam clean 0", "floor clean 0"]),
        ("1 of 3 rng seeds, settings clean, web", ["cam web 7"]),
        ("1 of 3 rng seeds", ["cam shuffled 0"]),
        ("2 of 3 rng seeds", ["cam clean 1", "cam shuffled 1"]),
        ("3 of 3 rng seeds", ["cam clean 2"]),
    ]


def test_one_rng_seed_of_one_setting_is_one_round_and_no_row_none() -> None:
    assert told(rounds_of(ROWS[:1]), ROWS) == [("1 rng seed", ["cam clean 0"])]
    assert rounds_of([]) == []


@given(st.lists(st.sets(st.integers(0, 9)), min_size=4, max_size=10), st.lists(st.integers(0, 9), max_size=6))
def test_a_stage_is_for_the_first_round_that_needs_it(needs: list[set[int]], rows: list[int]) -> None:
    stages: list[Stage] = []
    for n, wanted in enumerate(needs):
        stages.append(fake_stage(n, {"inputs": tuple(stages[i].ref for i in sorted(wanted) if i < n)}))
    graph = {stage.ref: stage for stage in stages}
    rounds = [Round(str(n), (stages[row % len(stages)].ref,)) for n, row in enumerate(rows)]
    nothing = dict.fromkeys(graph, False)
    expected = {}
    for number, each in reversed(list(enumerate(rounds))):
        expected |= dict.fromkeys(missing_stages(graph, each.rows, nothing), number)
    assert round_of_stages(graph, rounds) == expected


def test_a_suite_has_a_first_table_of_one_setting_and_pictures_are_for_none() -> None:
    settings = ("settings={clean: {}, shuffled: {}}", "rng_seeds=[3, 1]", "rng_seeds_of={shuffled: [1]}")
    plan = make_plan(load_suite("smoke", settings))
    rounds = rounds_of(plan.graph[ref] for ref in plan.rows)
    places: list[set[tuple[str, int]]] = []
    for each in rounds:
        identities = [plan.graph[ref].identity for ref in each.rows]
        rows = [identity.row for identity in identities if isinstance(identity, RowIdentity)]
        places.append({(row.setting, row.rng_seed) for row in rows})
    assert places == [{("clean", 3)}, {("shuffled", 1)}, {("clean", 1)}]
    assert {ref for each in rounds for ref in each.rows} == set(plan.rows)
    number_of = round_of_stages(plan.graph, rounds)
    assert {plan.graph[ref].kind.name for ref in plan.graph if ref not in number_of} == {"gallery", "segment"}
