"""`combine:` makes recipes of parts: their names and order, what goes over them, and one line for every mistake."""

from pathlib import Path
from typing import Any

import pytest

from harness.suites.combining import MOST
from harness.suites.suite import Suite, load_suite
from settings.errors import UserError

COMBINE = """
dataset: {name: scenes, classes: 2, size: 48, train: 4, dev: 2, val: 2}
combine:
  localizers: {cam: cam, wide: {name: cam, hidden: 16}}
  refiners: {none: [], affinity+pamr: [affinity, {name: pamr, size: 32}]}
  labelers:
    threshold: {labeler: {name: threshold, threshold: 0.5}}
    saliency: {cue: scenes, labeler: saliency, segmenter: none}
"""
NAMES = [
    *("cam", "cam+saliency", "cam+affinity+pamr", "cam+affinity+pamr+saliency"),
    *("wide", "wide+saliency", "wide+affinity+pamr", "wide+affinity+pamr+saliency"),
]


@pytest.fixture
def suite_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(COMBINE)
    return path


def written(suite: Suite, name: str) -> dict[str, Any]:
    """A recipe's parts as name and options."""
    recipe = suite.recipes[name]
    parts = {role: part for role in ("localizer", "cue", "labeler", "segmenter") if (part := getattr(recipe, role))}
    named = {role: {"name": part.name, **part.options} for role, part in parts.items()}
    return {**named, "refiners": [{"name": one.name, **one.options} for one in recipe.refiners]}


def test_every_localizer_with_every_chain_and_every_labeler(suite_file: Path) -> None:
    suite = load_suite(suite_file)
    assert list(suite.recipes) == NAMES
    assert written(suite, "cam") == {
        "localizer": {"name": "cam"},
        "labeler": {"name": "threshold", "threshold": 0.5},
        "refiners": [],
    }
    assert written(suite, "wide+affinity+pamr+saliency") == {
        "localizer": {"name": "cam", "hidden": 16},
        "cue": {"name": "scenes"},
        "labeler": {"name": "saliency"},
        "segmenter": {"name": "none"},
        "refiners": [{"name": "affinity"}, {"name": "pamr", "size": 32}],
    }


def test_without_refiners_there_is_one_chain_of_none(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("dataset: scenes\ncombine: {localizers: {cam: cam}, labelers: {t: {labeler: threshold}}}\n")
    assert written(load_suite(path), "cam") == {
        "localizer": {"name": "cam"},
        "labeler": {"name": "threshold"},
        "refiners": [],
    }


def test_recipes_are_merged_over_the_combinations(suite_file: Path) -> None:
    suite_file.write_text(
        COMBINE
        + """
recipes:
  wide: {labeler: {threshold: 0.45}}
  wide+saliency: {labeler: {name: threshold, rule: cue}}
  cam+saliency: null
  own: {localizer: cam, labeler: threshold}
"""
    )
    suite = load_suite(suite_file)
    assert list(suite.recipes) == [*(name for name in NAMES if name != "cam+saliency"), "own"]
    assert written(suite, "wide")["labeler"] == {"name": "threshold", "threshold": 0.45}
    assert written(suite, "wide")["localizer"] == {"name": "cam", "hidden": 16}
    assert written(suite, "wide+saliency")["labeler"] == {"name": "threshold", "rule": "cue"}
    assert written(suite, "cam")["labeler"]["threshold"] == 0.5


@pytest.mark.parametrize(
    ("override", "name", "role", "expected"),
    [
        ("combine.localizers.cam.training.epochs=3", "cam", "localizer", {"name": "cam", "training": {"epochs": 3}}),
        (
            "combine.labelers.threshold.labeler.threshold=0.4",
            "wide",
            "labeler",
            {"name": "threshold", "threshold": 0.4},
        ),
        ("recipes.wide.labeler.threshold=0.45", "wide", "labeler", {"name": "threshold", "threshold": 0.45}),
        ("recipes.cam+saliency.cue.blur=0.1", "cam+saliency", "cue", {"name": "scenes", "blur": 0.1}),
        ("combine.refiners.pamr=[pamr]", "cam+pamr", "refiners", [{"name": "pamr"}]),
    ],
)
def test_overrides_reach_parts_and_combinations(
    suite_file: Path, override: str, name: str, role: str, expected: object
) -> None:
    assert written(load_suite(suite_file, [override]), name)[role] == expected


@pytest.mark.parametrize(
    ("override", "left"),
    [
        ("recipes.cam+saliency=null", [name for name in NAMES if name != "cam+saliency"]),
        ("recipes={cam+saliency: null}", [name for name in NAMES if name != "cam+saliency"]),
        ("combine.localizers.cam=null", NAMES[4:]),
        ("combine.refiners.none=null", [name for name in NAMES if "affinity" in name]),
        # What is left keeps its name, also where the labeler that names leave out is gone.
        ("combine.labelers.threshold=null", [name for name in NAMES if "saliency" in name]),
        ("combine.labelers.saliency=null", [name for name in NAMES if "saliency" not in name]),
    ],
)
def test_null_takes_away_and_renames_nothing(suite_file: Path, override: str, left: list[str]) -> None:
    assert list(load_suite(suite_file, [override]).recipes) == left


def test_an_including_suite_adds_parts_and_changes_combinations(suite_file: Path) -> None:
    over = suite_file.with_name("over.yaml")
    over.write_text(
        "include: mine.yaml\n"
        "combine: {localizers: {wide: null, prior: centre_prior}, refiners: {affinity+pamr: null}}\n"
        "recipes: {prior: {labeler: {threshold: 0.6}}}\n"
    )
    suite = load_suite(over)
    assert list(suite.recipes) == ["cam", "cam+saliency", "prior", "prior+saliency"]
    assert written(suite, "prior")["labeler"] == {"name": "threshold", "threshold": 0.6}
    assert list(load_suite(over, ["combine=null", "recipes={a: {labeler: all_background}}"]).recipes) == ["a"]


def test_variables_in_parts_are_expanded(suite_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAPS", "/maps")
    suite = load_suite(suite_file, ["combine.localizers.mine={name: folder, root: '${MAPS}', supervision: I}"])
    assert written(suite, "mine")["localizer"]["root"] == "/maps"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("combine=3", ["--set combine=3: found 3", "a mapping"]),
        ("combine.labeler={}", ["--set combine.labeler={}", "unknown key 'labeler'", "did you mean 'labelers'?"]),
        ("combine.labelers.saliency.cu=scenes", ["unknown key 'cu'", "did you mean 'cue'?"]),
        ("combine.labelers.bare={cue: scenes}", ["combine.labelers.bare={cue: scenes}: found nothing"]),
        ("combine.localizers={}", ["combine.localizers", "at least 1"]),
        ("combine.refiners.affinity=affinity", ["'affinity'", "expected a list"]),
        ("combine.localizers={../cam: cam}", ["combine.localizers", "../cam"]),
        ("combine.localizers.wide+saliency=cam", ["combine: found two combinations named 'wide+saliency'", "rename"]),
        ("recipes.cam+salient.labeler.fg=0.2", ["unknown recipe", "did you mean 'cam+saliency'?"]),
    ],
)
def test_a_mistake_is_one_line_that_names_it(suite_file: Path, override: str, words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        load_suite(suite_file, [override])
    message = str(error.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_a_change_to_a_combination_that_there_is_not_is_answered_with_the_nearest(suite_file: Path) -> None:
    suite_file.write_text(COMBINE + "recipes: {cam+salient: {labeler: {fg: 0.2}}}\n")
    with pytest.raises(UserError, match=r"mine\.yaml\.recipes\.cam\+salient: .* did you mean 'cam\+saliency'\?"):
        load_suite(suite_file)


def test_more_combinations_than_anybody_wants_are_refused(suite_file: Path) -> None:
    count = MOST // 4 + 1
    parts = ", ".join(f"c{number}: cam" for number in range(count))
    with pytest.raises(UserError, match=f"found {count * 4} combinations; expected at most {MOST}"):
        load_suite(suite_file, [f"combine.localizers={{{parts}}}"])


def test_a_localizer_may_have_chains_of_its_own(suite_file: Path) -> None:
    own = "combine.refiners_of={wide: {affinity+pamr: [{name: affinity, low: 1.0}, pamr]}}"
    recipes = load_suite(suite_file, (own,)).recipes
    assert recipes["wide+affinity+pamr+saliency"].refiners[0].options == {"low": 1.0}
    assert recipes["cam+affinity+pamr"].refiners[0].options == {}
    assert recipes["wide"].refiners == ()
    with pytest.raises(UserError, match=r"unknown localizer 'wid'.*did you mean 'wide'"):
        load_suite(suite_file, ("combine.refiners_of={wid: {none: []}}",))
    with pytest.raises(UserError, match="unknown refiners 'pamr'"):
        load_suite(suite_file, ("combine.refiners_of={wide: {pamr: [pamr]}}",))


def test_what_is_said_of_a_combination_goes_with_it(suite_file: Path) -> None:
    change = "recipes={wide+affinity+pamr: {labeler: {threshold: 0.2}}}"
    assert "wide+affinity+pamr" in load_suite(suite_file, (change,)).recipes
    assert list(load_suite(suite_file, (change, "combine.localizers.wide=null")).recipes) == NAMES[:4]
