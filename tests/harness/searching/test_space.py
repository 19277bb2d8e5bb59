"""Spaces: unknown options, bounds, conditional options, and recipes made of values."""

from typing import Any

import pytest

from harness.searching.space import check_paths, label_within, space_of
from settings.errors import UserError
from tests.harness.searching.pretended import suite_of

RATE = "localizer.training.learning_rate"


def space(**ranges: Any) -> Any:
    return space_of("cam", suite_of(ranges={path.replace("__", "."): value for path, value in ranges.items()}))


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("localizer.training.learning_rat", RATE),
        ("refiners.0.iteration", "refiners.0.iterations"),
        ("refiners.1.iterations", "refiners.0.iterations"),
        ("labeler.treshold", "labeler.threshold"),
    ],
)
def test_an_unknown_option_is_answered_with_the_nearest(path: str, nearest: str) -> None:
    with pytest.raises(UserError, match=f"did you mean '{nearest}'"):
        check_paths(["cam"], suite_of(ranges={path: {"uniform": [0, 1]}}))


@pytest.mark.parametrize(
    ("path", "written", "expected"),
    [
        (RATE, {"log_uniform": [0.005, 50]}, "50"),
        ("refiners.0.iterations", {"int": [0, 5]}, "greater than or equal to 1"),
        ("refiners.0.iterations", {"uniform": [1, 5]}, "whole number"),
        ("localizer.hidden", {"choice": [16, "many"]}, "whole number"),
        ("localizer", {"choice": ["cam", "camm"]}, "camm"),
    ],
)
def test_values_that_the_option_refuses_are_refused_before_anything_is_run(
    path: str, written: object, expected: str
) -> None:
    with pytest.raises(UserError, match=expected) as raised:
        space_of("cam", suite_of(ranges={path: written}))
    assert path in str(raised.value)


def test_a_stepped_range_fits_an_option_of_steps() -> None:
    assert space(labeler__threshold={"uniform": [0.1, 0.5], "step": 0.01}).dimensions
    with pytest.raises(UserError, match="multiple of"):
        space(labeler__threshold={"uniform": [0.1, 0.5]})


def test_a_free_threshold_is_no_dimension() -> None:
    found = space(labeler__threshold="free", localizer__hidden={"choice": [0, 16]})
    assert found.threshold_is_free
    assert [each.path for each in found.dimensions] == ["localizer.hidden"]
    with pytest.raises(UserError, match=r"labeler\.threshold alone"):
        space(localizer__hidden="free")


def test_values_make_a_recipe_and_leave_the_suites_own_alone() -> None:
    suite = suite_of()
    found = space_of("cam", suite)
    recipe = found.recipe_of({RATE: 0.2, "refiners.0.iterations": 3})
    assert recipe.localizer and recipe.refiners
    assert recipe.localizer.options == {"hidden": 16, "training": {"epochs": 2, "learning_rate": 0.2}}
    assert recipe.refiners[0].options == {"iterations": 3}
    assert suite.recipes["cam"].refiners[0].options == {"iterations": 10}
    assert found.defaults(suite) == {RATE: 0.05, "refiners.0.iterations": 10}
    assert [found.step_of(each) for each in found.dimensions] == [0, 1]


def test_options_of_a_component_are_there_only_where_it_is_chosen() -> None:
    coattention = {"name": "coattention", "scaled_pairs": []}
    found = space(localizer={"choice": ["cam", coattention]}, localizer__references={"int": [1, 4]})
    component, references = found.dimensions
    assert (component.path, references.path) == ("localizer", "localizer.references")
    assert not found.is_active(references, {"localizer": "cam"})
    assert found.is_active(references, {"localizer": coattention})
    recipe = found.recipe_of({"localizer": coattention, "localizer.references": 2})
    assert recipe.localizer
    assert (recipe.localizer.name, recipe.localizer.options) == ("coattention", {"scaled_pairs": [], "references": 2})


def test_a_condition_is_one_of_values() -> None:
    written = {"int": [1, 5], "when": {"localizer.hidden": 32}}
    found = space(localizer__hidden={"choice": [16, 32]}, refiners__0__iterations=written)
    iterations = found.dimensions[1]
    assert found.is_active(iterations, {"localizer.hidden": 32})
    assert not found.is_active(iterations, {"localizer.hidden": 16})


@pytest.mark.parametrize(("wanted", "is_there"), [(True, True), (False, False)])
def test_a_condition_holds_of_an_option_that_the_recipe_leaves_at_its_default(wanted: bool, is_there: bool) -> None:
    found = space(localizer__hidden={"choice": [16, 32], "when": {"localizer.flip": wanted}})
    assert found.is_active(found.dimensions[0], {}) == is_there


def test_what_a_condition_names_comes_first_however_ranges_are_written() -> None:
    iterations = {"int": [1, 5], "when": {"localizer.hidden": 32}}
    found = space(refiners__0__iterations=iterations, localizer__hidden={"choice": [16, 32]})
    assert [each.path for each in found.dimensions] == ["localizer.hidden", "refiners.0.iterations"]
    hidden = {"choice": [16, 32], "when": {"refiners.0.iterations": 3}}
    with pytest.raises(UserError, match="circle"):
        space(refiners__0__iterations=iterations, localizer__hidden=hidden)


def test_a_chain_that_is_no_list_is_one_line() -> None:
    for wrong in (3, "pamr"):
        with pytest.raises(UserError, match="refiners"):
            space(refiners={"choice": [[], wrong]})


def test_a_step_so_small_that_nobody_comes_to_the_end_is_refused() -> None:
    with pytest.raises(ValueError, match="thousand million"):
        suite_of(ranges={RATE: {"uniform": [0.1, 1.0], "step": 1e-320}})


def test_a_mistake_in_one_recipes_own_ranges_is_told_as_such() -> None:
    suite = suite_of(ranges_of={"cam": {"localizer.hiden": {"choice": [0, 16]}}})
    with pytest.raises(UserError, match=r"search\.ranges_of\.cam\.localizer\.hiden"):
        check_paths(["cam"], suite)
    with pytest.raises(UserError, match=r"search\.ranges_of\.cam\.localizer\.hidden"):
        space_of("cam", suite_of(ranges_of={"cam": {"localizer.hidden": {"choice": [0, "many"]}}}))


def test_image_level_refuses_what_it_does_not_read() -> None:
    with pytest.raises(UserError, match="image_level does not read"):
        space_of("cam", suite_of(objective="image_level"))
    with pytest.raises(UserError, match="reads masks"):
        space_of("cam", suite_of(objective="image_level", ranges={"labeler.threshold": "free"}))


def test_components_are_told_by_their_names_where_these_differ() -> None:
    wide, narrow = {"name": "cam", "hidden": 64}, {"name": "cam", "hidden": 16}
    (localizer,) = space(localizer={"choice": [narrow, {"name": "coattention", "hidden": 16}]}).dimensions
    assert label_within(localizer, narrow) == "cam"
    (localizer,) = space(localizer={"choice": [narrow, wide]}).dimensions
    assert label_within(localizer, wide) == '{"hidden": 64, "name": "cam"}'
    (chain,) = space(refiners={"choice": [["pamr"], [{"name": "pamr"}, "pamr"], []]}).dimensions
    assert [label_within(chain, value) for value in chain.range.choice] == ["pamr", "pamr + pamr", "none"]
