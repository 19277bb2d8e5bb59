"""Recipes with refiners: chains as stages that are shared, rows of refined maps, and what is refused."""

from pathlib import Path

import pytest

from harness.reports.leaderboard import run_and_gather
from harness.stages.graph import Stage
from harness.stages.planning import Plan, make_plan
from harness.suites.suite import load_suite
from settings.errors import UserError
from tests.harness.conftest import ONLY_CAM

CAM = "localizer: {name: cam, hidden: 16, training: {epochs: 2, batch: 8}}"
AFFINITY = "{name: affinity, label_refiner: none, training: {epochs: 1, batch: 8}}"
RECIPES = f"""recipes={{
  cam: {{{CAM}, labeler: threshold}},
  pamr: {{{CAM}, refiners: [{{name: pamr, size: 32}}], labeler: threshold}},
  twice: {{{CAM}, refiners: [{{name: pamr, size: 32}}, none], labeler: threshold}},
  walked: {{{CAM}, refiners: [{AFFINITY}], labeler: threshold}},
  constant: {{{CAM}, refiners: [{AFFINITY}], labeler: {{name: threshold, rule: constant}}}},
}}"""


def plan_of(*overrides: str) -> Plan:
    return make_plan(load_suite("smoke", (ONLY_CAM[1], RECIPES, *overrides)))


def stages(plan: Plan, kind: str, recipe: str = "") -> list[Stage]:
    return [s for s in plan.graph.values() if s.kind.name == kind and s.label.startswith(recipe)]


def test_chains_share_their_beginning() -> None:
    plan = plan_of()
    assert len(stages(plan, "localizer_fit")) == 1
    names = sorted(stage.identity.component.name for stage in stages(plan, "refiner_apply"))
    assert names == ["affinity", "none", "pamr"]
    (last,) = (s for s in stages(plan, "refiner_apply") if s.identity.component.name == "none")
    assert [ref.kind for ref in last.inputs["maps"]] == ["refiner_apply"]
    (fit,) = stages(plan, "refiner_fit")
    assert {ref.kind for refs in fit.inputs.values() for ref in refs} == {"weak_set", "localizer_apply", "features"}


@pytest.mark.parametrize(
    ("refiner", "changed"),
    [(AFFINITY.replace("none", "none, beta: 4"), 0), (AFFINITY.replace("none", "none, low: 5"), 1)],
)
def test_what_only_the_walk_reads_trains_nothing_anew(refiner: str, changed: int) -> None:
    before = {s.key for s in stages(plan_of(), "refiner_fit")}
    after = {s.key for s in stages(plan_of(f"recipes.walked.refiners=[{refiner}]"), "refiner_fit")}
    assert len(after - before) == changed


def test_refined_maps_have_rows_of_their_own(tmp_path: Path) -> None:
    suite = load_suite("smoke", (ONLY_CAM[1], RECIPES, "segmenter=none", "gallery=2"))
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
