"""What cannot be: skipped with a reason where `combine:` made it, one line and no run where somebody wrote it out."""

import sys
from pathlib import Path

import pytest

from harness.stages.planning import Plan, make_plan
from harness.suites.suite import load_suite
from settings.errors import Impossible, UserError
from tests.harness.commands.test_main import seedbed
from tests.harness.conftest import ONLY_CAM

CAM = "{name: cam, hidden: 16, training: {epochs: 2, batch: 8}}"
MAPS = "{name: threshold, rule: maps}"
COMBINE = (
    f"combine={{localizers: {{cam: {CAM}}}, refiners: {{none: [], affinity: [affinity], irn: [irn], pamr: [pamr], "
    "affinity+pamr: [affinity, pamr], affinity+irn: [affinity, irn], dense_crf: [dense_crf]}, "
    f"labelers: {{threshold: {{labeler: threshold}}, maps: {{labeler: {MAPS}}}}}}}"
)
NO_BACKGROUND = (
    "found no background map; expected a localizer or refiner that gives one to labeler 'threshold', which reads it; "
    "such as refiners: [affinity]"
)
NO_PACKAGE = "expected the package pydensecrf2; pip install 'seedbed[crf]', or choose pamr"


def combined(*overrides: str) -> Plan:
    return make_plan(load_suite("smoke", ("recipes={}", "references=[]", "gallery=0", COMBINE, *overrides)))


def recipes_of(plan: Plan) -> set[str]:
    return {plan.graph[ref].identity.row.recipe for ref in plan.rows}


@pytest.fixture
def package() -> None:
    pytest.importorskip("pydensecrf", reason="pydensecrf2 is not installed (extra crf)")


@pytest.fixture
def no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydensecrf", None)


@pytest.mark.usefixtures("package")
def test_a_rule_for_background_maps_is_skipped_where_there_are_none() -> None:
    """Only the last refiner that makes or drops one counts: pamr passes on what it gets, irn does not."""
    plan = combined()
    assert recipes_of(plan) == {
        *("cam", "cam+affinity", "cam+irn", "cam+pamr", "cam+affinity+pamr", "cam+affinity+irn", "cam+dense_crf"),
        *("cam+affinity+maps", "cam+affinity+pamr+maps", "cam+dense_crf+maps"),
    }
    assert plan.notes == (f"skipped: cam+maps, cam+irn+maps, cam+pamr+maps, cam+affinity+irn+maps: {NO_BACKGROUND}",)


@pytest.mark.usefixtures("no_package")
def test_a_package_that_is_not_installed_skips_what_needs_it() -> None:
    plan = combined()
    assert not any("dense_crf" in name for name in recipes_of(plan))
    (note,) = (note for note in plan.notes if "dense_crf" in note)
    assert note.startswith("skipped: cam+dense_crf, cam+dense_crf+maps: found no module (")
    assert note.endswith(NO_PACKAGE)


def test_a_training_mode_that_a_part_does_not_have_skips_its_combinations() -> None:
    plan = combined("combine.localizers.untrained=untrained", "combine.labelers.maps=null", "training_mode=fine_tuned")
    assert "cam" in recipes_of(plan)
    (note,) = (note for note in plan.notes if "untrained" in note)
    assert note.startswith("skipped: untrained, untrained+affinity, ")
    assert note.endswith(": found 'fine_tuned'; expected one of frozen for this recipe")


def test_a_simulated_cue_is_told_once_for_all_combinations() -> None:
    trusted = "settings={one: {name: single_label, source: {name: scenes, photos_per_class: 70, size: 32}}}"
    chains = "combine.refiners={none: [], pamr: [pamr]}"
    plan = combined(chains, "combine.labelers={t: {labeler: threshold}, s: {cue: scenes, labeler: saliency}}", trusted)
    (note,) = (note for note in plan.notes if note.startswith("skipped"))
    assert note.startswith("skipped: cam+s, cam+pamr+s under one: cue scenes simulates saliency")


@pytest.mark.usefixtures("no_package")
@pytest.mark.parametrize(
    ("changes", "place", "reason"),
    [
        ([f"labeler={MAPS}"], "labeler", NO_BACKGROUND),
        ([f"labeler={MAPS}", "refiners=[affinity, irn]"], "labeler", NO_BACKGROUND),
        (["refiners=[dense_crf]"], "refiners", NO_PACKAGE),
        (["refiners=[{name: irn, label_refiner: dense_crf}]"], "refiners.label_refiner", NO_PACKAGE),
        (["refiners=[{name: affinity, label_refiner: dense_crf}]"], "refiners.label_refiner", NO_PACKAGE),
        (["localizer=untrained", "training_mode=fine_tuned"], "training_mode", "expected one of frozen"),
    ],
)
def test_the_same_fails_where_it_is_written_out(changes: list[str], place: str, reason: str) -> None:
    place = f"recipes.cam.{place}"
    with pytest.raises(Impossible) as error:
        make_plan(load_suite("smoke", (*ONLY_CAM, *(f"recipes.cam.{change}" for change in changes))))
    assert str(error.value).startswith(f"{place}: found ")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.reason == str(error.value).removeprefix(f"{place}: ")


@pytest.mark.usefixtures("no_package")
def test_the_command_says_it_in_one_line_with_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    change = ("--set", "recipes.cam.refiners=[dense_crf]")
    ended = seedbed(monkeypatch, capsys, "plan", "smoke", "--store", tmp_path / "store", *change)
    assert ended.code == 2
    assert ended.err.startswith("seedbed: recipes.cam.refiners: found no module") and ended.err.count("\n") == 1


def test_a_mistake_in_a_combination_is_no_reason_to_skip_it() -> None:
    with pytest.raises(UserError, match="did you mean 'affinity'"):
        combined("combine.refiners.afinity=[afinity]")
    with pytest.raises(UserError, match=r"recipes\.cam\+s\.cue: found nothing; expected a cue"):
        combined("combine.labelers.s={labeler: saliency}")


def test_where_nothing_is_left_the_reason_is_the_error() -> None:
    with pytest.raises(Impossible, match="no background map"):
        combined("combine.refiners={none: []}", "combine.labelers.threshold=null")


@pytest.mark.usefixtures("package")
def test_scenes_full_has_every_pair_that_can_be() -> None:
    plan = make_plan(load_suite("scenes-full"))
    chains = ("", "+affinity", "+irn", "+pamr", "+dense_crf", "+affinity+pamr")
    with_background = ("+affinity", "+dense_crf", "+affinity+pamr")
    localizers = ("cam", "coattention", "seam")
    rules = ("", "+power", "+cue-rule", "+saliency", "+c2am")
    expected = {f"{name}{chain}{rule}" for name in localizers for chain in chains for rule in rules}
    expected |= {f"{name}{chain}+maps" for name in localizers for chain in with_background}
    assert recipes_of(plan) == {*expected, "label-in-saliency", "all-background"}
    skipped = [f"{name}{chain}+maps" for name in localizers for chain in chains if chain not in with_background]
    assert plan.notes == (f"skipped: {', '.join(skipped)}: {NO_BACKGROUND}",)
    fits = [stage for stage in plan.graph.values() if stage.kind.name == "refiner_fit"]
    assert len(fits) == 6  # affinity and irn of each localizer, whatever comes after
