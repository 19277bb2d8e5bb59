"""Which assertions are hints to the type checker, and that our packages have no others."""

import pytest

from benchmarks.assertions import carrying_logic, found


@pytest.mark.parametrize(
    "hint", ["x is not None", "isinstance(x.y, A | B)", "x is not None and isinstance(x[0], A)", "callable(x)"]
)
def test_hints_may_be_left_out(hint: str) -> None:
    assert carrying_logic(f"a = 1\nassert {hint}") == []


@pytest.mark.parametrize(
    "logic",
    ["x", "x > 0", "load()", "load() is not None", "isinstance(x := 1, int)", "x is None", "x is not y"],
)
def test_all_else_is_logic(logic: str) -> None:
    assert carrying_logic(f"a = 1\nassert {logic}, 'why'") == [2]


def test_no_assertion_of_ours_carries_logic() -> None:
    assert list(found()) == []
