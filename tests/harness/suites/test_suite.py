"""Reading suites: includes, overrides, variables, and one line for every mistake."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stages.planning import make_plan
from harness.suites.suite import load_suite, ready_suites
from methods.surroundings import BackboneOptions
from settings.errors import UserError

BASE = """
dataset: {name: scenes, classes: 2, size: 48, train: 4, dev: 2, val: 2}
recipes:
  cam: {localizer: cam, labeler: threshold}
"""


@pytest.fixture
def suite_file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(BASE)
    return path


@pytest.mark.parametrize("name", ready_suites())
def test_every_ready_suite_is_valid(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_REAL_DATA", "/data")
    suite = load_suite(name)
    assert suite.name == name
    assert suite.all_recipes()


def test_a_bare_name_is_a_component_without_options(suite_file: Path) -> None:
    suite = load_suite(suite_file)
    localizer = suite.recipes["cam"].localizer
    assert localizer is not None
    assert (localizer.name, localizer.options) == ("cam", {})
    assert suite.dataset.options["classes"] == 2
    assert suite.name == "mine"


def test_an_override_reaches_into_a_component_written_as_a_name(suite_file: Path) -> None:
    suite = load_suite(suite_file, ["recipes.cam.localizer.training.epochs=3", "rng_seeds=[0, 1]"])
    localizer = suite.recipes["cam"].localizer
    assert localizer is not None
    assert localizer.options == {"training": {"epochs": 3}}
    assert suite.rng_seeds == (0, 1)


def test_an_include_is_merged_key_by_key(suite_file: Path) -> None:
    over = suite_file.with_name("over.yaml")
    over.write_text("include: mine.yaml\ndataset: {size: 64}\nrng_seeds: [5]\n")
    suite = load_suite(over)
    assert suite.dataset.options == {"classes": 2, "size": 64, "train": 4, "dev": 2, "val": 2}
    assert suite.rng_seeds == (5,)
    assert suite.name == "over"


def test_another_backbone_sees_photos_at_the_size_of_the_suite(suite_file: Path) -> None:
    suite_file.write_text(BASE + "backbone: {name: resnet18, weights: random, output_stride: 8, size: 64}\n")
    over = suite_file.with_name("over.yaml")
    over.write_text("include: mine.yaml\nbackbone: {name: tf_efficientnet_lite2}\n")
    assert load_suite(over).backbone == BackboneOptions(name="tf_efficientnet_lite2", size=64)
    over.write_text("include: mine.yaml\nbackbone: {name: tf_efficientnet_lite2, size: 96}\n")
    assert load_suite(over).backbone.size == 96


@pytest.mark.parametrize("override", ["settings=[clean]", "settings={clean: {}}", "settings.web=null"])
def test_what_is_said_of_a_setting_goes_with_it(suite_file: Path, override: str) -> None:
    said = "settings: {clean: {}, web: {source: scenes}}\nrng_seeds_of: {web: [0]}\nrecipes_of: {web: [cam]}\n"
    suite_file.write_text(BASE + said)
    suite = load_suite(suite_file, [override])
    assert (list(suite.settings), suite.rng_seeds_of, suite.recipes_of) == (["clean"], {}, {})
    with pytest.raises(UserError, match=r"unknown setting 'wob'; expected one of clean, web"):
        load_suite(suite_file, ["rng_seeds_of={wob: [1]}"])


def test_what_is_said_of_a_recipe_goes_with_it(suite_file: Path) -> None:
    suite_file.write_text(BASE + "  other: {localizer: cam, labeler: threshold}\nrecipes_of: {clean: [cam, other]}\n")
    suite = load_suite(suite_file, ["recipes={cam: {localizer: cam, labeler: threshold}}"])
    assert (list(suite.recipes), suite.recipes_of) == (["cam"], {"clean": ("cam",)})


def test_a_name_and_a_description_are_of_one_suite_only(suite_file: Path) -> None:
    suite_file.write_text(BASE + "name: base\ndescription: What the base is for.\n")
    over = suite_file.with_name("over.yaml")
    over.write_text("include: mine.yaml\n")
    assert (load_suite(over).name, load_suite(over).description) == ("over", "")
    over.write_text("include: mine.yaml\ndescription: Its own.\n")
    assert load_suite(over).description == "Its own."


def test_an_unknown_key_is_told_before_what_is_missing_because_of_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("inclde: scenes-leaderboard\n")
    with pytest.raises(UserError, match=r"mine\.yaml\.inclde: found unknown key 'inclde'"):
        load_suite(path)


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        (["gallery=x"], "--set gallery=x: found 'x'"),
        (["gallery=x", "gallery=y"], "--set gallery=y: found 'y'"),
        (["rng_seeds=[1, -0.5]"], "--set rng_seeds=[1, -0.5]: found -0.5"),
        (["references=[floor]"], "--set references=[floor]: found unknown reference"),
        (["backbone.siz=64"], "--set backbone.siz=64: found unknown key 'siz'"),
        (["gallery=2"], "mine.yaml.training_mode: found 'thawed'"),
        (["training=2"], "--set training=2: found unknown key 'training'"),
    ],
)
def test_what_an_override_got_wrong_is_told_of_the_override(suite_file: Path, overrides: list[str], place: str) -> None:
    suite_file.write_text(BASE + "training_mode: thawed\n" if "mine" in place else BASE)
    with pytest.raises(UserError) as error:
        load_suite(suite_file, overrides)
    assert str(error.value).startswith(place)


def test_another_component_takes_none_of_the_old_ones_options(suite_file: Path) -> None:
    over = suite_file.with_name("over.yaml")
    over.write_text("include: mine.yaml\ndataset: {name: folder, root: /data}\n")
    assert load_suite(over).dataset.options == {"root": "/data"}


def test_variables_are_expanded(suite_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite_file.write_text(BASE + "description: in ${PLACE}\n")
    monkeypatch.setenv("PLACE", "a field")
    assert load_suite(suite_file).description == "in a field"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("backbon: {}", ["backbon", "did you mean 'backbone'?"]),
        ("policies: [1]", ["mine.yaml.policies", "found [1]", "a mapping"]),
        ("rng_seeds: 1", ["mine.yaml.rng_seeds", "found 1", "a list"]),
        ("backbone: 3", ["backbone", "a mapping"]),
        ("description: [1]", ["description", "expected text"]),
        ("gallery: x", ["gallery", "a whole number"]),
        ("gallery: 1.5", ["gallery", "a whole number"]),
        ("backbone: {siz: 64}", ["backbone.siz", "did you mean 'size'?"]),
        ("backbone: {size: 33}", ["backbone.size", "33", "multiple of 32"]),
        ("rng_seeds: [0, 0]", ["rng_seeds", "expected distinct rng seeds that"]),
        ("rng_seeds: []", ["rng_seeds", "at least 1"]),
        ("references: [all-backgrund]", ["references", "did you mean 'all-background'?"]),
        ("policies: {best: maps}", ["policies", "best"]),
        ("description: ${NOT_SET_ANYWHERE}", ["NOT_SET_ANYWHERE", "not set"]),
        ("name: ../x", ["name", "../x"]),
        ("rng_seeds: [1]\nrng_seeds: [2]", ["rng_seeds", "twice"]),
        ("declared_on: {dev: 0}", ["mine.yaml.declared_on.dev", "found 0", "greater than or equal to 1"]),
        ("declared_on: [dev]", ["mine.yaml.declared_on", "a mapping"]),
        ("description: !!python/object/apply:os.system [ls]", ["YAML"]),
        ("a: &a [1]\nb: [*a, *a]", ["alias"]),
        ("include: nowhere", ["nowhere", "unknown suite"]),
        ("include: mine.yaml", ["include of itself"]),
        ("include: [3]", ["include", "3"]),
        ("- a list", ["YAML"]),
        ("{", ["YAML"]),
    ],
)
def test_a_mistake_is_one_line_that_names_it(suite_file: Path, change: str, words: list[str]) -> None:
    suite_file.write_text(BASE + change)
    with pytest.raises(UserError) as error:
        load_suite(suite_file)
    message = str(error.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("recipes.cam.localizer.name=cma", ["recipes.cam.localizer", "cma", "did you mean 'cam'?"]),
        ("recipes.cam.localizer.training.epoch=3", ["training.epoch", "did you mean 'epochs'?"]),
        ("recipes.cam.localizer.training.epochs=-1", ["training.epochs", "-1", "greater than or equal to 1"]),
        ("recipes.cam.labeler.threshold=0.355", ["threshold", "0.355", "multiple of 0.01"]),
        ("recipes.cam.localizer=null", ["recipes.cam.localizer", "a localizer, since labeler 'threshold' needs one"]),
        ("recipes.cam.cue=scenes", ["recipes.cam.cue", "none, since labeler 'threshold' does not read it"]),
        ("recipes.cam.labeler=saliency", ["recipes.cam.cue", "a cue, since labeler 'saliency' needs one"]),
        ("references=[few-shot(0)]", ["references", "few-shot(0)", "did you mean 'few-shot(16)'?"]),
        ("references=[few-shot(3)] --set segmenter=deeplab", ["reveal", "3 masks", "the 2 that scenes/dev has"]),
        ("recipes.cam.reveal=all", ["recipes.cam", "expected a labeler, or true masks that are revealed"]),
        ("recipes={../cam: {labeler: all_background}}", ["recipes", "../cam"]),
        ("dataset.name=scene", ["dataset", "did you mean 'scenes'?"]),
        ("dataset.size=0", ["dataset.size", "0", "greater than or equal to"]),
        ("backbone.weights=nowhere.pth", ["backbone.weights", "nowhere.pth", "packaged"]),
        ("dataset.dev=0 --set report=dev", ["scenes/dev", "no photo"]),
        ("dataset.train=1000000000", ["dataset.train", "less than or equal to"]),
        ("declared_on={dve: 1}", ["--set declared_on={dve: 1}", "unknown split 'dve'", "did you mean 'dev'?"]),
        ("recipes.cam.declared_on={tset: 1}", ["recipes.cam.declared_on", "unknown split 'tset'", "train"]),
        ("declared_on.dev=3", ["--set declared_on.dev=3", "found 3 masks", "at most the 2 that scenes/dev has"]),
        ("settings=[clan]", ["settings", "did you mean 'clean'?"]),
    ],
)
def test_planning_refuses_what_a_component_refuses(suite_file: Path, override: str, words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        make_plan(load_suite(suite_file, override.split(" --set ")))
    message = str(error.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_a_typo_in_a_recipe_name_is_answered_with_the_nearest(suite_file: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'cam'"):
        load_suite(suite_file, ["recipes.cma.labeler.threshold=0.2"])


DEEP = (f"backbone={'[' * 90}{']' * 90}", f"{'.'.join('a' * 900)}=1")


@pytest.mark.parametrize("override", ["novalue", "=3", "dataset.size.deep=3", "a={", *DEEP])
def test_an_override_of_another_form_is_refused(suite_file: Path, override: str) -> None:
    with pytest.raises(UserError):
        load_suite(suite_file, [override])


@given(text=st.text(max_size=60))
def test_any_text_is_a_suite_or_a_user_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("any") / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UserError):  # no text this short is a whole suite
        load_suite(path)
