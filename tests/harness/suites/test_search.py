"""`search:` of a suite: what is refused, and how ranges are read."""

from typing import Any

import pytest
from pydantic import ValidationError

from harness.suites.reading import override
from harness.suites.search import Budget, Objective, Range, Search


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({}, "one of uniform"),
        ({"uniform": [0, 1], "choice": [1, 2]}, "one of uniform"),
        ({"uniform": [1, 1]}, "low < high"),
        ({"uniform": [0, float("nan")]}, "low < high"),
        ({"uniform": [0, float("inf")]}, "low < high"),
        ({"log_uniform": [0, 1]}, "above 0"),
        ({"choice": [3]}, "at least two values"),
        ({"choice": [3, 3]}, "at least two values"),
        ({"choice": [{"a": 1}, {"a": 1}]}, "at least two values"),
        ({"log_uniform": [1, 2], "step": 0.1}, "a step beside uniform or int"),
        ({"uniform": [0, 1], "step": 2}, "a step that fits"),
        ({"int": [1, 9], "step": 0.5}, "a whole step"),
        ({"int": [1.5, 9]}, "integer"),
        ("loose", "valid dictionary"),
    ],
)
def test_a_range_that_is_none_is_refused(content: object, expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        Range.model_validate(content)


def test_ranges_are_read_by_the_names_of_the_issue() -> None:
    assert Range.model_validate({"log_int": [1, 64]}).is_log
    assert Range.model_validate({"int": [1, 8]}).is_whole
    assert Range.model_validate("free").free
    assert Range.model_validate({"choice": [{"low": 1}, {"low": 2}]}).choice == ({"low": 1}, {"low": 2})


@pytest.mark.parametrize("policy", ["oracle", "fixed", "held_outs", "held_out(0)"])
def test_a_search_chooses_on_held_out_masks_alone(policy: str) -> None:
    for written in (policy, {"policy": policy}):
        with pytest.raises(Exception, match="held_out"):
            Objective.model_validate(written)
    assert Objective.model_validate("held_out(64)").masks == 64


def test_image_level_reads_no_mask() -> None:
    for written in ("image_level", {"scored": "pseudo_labels", "policy": "image_level"}):
        objective = Objective.model_validate(written)
        assert objective.is_image_level
    assert Objective(policy="held_out(64)").masks == 64


@pytest.mark.parametrize("content", [{}, {"trials": 0}, {"stage_seconds": 0}, {"hours": -1}])
def test_a_budget_of_nothing_is_refused(content: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Budget.model_validate(content)


def test_a_recipe_has_ranges_of_its_own_and_null_takes_one_away() -> None:
    search = Search.model_validate(
        {
            "ranges": {"a.x": {"uniform": [0, 1]}, "a.y": {"uniform": [0, 1]}},
            "ranges_of": {"cam": {"a.x": {"uniform": [2, 3]}, "a.y": None}},
        }
    )
    assert search.ranges_for("cam") == {"a.x": Range(uniform=(2, 3))}
    assert set(search.ranges_for("other")) == {"a.x", "a.y"}


def test_a_range_is_set_from_the_command_line_by_its_path() -> None:
    content: dict[str, Any] = {"search": {"ranges": {"localizer.hidden": {"choice": [0, 16]}}}}
    override(content, "search.ranges.localizer.hidden={choice: [8, 32]}")
    override(content, "search.ranges.refiners.0.iterations={int: [1, 5]}")
    override(content, "search.ranges_of.cam+pamr.localizer.hidden=null")
    assert content["search"] == {
        "ranges": {"localizer.hidden": {"choice": [8, 32]}, "refiners.0.iterations": {"int": [1, 5]}},
        "ranges_of": {"cam+pamr": {"localizer.hidden": None}},
    }
