"""Recipes with refiners: chains as stages that are shared, rows of refined maps, and what is refused."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.drawing.sheet import Column
from harness.pictures.request import Request
from harness.pictures.show import show
from harness.reports.leaderboard import run_and_gather
from harness.stages.graph import Stage
from harness.stages.planning import Plan, make_plan
from harness.suites.suite import load_suite
from settings.errors import UserError
from tests.harness.conftest import ONLY_CAM

CAM = "localizer: {name: cam, hidden: 16, training: {epochs: 2, batch: 8}}"
AFFINITY = "{name: affinity, label_refiner: none, training: {epochs: 1, batch: 8}}"
CROSS = "refiners: [{name: cross_task, width: 8, dilations: [1, 1, 1], rounds: 1, training: {epochs: 1, batch: 8}}]"
C2AM = "cue: {name: c2am, training: {epochs: 1, batch: 8}}"
RECIPES = f"""recipes={{
  cam: {{{CAM}, labeler: threshold}},
  pamr: {{{CAM}, refiners: [{{name: pamr, size: 32}}], labeler: threshold}},
  twice: {{{CAM}, refiners: [{{name: pamr, size: 32}}, none], labeler: threshold}},
  walked: {{{CAM}, refiners: [{AFFINITY}], labeler: threshold}},
  constant: {{{CAM}, refiners: [{AFFINITY}], labeler: {{name: threshold, rule: constant}}}},
  cross: {{{CAM}, {C2AM}, {CROSS}, labeler: agreement}},
}}"""
FEW = ("dataset.train=8", "dataset.dev=4", "dataset.val=4")


def plan_of(*overrides: str) -> Plan:
    return make_plan(load_suite("smoke", (ONLY_CAM[1], RECIPES, *overrides)))


def stages(plan: Plan, kind: str, recipe: str = "") -> list[Stage]:
    return [s for s in plan.graph.values() if s.kind.name == kind and s.label.startswith(recipe)]


def test_chains_share_their_beginning() -> None:
    plan = plan_of()
    assert len(stages(plan, "localizer_fit")) == 1
    names = sorted(stage.identity.component.name for stage in stages(plan, "refiner_apply"))
    assert names == ["affinity", "cross_task", "none", "pamr"]
    (last,) = (s for s in stages(plan, "refiner_apply") if s.identity.component.name == "none")
    assert [ref.kind for ref in last.inputs["maps"]] == ["refiner_apply"]
    (fit,) = stages(plan, "refiner_fit", "walked")
    assert {ref.kind for refs in fit.inputs.values() for ref in refs} == {"weak_set", "localizer_apply", "features"}


@pytest.mark.parametrize(
    ("refiner", "changed"),
    [(AFFINITY.replace("none", "none, beta: 4"), 0), (AFFINITY.replace("none", "none, low: 5"), 1)],
)
def test_what_only_the_walk_reads_trains_nothing_anew(refiner: str, changed: int) -> None:
    before = {s.key for s in stages(plan_of(), "refiner_fit", "walked")}
    after = {s.key for s in stages(plan_of(f"recipes.walked.refiners=[{refiner}]"), "refiner_fit", "walked")}
    assert len(after - before) == changed


def test_refined_maps_have_rows_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = (ONLY_CAM[1], RECIPES, *FEW, "segmenter=none", "gallery=0")
    suite = load_suite("smoke", overrides)
    finished = run_and_gather(suite, tmp_path / "store", "serial")
    assert finished.board.holes == 0
    rows = {(row.recipe, row.stage, row.policy): row.miou for row in finished.board.rows}
    assert {stage for recipe, stage, _ in rows if recipe == "cam"} == {"maps", "pseudo_labels"}
    assert {stage for recipe, stage, _ in rows if recipe == "pamr"} == {"refined", "pseudo_labels"}
    assert rows["pamr", "refined", "fixed"] == rows["pamr", "pseudo_labels", "fixed"]
    assert rows["twice", "refined", "fixed"] == rows["pamr", "refined", "fixed"]
    # A background map of its own leaves no threshold to declare, and nothing that an oracle could choose better.
    assert {key[1:] for key in rows if key[0] == "walked"} == {("refined", "fixed"), ("pseudo_labels", "fixed")}
    assert rows["walked", "refined", "fixed"] == rows["walked", "pseudo_labels", "fixed"]
    assert rows["constant", "refined", "fixed"] == rows["constant", "pseudo_labels", "fixed"]
    assert ("constant", "refined", "oracle") in rows
    # Pixels that a rule leaves undecided count as background in both, and are told beside pseudo labels.
    assert {key[1:] for key in rows if key[0] == "cross"} == {("refined", "fixed"), ("pseudo_labels", "fixed")}
    assert rows["cross", "refined", "fixed"] == rows["cross", "pseudo_labels", "fixed"]
    asked = Request(recipes=("cross",), columns=("inner", "pseudo_labels"), count=2)
    heads = _heads(monkeypatch)
    show("smoke", overrides, tmp_path / "store", asked)
    inner = ["segmentation, first", "segmentation, refined", "saliency, first", "saliency, refined"]
    assert heads == [*(f"cross\ncross_task: {name}" for name in inner), "cross\npseudo label"]


def _heads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The heads of the columns that `show` is about to draw."""
    heads: list[str] = []

    def drawn(rows: object, columns: Sequence[Column], *rest: object) -> bytes:
        heads.extend(column.head for column in columns)
        return b"png"

    monkeypatch.setattr("harness.pictures.show.to_png", drawn)
    return heads


def test_a_refiner_that_needs_a_cue_learns_from_the_one_of_its_recipe() -> None:
    plan = plan_of()
    (fit,) = stages(plan, "refiner_fit", "cross")
    cues = [ref for ref in fit.inputs["cue"] if ref.kind == "cue"]
    assert len(cues) == len(fit.inputs["maps"]) == len(set(cues))
    (apply,) = (s for s in stages(plan, "refiner_apply") if s.identity.component.name == "cross_task")
    assert set(apply.inputs) == {"maps", "weights", "features"}
    supervision = {s.identity.row.recipe: s.identity.row.supervision for s in stages(plan, "row")}
    assert supervision["cross"] == "I"
    by_scenes = plan_of("recipes.cross.cue=scenes")
    assert {s.identity.row.supervision for s in stages(by_scenes, "row", "cross")} == {"I+S"}
    (other,) = stages(by_scenes, "refiner_fit", "cross")
    assert other.key != fit.key


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            "recipes.cross.cue=null",
            "recipes.cross.cue: found nothing; expected a cue, since refiner 'cross_task' needs",
        ),
        ("recipes.cross.refiners=[pamr]", "recipes.cross.labeler: found no background map"),
        ("recipes.pamr.cue=c2am", "recipes.pamr.cue: found 'c2am'; expected none, since labeler 'threshold' does not"),
        ("backbone.size=2048", "recipes.cross.refiners: found a grid of 128×128 positions"),
    ],
)
def test_what_a_refiner_with_a_cue_cannot_do_is_told_at_planning(change: str, line: str) -> None:
    with pytest.raises(UserError) as caught:
        plan_of(change)
    assert line in str(caught.value)


def test_walked_maps_are_read_beside_their_background_unless_a_constant_is_asked_for() -> None:
    plan = plan_of("segmenter=none")
    rules = {s.label.split(" · ")[0]: s.identity.component.options.get("rule") for s in stages(plan, "label")}
    assert rules["walked"] == "maps"
    assert {rules[recipe] for recipe in ("cam", "pamr", "twice", "constant")} == {"constant"}
    assert not stages(plan, "sweep", "walked")


def test_refiners_need_a_localizer_and_a_known_name() -> None:
    with pytest.raises(UserError, match="expected a localizer, whose maps the refiners refine"):
        load_suite("smoke", ("recipes={a: {refiners: [pamr], labeler: all_background}}",))
    with pytest.raises(UserError, match="did you mean 'pamr'"):
        plan_of("recipes.pamr.refiners=[parm]")
