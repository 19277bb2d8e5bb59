"""`grid:` makes recipes of cells: what they are called and change, what is skipped, and one line for every mistake."""

from pathlib import Path
from typing import Any

import pytest

from harness.stages.planning import make_plan
from harness.suites.suite import Suite, load_suite
from settings.errors import UserError

TINY = """
dataset: {name: scenes, classes: 2, size: 48, train: 4, dev: 2, val: 2}
backbone: {name: test_efficientnet, weights: random, size: 64}
policies: {fixed: pseudo_labels}
recipes:
  co:
    localizer: {name: coattention, scaled_pairs: []}
    labeler: threshold
"""
EXAMPLE = (
    TINY
    + """
grid:
  of: co
  factors:
    common:      {on: {}, off: {localizer.inference: basic}}
    contrastive: {on: {}, off: {localizer.contrastive: false}}
    references:  {3: {}, 0: {localizer.references: 0}}
  design: full            # full | one_at_a_time | fractional(4)
"""
)


def suite_of(text: str, tmp_path: Path, *overrides: str) -> Suite:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return load_suite(path, overrides)


def grid_of(grid: str, tmp_path: Path, *overrides: str) -> Suite:
    return suite_of(f"{TINY}\ngrid: {{of: co, {grid}}}\n", tmp_path, *overrides)


def localizer(suite: Suite, name: str) -> dict[str, Any]:
    spec = suite.recipes[name].localizer
    assert spec is not None
    return spec.options


def test_every_combination_of_levels_is_a_recipe(tmp_path: Path) -> None:
    suite = suite_of(EXAMPLE, tmp_path)
    assert list(suite.recipes) == [
        *("co", "co--references-0", "co--contrastive-off", "co--contrastive-off--references-0"),
        *("co--common-off", "co--common-off--references-0", "co--common-off--contrastive-off"),
        "co--common-off--contrastive-off--references-0",
    ]
    changed = {"scaled_pairs": [], "inference": "basic", "contrastive": False, "references": 0}
    assert localizer(suite, "co--common-off--contrastive-off--references-0") == changed
    assert localizer(suite, "co") == {"scaled_pairs": []}
    rows = {make_plan(suite).graph[ref].identity.row.recipe for ref in make_plan(suite).rows}  # type: ignore[attr-defined]
    assert rows == set(suite.recipes)


def test_one_at_a_time_and_fractions(tmp_path: Path) -> None:
    one = suite_of(EXAMPLE, tmp_path, "grid.design=one_at_a_time")
    assert list(one.recipes) == ["co", "co--common-off", "co--contrastive-off", "co--references-0"]
    half = suite_of(EXAMPLE, tmp_path, "grid.design=fractional(3)")
    assert list(half.recipes) == [
        *("co", "co--contrastive-off--references-0", "co--common-off--references-0"),
        "co--common-off--contrastive-off",
    ]
    assert half.grid is not None
    assert half.grid.design_with({}).words == (("common", "contrastive", "references"),)


def test_a_change_of_the_recipe_is_one_of_all_cells(tmp_path: Path) -> None:
    suite = suite_of(EXAMPLE, tmp_path, "recipes.co.localizer.hidden=8", "grid.factors.references=null")
    assert {localizer(suite, name)["hidden"] for name in suite.recipes} == {8} and len(suite.recipes) == 4


def test_levels_change_whole_components_options_in_mappings_and_bare_names(tmp_path: Path) -> None:
    levels = "{co: {}, cam: {localizer: cam}, wide: {localizer: {hidden: 16}, labeler.rule: power}}"
    suite = grid_of(f"factors: {{method: {levels}}}", tmp_path)
    assert suite.recipes["co--method-cam"].localizer == load_suite("smoke").recipes["cam"].localizer.model_copy(  # type: ignore[union-attr]
        update={"options": {}}
    )
    assert localizer(suite, "co--method-wide") == {"scaled_pairs": [], "hidden": 16}
    labeler = suite.recipes["co--method-wide"].labeler
    assert labeler is not None and (labeler.name, labeler.options) == ("threshold", {"rule": "power"})


def test_the_first_levels_are_the_full_method(tmp_path: Path) -> None:
    suite = grid_of("factors: {hidden: {wide: {localizer.hidden: 32}, thin: {localizer.hidden: 8}}}", tmp_path)
    assert {name: localizer(suite, name)["hidden"] for name in suite.recipes} == {"co": 32, "co--hidden-thin": 8}


def test_what_means_nothing_in_a_cell_makes_no_other(tmp_path: Path) -> None:
    suite = suite_of(EXAMPLE + "  when: {references: {common: on, contrastive: [on, off]}}\n", tmp_path)
    assert suite.grid is not None
    cells = suite.grid.design_with({}).cells
    assert list(cells)[-2:] == ["co--common-off", "co--common-off--contrastive-off"] and len(cells) == 6
    assert cells["co--common-off"] == ("off", "on", None)


def test_a_cell_is_taken_away_as_any_recipe_is(tmp_path: Path) -> None:
    suite = suite_of(EXAMPLE, tmp_path, "grid.design=one_at_a_time", "recipes.co--common-off=null")
    assert list(suite.recipes) == ["co", "co--contrastive-off", "co--references-0"]


def test_a_factor_that_is_taken_away_takes_its_conditions_along(tmp_path: Path) -> None:
    text = EXAMPLE + "  when: {references: {common: on, contrastive: on}, contrastive: {common: on}}\n"
    suite = suite_of(text, tmp_path, "grid.factors.common=null", "grid.design=full")
    assert list(suite.recipes) == ["co", "co--references-0", "co--contrastive-off"]
    assert list(suite_of(text, tmp_path, "grid=null").recipes) == ["co"]


def test_a_number_among_conditions_is_the_level_of_that_name(tmp_path: Path) -> None:
    factors = "factors: {refs: {3: {}, 0: {localizer.references: 0}}, max: {off: {}, on: {localizer.fusion: max}}}"
    suite = grid_of(f"{factors}, when: {{max: {{refs: 3}}}}", tmp_path)
    assert list(suite.recipes) == ["co", "co--max-on", "co--refs-0"]


def test_cells_that_cannot_be_are_skipped_with_the_reason(tmp_path: Path) -> None:
    factors = """factors: {
        read: {common: {}, affinity: {localizer.inference: affinity}, wide: {localizer: {hidden: 8}}},
        refs: {3: {}, 0: {localizer.references: 0}}, cue: {none: {}, c2am: {cue: c2am}},
        narrow: {off: {}, on: {localizer.hidden: 4}}}"""
    suite = grid_of(factors, tmp_path)
    plan = make_plan(suite)
    told = plan.skipped
    assert told["co--read-wide--narrow-on"] == "read and narrow both change localizer.hidden"
    assert told["co--read-affinity--refs-0"].endswith("references: 1 or more, for inference: affinity")
    assert told["co--cue-c2am"].endswith("expected none, since labeler 'threshold' does not read it")
    assert {plan.graph[ref].identity.row.recipe for ref in plan.rows} == {  # type: ignore[attr-defined]
        *("co", "co--read-affinity", "co--read-wide", "co--refs-0", "co--narrow-on", "co--read-wide--refs-0"),
        *("co--read-affinity--narrow-on", "co--refs-0--narrow-on"),
    }
    assert any(note.endswith("read and narrow both change localizer.hidden") for note in plan.notes)


def test_the_full_method_must_be_possible_and_a_typo_is_a_mistake_in_every_cell(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not read it"):
        make_plan(grid_of("factors: {refs: {3: {}, 0: {localizer.references: 0}}}", tmp_path, "recipes.co.cue=c2am"))
    with pytest.raises(UserError, match=r"unknown key 'refrences'.*did you mean 'references'"):
        make_plan(grid_of("factors: {refs: {3: {}, 0: {localizer.refrences: 0}}}", tmp_path))


def test_cells_stand_where_their_recipe_stands(tmp_path: Path) -> None:
    text = EXAMPLE + "settings: {clean: {}, shuffled: {}}\nrecipes_of: {shuffled: [co], clean: [other]}\n"
    text = text.replace("  co:\n", "  other: {localizer: cam, labeler: threshold}\n  co:\n")
    suite = suite_of(text, tmp_path, "grid.design=one_at_a_time")
    assert suite.recipes_of["clean"] == ("other",)
    assert suite.recipes_of["shuffled"] == ("co", "co--common-off", "co--contrastive-off", "co--references-0")


TWO = "a: {on: {}, off: {localizer.hidden: 8}}"


@pytest.mark.parametrize(
    ("grid", "line"),
    [
        ("factors: {a: {on: {}}}", "mine.yaml.grid.factors.a: found 1 level; expected two or more"),
        ("factors: {}", "mine.yaml.grid.factors: found {}; expected"),
        (f"factors: {{{TWO}}}, desing: full", "unknown key 'desing'; expected one of"),
        (f"factors: {{{TWO}}}, design: half", "mine.yaml.grid.design: found 'half'; expected full, one_at_a_time or"),
        (f"factors: {{{TWO}}}, design: fractional(2)", "expected full, one_at_a_time or fractional(R) with a"),
        (
            "factors: {a: {1: {}, 2: {localizer.hidden: 8}, 3: {localizer.hidden: 9}}}, design: fractional(3)",
            "found 'fractional(3)' with 3 levels of a; expected two levels of every factor; design: full",
        ),
        (f"factors: {{{TWO}}}, when: {{b: {{a: on}}}}", "mine.yaml.grid.when: found unknown factor 'b'"),
        (f"factors: {{{TWO}}}, when: {{a: {{a: on}}}}", "mine.yaml.grid.when.a: found unknown factor before it 'a'"),
        (
            f"factors: {{{TWO}, b: {{x: {{}}, y: {{localizer.references: 0}}}}}}, when: {{b: {{a: of}}}}",
            "mine.yaml.grid.when.b.a: found unknown level 'of'; expected one of off, on; did you mean 'off'?",
        ),
        (
            f"factors: {{{TWO}, b: {{x: {{}}, y: {{localizer.references: 0}}}}}}, when: {{b: {{a: off}}}}, "
            "design: one_at_a_time",
            "found b, which means nothing in the full method; expected no such factor one_at_a_time; design: full",
        ),
        (
            "factors: {a: {on: {}, off: {localizer.inference: basic, labeler.threshold: 0.5}}}",
            "mine.yaml.grid.factors.a.off: found a threshold of its own, which level on has not; expected no cell that",
        ),
        (f"factors: {{{TWO}}}, variance: true, design: one_at_a_time", "mine.yaml.grid.variance: found variance: true"),
        ("factors: {a/b: {on: {}, off: {}}}", "grid.factors.a/b"),
        ("factors: {a: {on: {}, off: [localizer]}}", "expected a mapping"),
        (
            "factors: {a: {on: {}, b-c: {localizer.hidden: 8}}, a-b: {on: {}, c: {localizer.hidden: 9}}}",
            "mine.yaml.grid: found two recipes named 'co--a-b-c'; expected one; rename a factor or a level",
        ),
    ],
)
def test_every_mistake_is_one_line(grid: str, line: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        grid_of(grid, tmp_path)
    assert line in str(raised.value) and "\n" not in str(raised.value)


def test_a_recipe_that_there_is_not_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine.yaml.grid.of: found unknown recipe 'oc'.*did you mean 'co'"):
        suite_of(EXAMPLE.replace("of: co\n", "of: oc\n"), tmp_path)


def test_too_many_cells_are_counted_and_not_made(tmp_path: Path) -> None:
    factors = ", ".join(f"f{n}: {{on: {{}}, off: {{localizer.hidden: {n}}}}}" for n in range(30))
    with pytest.raises(UserError, match=r"found 1073741824 cells; expected at most 10000; design: fractional\(4\)"):
        grid_of(f"factors: {{{factors}}}", tmp_path)
    with pytest.raises(UserError, match=r"of 30 factors; expected at most 11"):
        grid_of(f"factors: {{{factors}}}, design: fractional(4)", tmp_path)


def test_thresholds_that_every_level_declares_are_told(tmp_path: Path) -> None:
    levels = "{co: {labeler.threshold: 0.97}, cam: {localizer: cam, labeler.threshold: 0.62}}"
    suite = grid_of(f"factors: {{method: {levels}, cut: {{a: {{}}, b: {{localizer.hidden: 4}}}}}}", tmp_path)
    assert suite.grid is not None and suite.grid.declares == ("method",)
    # A factor that is the threshold and nothing else may leave the full method's as it is.
    alone = grid_of("factors: {threshold: {0.3: {}, 0.5: {labeler.threshold: 0.5}}}", tmp_path)
    assert list(alone.recipes) == ["co", "co--threshold-0.5"]
