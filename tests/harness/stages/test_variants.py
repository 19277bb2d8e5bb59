"""Several rows of one trained network: what they share, what is written, and what is refused before any work."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.execution.costs import OVERHEAD_S, Costs
from harness.reports.estimate import estimate
from harness.reports.leaderboard import run_and_gather
from harness.stages.graph import Stage
from harness.stages.planning import Plan, make_plan
from harness.store.store import Store
from harness.suites.suite import load_suite
from methods.segmenters.deeplab import DeepLab
from results.per_image import read_table
from settings.errors import UserError
from tests.harness.conftest import ONLY_CAM

THREE = "segment=[{}, {scales: [0.75, 1.0, 1.25], flip: true}, {scales: [0.5, 1.0]}]"
NAMES = ["ss", "ms+flip", "ms"]


def plan_of(*overrides: str) -> Plan:
    return make_plan(load_suite("smoke", (*ONLY_CAM, *overrides)))


def stages(plan: Plan, kind: str, recipe: str = "cam") -> list[Stage]:
    return [s for s in plan.graph.values() if s.kind.name == kind and s.label.startswith(recipe)]


def variants(plan: Plan, recipe: str) -> list[str]:
    rows = [stage.identity.row for stage in stages(plan, "row", recipe)]
    return [row.variant for row in rows if row.stage == "segmentation"]


def test_one_fit_serves_every_variant() -> None:
    plan = plan_of(THREE, "gallery=0")
    (fit,) = stages(plan, "segmenter_fit")
    segmented = stages(plan, "segment")
    assert len(segmented) == len({stage.key for stage in segmented}) == 3
    assert all(stage.inputs["weights"] == (fit.ref,) for stage in segmented)
    assert variants(plan, "cam") == NAMES
    assert variants(plan, "all-background") == ["ss"]
    assert len({stage.label for stage in stages(plan, "row")}) == len(stages(plan, "row"))


def test_what_is_single_scale_keeps_its_keys() -> None:
    """Also where it is written out, and where other variants stand beside it."""
    plain = plan_of()
    assert set(plan_of("segment=[{scales: [1], flip: false, crf: false}]").graph) == set(plain.graph)
    assert set(plan_of(THREE).graph) > set(plain.graph)
    component = stages(plain, "segment")[0].identity.component
    assert "inference" not in component.options


@pytest.mark.parametrize("mode", ["frozen", "fine_tuned"])
def test_every_pass_has_its_features(mode: str) -> None:
    plan = plan_of(THREE, f"training_mode={mode}", "gallery=0")
    for segmented, passes in zip(stages(plan, "segment"), (1, 6, 2), strict=True):
        read = [plan.graph[ref] for ref in segmented.inputs["features"]]
        assert len({(s.identity.scale, s.identity.flip, s.identity.level) for s in read}) == 2 * passes
        assert len({s.bundle for s in read}) == 1, "one job"
        assert all(bool(s.inputs.get("backbone")) == (mode == "fine_tuned") for s in read)


def test_the_plan_tells_what_more_passes_cost(tmp_path: Path) -> None:
    def features_of_val(*overrides: str) -> float:
        # Seven shards or so, since gigabytes are rounded.
        suite = load_suite("smoke", (*ONLY_CAM, "dataset.val=400", "backbone.size=320", *overrides))
        found = estimate(suite, tmp_path / "store")
        return next(g.gigabytes for g in found.groups if g.name == "features of val")

    one, two = features_of_val(), features_of_val("segment=[{}, {flip: true}]")
    assert two == pytest.approx(2 * one, rel=0.01)


def test_passes_and_a_crf_take_their_time(tmp_path: Path) -> None:
    costs = Costs(Store(tmp_path))
    segment = replace(stages(plan_of(), "segment")[0], photos=100)
    component = segment.identity.component
    options = ({}, {"inference": {"scales": (1, 2), "flip": True}}, {"inference": {"crf": True}})
    seconds = [
        costs.seconds(replace(segment, identity=replace(segment.identity, component=replace(component, options=one))))
        for one in options
    ]
    once = seconds[0] - OVERHEAD_S
    # By the component's cost at size 64; four passes; a second a photo for the CRF.
    assert DeepLab.apply_cost is not None
    assert once == pytest.approx(100 * DeepLab.apply_cost.seconds * (64 / 224) ** 2)
    assert seconds[1:] == pytest.approx([4 * once + OVERHEAD_S, once + 100 + OVERHEAD_S])


def test_pictures_show_the_first_variant() -> None:
    plan = plan_of("segment=[{flip: true}, {}]", "gallery=2")
    drawn = {ref for stage in plan.graph.values() if stage.kind.name == "gallery" for ref in stage.inputs["masks"]}
    shown = [plan.graph[ref].identity.component.options for ref in drawn]
    # Of train and of val.
    assert [options["inference"]["flip"] for options in shown] == [True, True]


def test_a_segmenters_own_options_are_what_variants_change() -> None:
    own = "segmenter.inference={scales: [0.5, 1.0]}"
    assert variants(plan_of(own), "cam") == ["ms"]
    assert variants(plan_of(own, "segment=[{}, {flip: true}, {scales: [1]}]"), "cam") == ["ms", "ms+flip", "ss"]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("segment=[{}, {scales: [1.0]}]", "segment: found 'ss' twice"),
        ("segment=[{scales: [0.4]}]", "segment: found scale 0.4, at which photos have a side of 26 pixels"),
        ("segment=[{scale: [1]}]", "--set .*: found unknown key 'scale'.*did you mean 'scales'"),
        ("segment=[]", "--set .*: found .* expected a list of at least 1"),
        ("segment=[{flip: x}]", "expected true or false"),
    ],
)
def test_what_is_refused_before_any_work(override: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        plan_of(override)


def test_a_run_gives_each_variant_its_row(tmp_path: Path) -> None:
    suite = load_suite("smoke", (*ONLY_CAM, THREE, "gallery=0"))
    finished = run_and_gather(suite, tmp_path / "store", "serial")
    assert finished.board.holes == 0
    rows = {row.variant: row for row in finished.board.rows if (row.recipe, row.stage) == ("cam", "segmentation")}
    assert list(rows) == NAMES
    assert all(row.miou is not None for row in rows.values())
    assert len({row.evaluation_fingerprint for row in rows.values()}) == 1
    columns = finished.board.tables[0].columns
    shown = [column for column in columns if column.startswith("segmentation")]
    assert shown == ["segmentation ss", "segmentation ms", "segmentation ms+flip"]
    counted = read_table(finished.folder / "counts.parquet")["row"].to_pylist()
    segmented = {index for index, row in enumerate(finished.board.rows) if row.stage == "segmentation"}
    assert len(segmented) == 4
    assert segmented <= set(counted)
    again = run_and_gather(load_suite("smoke", (*ONLY_CAM, "gallery=0")), tmp_path / "store", "serial")
    assert again.run.stages_run == 0
