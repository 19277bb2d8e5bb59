"""Estimates; what lines share, counted line by line in a plan of their own."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.execution.costs import Costs
from harness.reports.estimate import Sharing, estimate, sharing
from harness.reports.leaderboard import Finished
from harness.stages.graph import Stage, missing_stages
from harness.stages.planning import make_plan
from harness.store.layout import Ref
from harness.store.store import Store
from harness.suites.suite import load_suite
from settings.errors import UserError

RECIPES = ("cam", "cam+saliency", "coattention")
OVERRIDES = ("references=[]", "gallery=0", "rng_seeds=[0, 1]")


def test_each_alone_is_the_sum_of_plans_of_one_line(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    costs = Costs(store)
    alone = 0.0
    for recipe in RECIPES:
        others = [f"recipes.{other}=null" for other in RECIPES if other != recipe]
        for rng_seed in (0, 1):
            plan = make_plan(load_suite("smoke", (*OVERRIDES, *others, f"rng_seeds=[{rng_seed}]")))
            alone += sum(costs.seconds(stage) for stage in plan.graph.values())
    plan = make_plan(load_suite("smoke", OVERRIDES))
    found = sharing(plan, store)
    assert found.alone == pytest.approx(alone)
    assert found.together == pytest.approx(sum(costs.seconds(stage) for stage in plan.graph.values()))
    assert found.together < 0.9 * found.alone


def test_what_is_done_counts_as_it_was_measured(smoke: Finished) -> None:
    plan, store = smoke.run.plan, Store(smoke.run.store_folder)
    rows = missing_stages(plan.graph, plan.rows, dict.fromkeys(plan.graph, False))
    assert sharing(plan, store).together == pytest.approx(sum(store.record(ref).seconds for ref in rows))


def test_plan_tells_what_was_measured_and_what_is_guessed(smoke: Finished) -> None:
    store = smoke.run.store_folder
    more = ["rng_seeds=[7]", "recipes.cam2={localizer: untrained, labeler: threshold}"]
    found = estimate(load_suite("smoke", more), store)
    groups = {group.name: group for group in found.groups}
    fit, maps = groups["cam · localizer fit"], groups["cam2 · maps"]
    assert (fit.basis, maps.basis, groups["features of val"].basis) == ("measured", "guessed", "")
    measured = sum(group.seconds for group in found.groups if group.measured)
    assert 0 < found.measured_share < 1 and found.measured_share == pytest.approx(measured / found.seconds)
    assert found.to_json()["measured_share"] == round(found.measured_share, 3)
    lines = found.to_text().splitlines()
    basis = f"{100 * found.measured_share:.0f} % by costs that this store measured, the rest guessed"
    assert f"core time: of all that is to do, as if one core did it; {basis}" in lines
    assert [line.split()[-2] for line in lines if line.startswith("cam · localizer fit")] == ["measured"]
    assert [line.split()[-2] for line in lines if line.startswith("cam2 · maps")] == ["guessed"]


def test_a_finished_suite_rests_on_nothing(smoke: Finished) -> None:
    found = estimate(load_suite("smoke"), smoke.run.store_folder)
    assert found.to_do == 0 and found.measured_share == 0 and "core time:" not in found.to_text()


def test_plan_tells(tmp_path: Path) -> None:
    found = estimate(load_suite("smoke", OVERRIDES), tmp_path / "store")
    assert found.to_json()["together_seconds"] == round(found.sharing.together, 1)
    assert Sharing(90, 200).to_text() == (
        "sharing: lines (a recipe under a setting with one rng seed) have stages in common, which run once: in an "
        "empty store the rows of all lines cost 1 min 30 s of core time in one suite, 45 % of the 3 min 20 s that they "
        "would cost if each line were run by itself"
    )
    assert Sharing(90, 90).to_text() == ""
    assert found.sharing.to_text() in found.to_text()


def test_a_plan_refuses_a_gpu_that_is_not_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    suite = load_suite("smoke", (*OVERRIDES, "compute.device=cuda"))
    with pytest.raises(UserError, match=r"compute\.device: found cuda, and this machine has no GPU; .* its --address"):
        estimate(suite, tmp_path / "store")
    # A cluster's nodes are asked when they are there.
    assert estimate(suite, tmp_path / "store", "auto").to_do > 0


def test_what_lines_share_is_found_by_one_look_at_each_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, looked_at = make_plan(load_suite("smoke", OVERRIDES)), Counter[Stage]()
    needs = Stage.needs

    def counting(stage: Stage) -> Iterator[Ref]:
        looked_at[stage] += 1
        return needs(stage)

    monkeypatch.setattr(Stage, "needs", counting)
    sharing(plan, Store(tmp_path / "store"))
    assert set(looked_at.values()) == {1}
