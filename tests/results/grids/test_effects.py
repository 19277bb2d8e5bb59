"""Effects as contrasts: on made cells whose effects are known they are these, with cells missing too."""

from collections.abc import Callable, Mapping

import pytest

from results.grids.design import FULL, ONE_AT_A_TIME, CellLevels, Design, Factor, fraction, level_sets
from results.grids.effects import effects, missing_for_effects

A, B, C = (Factor(name, ("on", "off")) for name in "abc")
R = Factor("r", ("3", "0", "1"))
Score = Callable[[CellLevels], float]


def design_of(factors: tuple[Factor, ...], kind: str = FULL, resolution: int = 0) -> Design:
    relation = fraction(len(factors), resolution) if resolution else ()
    cells = {"-".join(map(str, levels)): levels for levels in level_sets(factors, kind, relation)}
    words = tuple(tuple(factors[place].name for place in sorted(word)) for word in relation)
    return Design(next(iter(cells)), kind, factors, cells, words)


def found(design: Design, score: Score, without: frozenset[str] = frozenset()) -> Mapping[str, float]:
    told = effects(design, set(design.cells) - without)
    for effect in told:
        assert sum(effect.weights.values()) == pytest.approx(0)
    return {
        effect.name: sum(weight * score(design.cells[name]) for name, weight in effect.weights.items())
        for effect in told
    }


def score(levels: CellLevels) -> float:
    """a takes 0.2 away and b 0.1, both together 0.05 more; r adds what it is."""
    off = [level == "off" for level in levels[:2]]
    return (
        0.7 - 0.2 * off[0] - 0.1 * off[1] - 0.05 * all(off) + {"3": 0.0, "0": -0.03, "1": 0.01}.get(str(levels[2]), 0)
    )


def test_effects_of_a_full_design_are_the_known_ones() -> None:
    # Half of the pairs of a have b changed, and the 0.05 with it.
    assert found(design_of((A, B, R)), score) == pytest.approx(
        {
            "a: on → off": -0.225,
            "b: on → off": -0.125,
            "r: 3 → 0": -0.03,
            "r: 3 → 1": 0.01,
            "a × b": -0.05,
            "a × r: 0": 0.0,
            "a × r: 1": 0.0,
            "b × r: 0": 0.0,
            "b × r: 1": 0.0,
        }
    )


def test_pairs_with_a_missing_cell_drop_out() -> None:
    told = found(design_of((A, B, R)), score, frozenset({"off-off-3", "off-off-0"}))
    # Of the six pairs of a four are left, one of them with b changed.
    assert told["a: on → off"] == pytest.approx(-0.2 - 0.05 / 4)
    assert told["a × b"] == pytest.approx(-0.05)
    assert "a × b" not in found(design_of((A, B, R)), score, frozenset({"off-off-3", "off-off-0", "off-off-1"}))


def test_a_factor_that_means_nothing_is_read_where_it_means_something() -> None:
    conditional = Factor("b", ("on", "off"), {"a": ("on",)})
    design = design_of((A, conditional, C))
    told = found(design, lambda levels: 0.5 - 0.2 * (levels[0] == "off") - 0.1 * (levels[1] == "off"))
    # Without a there is no b: a is read where b is as in the full method, and there is no interaction of the two.
    assert told == pytest.approx({"a: on → off": -0.2, "b: on → off": -0.1, "c: on → off": 0, "a × c": 0, "b × c": 0})


def test_one_at_a_time_has_no_effects_beside_its_cells() -> None:
    assert effects(design_of((A, B, R), ONE_AT_A_TIME), {"on-on-3", "off-on-3"}) == []


def test_a_fraction_gives_main_effects_and_tells_what_is_mixed_up() -> None:
    four = (A, B, C, Factor("d", ("on", "off")))
    design = design_of(four, resolution=4)
    told = effects(design, set(design.cells))
    assert {effect.name: effect.mixed_with for effect in told} == {
        **{f"{name}: on → off": () for name in "abcd"},
        "a × b": ("c × d",),
        "a × c": ("b × d",),
        "a × d": ("b × c",),
    }

    def additive(levels: CellLevels) -> float:
        off = [level == "off" for level in levels]
        return 0.1 * off[0] - 0.2 * off[1] + 0.04 * (off[2] and off[3])

    values = found(design, additive)
    # An interaction of two shows in half of the pairs of each.
    mains = {"a: on → off": 0.1, "b: on → off": -0.2, "c: on → off": 0.02, "d: on → off": 0.02}
    assert values == pytest.approx({**mains, "a × b": 0.04, "a × c": 0.0, "a × d": 0.0})


def test_a_fraction_with_a_cell_missing_tells_nothing() -> None:
    design = design_of((A, B, C), resolution=3)
    name = list(design.cells)[2]
    assert missing_for_effects(design, set(design.cells) - {name}) == (name,)
    assert effects(design, set(design.cells) - {name}) == []
    assert missing_for_effects(design_of((A, B)), set()) == ()
