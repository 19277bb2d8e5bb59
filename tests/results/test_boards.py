"""What may stand in one table."""

from collections.abc import Callable, Iterable

import pytest

from results import boards as boards_module
from results.boards import Evaluation, boards
from results.rows import Row


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": "voc12"},
        {"policy": "oracle"},
        {"protocol": "irn", "protocol_version": 1},
        {"protocol_version": 2},
        {"training_mode": "fine_tuned"},
        {"supervision": "I+S"},
        {"evaluation_fingerprint": "x"},
        {"split": "dev"},
        {"arithmetic": "bfloat16 products"},
    ],
)
def test_rows_that_differ_here_never_meet(row: Callable[..., Row], other: dict) -> None:
    found = boards([row(arithmetic="float32"), row(recipe="irn", **({"arithmetic": "float32"} | other))])
    assert sorted([r.recipe for r in board.rows] for board in found) == [["cam"], ["irn"]]


@pytest.mark.parametrize(
    "other", [{"setting": "web"}, {"rng_seed": 5}, {"stage": "segmentation"}, {"training_fingerprint": "x"}]
)
def test_rows_that_differ_there_do(row: Callable[..., Row], other: dict) -> None:
    assert [len(board.rows) for board in boards([row(), row(**other)])] == [2]


def test_ranked_policies_come_first(row: Callable[..., Row]) -> None:
    found = boards([row(policy="aaa"), row(policy="fixed"), row(policy="oracle")])
    assert [(board.policy, board.ranked) for board in found] == [("fixed", True), ("aaa", False), ("oracle", False)]


def test_controls_stand_on_every_board(row: Callable[..., Row]) -> None:
    control = row(recipe="all-background", training_mode="", supervision="")
    found = boards([control, row(), row(training_mode="fine_tuned"), row(supervision="I+S")])
    assert [board.title for board in found] == [
        "scenes · I · fine_tuned · policy fixed · voc/1",
        "scenes · I · frozen · policy fixed · voc/1",
        "scenes · I+S · frozen · policy fixed · voc/1",
    ]
    assert all(control in board.rows for board in found)
    assert [board.title for board in boards([control])] == ["scenes · policy fixed · voc/1"]


def test_what_one_run_scored_stays_together(row: Callable[..., Row]) -> None:
    def run(recipe: str, train: str, val: str) -> list[Row]:
        return [
            row(recipe=recipe, evaluation_fingerprint=train),
            row(recipe=recipe, stage="segmentation", evaluation_fingerprint=val),
        ]

    found = boards([*run("a", "train 1", "val 1"), *run("b", "train 2", "val 2"), *run("c", "train 1", "val 1")])
    assert [sorted({r.recipe for r in board.rows}) for board in found] == [["a", "c"], ["b"]]


def test_runs_of_one_recipe_with_two_option_sets_are_kept_apart(row: Callable[..., Row]) -> None:
    """What each of them scored stays together."""
    runs = [row(options=o, evaluation_fingerprint=f"train {o}") for o in ("a", "b")]
    runs += [row(options=o, stage="segmentation", evaluation_fingerprint=f"val {o}") for o in ("b", "a")]
    found = boards(runs)
    assert [sorted({r.options for r in board.rows}) for board in found] == [["a"], ["b"]]


def test_a_run_that_was_scored_twice_is_split(row: Callable[..., Row]) -> None:
    found = boards([row(stage="segmentation", split=split, evaluation_fingerprint=split) for split in ("val", "test")])
    assert [board.evaluations["segmentation"].split for board in found] == ["val", "test"]


def test_a_failed_row_that_knows_no_evaluation_fits_everywhere(row: Callable[..., Row]) -> None:
    failed = row(rng_seed=1, status="failed", reason="killed", evaluation_fingerprint="")
    assert [len(board.rows) for board in boards([row(), failed])] == [2]


def test_ceilings_stand_on_every_board_of_their_mode_and_have_none_of_their_own(row: Callable[..., Row]) -> None:
    ceiling, floor = row(recipe="full", supervision="M"), row(recipe="zero", training_mode="", supervision="")
    found = boards([ceiling, floor, row(), row(supervision="I+S"), row(training_mode="fine_tuned")])
    recipes = [sorted(r.recipe for r in board.rows) for board in found]
    assert recipes == [["cam", "zero"], ["cam", "full", "zero"], ["cam", "full", "zero"]]
    (alone,) = boards([ceiling, floor])
    assert {r.recipe for r in alone.rows} == {"full", "zero"}


def test_each_row_is_looked_at_a_few_times_however_many_there_are(
    row: Callable[..., Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = []

    def counting(rows: Iterable[Row]) -> dict[str, Evaluation]:
        rows = list(rows)
        looked_at.append(len(rows))
        return evaluations(rows)

    evaluations = boards_module._evaluations
    monkeypatch.setattr(boards_module, "_evaluations", counting)
    (board,) = boards([row(recipe=f"r{n}", options=f"{n:08x}") for n in range(50)])
    assert len(board.rows) == 50 and sum(looked_at) <= 3 * 50
