"""Keys: what can change the outcome is in them, what cannot is not; recipes share what they have in common."""

from collections import Counter
from pathlib import Path

import pytest

from harness.stages.features import FeaturesIdentity
from harness.stages.fit import FitIdentity
from harness.stages.graph import Stage
from harness.stages.planning import Plan, make_plan
from harness.suites.suite import load_suite
from settings.datasets.scenes import Scenes
from settings.errors import UserError
from tests.harness.conftest import ONLY_CAM


def plan_of(*overrides: str) -> Plan:
    return make_plan(load_suite("smoke", (*ONLY_CAM, *overrides)))


def keys_of(plan: Plan, kind: str) -> set[str]:
    return {ref.key for ref in plan.graph if ref.kind == kind}


def test_the_same_suite_gives_the_same_keys() -> None:
    assert list(plan_of().graph) == list(plan_of().graph)


def test_every_stage_comes_after_its_inputs() -> None:
    plan = plan_of()
    seen = set()
    for ref, stage in plan.graph.items():
        assert set(stage.needs()) <= seen
        seen.add(ref)


@pytest.mark.parametrize(
    ("override", "changed", "kept"),
    [
        ("recipes.cam.labeler.threshold=0.5", {"segmenter_fit"}, {"features", "localizer_fit", "sweep"}),
        ("recipes.cam.localizer.hidden=8", {"localizer_fit", "localizer_apply", "sweep"}, {"features", "weak_set"}),
        ("recipes.cam.localizer.flip=false", {"localizer_apply", "sweep"}, {"localizer_fit", "features"}),
        ("segmenter.width=8", {"segmenter_fit"}, {"label", "localizer_fit", "features"}),
        ("rng_seeds=[1]", {"localizer_fit", "segmenter_fit"}, {"features", "weak_set"}),
        ("compute.training_threads=2", {"localizer_fit", "segmenter_fit"}, {"features"}),
        ("compute.threads=2", {"features", "localizer_fit"}, {"weak_set"}),
        ("dataset.data_seed=1", {"weak_set", "features", "sweep"}, set()),
        ("backbone.output_stride=8", {"features", "localizer_fit"}, {"weak_set"}),
        ("gallery=2", {"gallery"}, {"row", "label", "features"}),
    ],
)
def test_a_key_changes_with_what_it_depends_on(override: str, changed: set[str], kept: set[str]) -> None:
    before, after = plan_of(), plan_of(override)
    assert all(keys_of(before, kind).isdisjoint(keys_of(after, kind)) for kind in changed)
    assert all(keys_of(before, kind) == keys_of(after, kind) for kind in kept)


def test_more_photos_leave_full_shards_alone() -> None:
    """Shards are cut over the declared list in id order, so a longer list only adds to its end."""
    small, large = plan_of("dataset.val=64"), plan_of("dataset.val=100")
    val_features = [s.key for s in small.graph.values() if s.kind.name == "features" and s.group == "features of val"]
    assert len(val_features) == 2
    assert set(val_features) < keys_of(large, "features")


def test_rng_seeds_share_features_and_weak_sets() -> None:
    one, three = plan_of(), plan_of("rng_seeds=[0, 1, 2]")
    assert keys_of(one, "features") == keys_of(three, "features")
    assert len(keys_of(three, "localizer_fit")) == 3
    assert len(three.rows) == 3 * len(one.rows)


def test_one_fit_serves_all_that_is_read_of_a_network() -> None:
    """Of the co-attention question's six kinds of map three are trained: CAM, co-attention, and its control."""
    small = "dataset={name: scenes, classes: 2, size: 48, train: 24, dev: 8, val: 16}"
    plan = make_plan(load_suite("coattention-question", (small, "rng_seeds=[0]", "declared_on={dev: 8}")))
    fits = [stage for stage in plan.graph.values() if stage.kind.name == "localizer_fit"]
    assert [fit.label.split(" · ")[0] for fit in fits] == ["cam", "common", "no-common"]
    maps = {ref for ref in plan.graph if ref.kind == "localizer_apply"}
    inferences = {str(plan.graph[ref].identity.component.options.get("inference")) for ref in maps}
    assert inferences == {"None", "common", "basic", "affinity", "common_affinity"}


def test_a_second_recipe_shares_its_beginning() -> None:
    more = plan_of(
        "recipes.cam2={localizer: {name: cam, hidden: 16, training: {epochs: 2, batch: 8}}, labeler: threshold}"
    )
    assert keys_of(more, "localizer_fit") == keys_of(plan_of(), "localizer_fit")


def test_features_that_may_be_moved_to_their_place_have_keys_of_their_own() -> None:
    """No level of a stride up to 4 pixels is ever moved: its features are those of before."""
    frozen, tuned = plan_of(), plan_of("training_mode=fine_tuned")
    versions = {}
    for stage in (*frozen.graph.values(), *tuned.graph.values()):
        if isinstance(stage.identity, FeaturesIdentity):
            versions[stage.identity.level] = stage.identity.version
    assert versions == {1: None, 4: 2}
    for plan, version in ((frozen, None), (tuned, 2)):
        fits = [stage.identity for stage in plan.graph.values() if isinstance(stage.identity, FitIdentity)]
        assert {fit.features for fit in fits} == {version}


def test_fine_tuning_makes_features_from_the_fitted_backbone() -> None:
    plan = plan_of("training_mode=fine_tuned")
    fits = {ref for ref in plan.graph if ref.kind in ("localizer_fit", "segmenter_fit")}
    features = [stage for stage in plan.graph.values() if stage.kind.name == "features"]
    assert features
    assert all(set(stage.needs()) <= fits and set(stage.needs()) for stage in features)
    assert all("features" not in plan.graph[fit].inputs for fit in fits)


def test_policies_say_how_far_they_are_followed() -> None:
    def rows(*overrides: str) -> Counter[tuple[str, str]]:
        rows = [stage.identity.row for stage in plan_of(*overrides).graph.values() if stage.kind.name == "row"]
        return Counter((row.policy, row.stage) for row in rows if row.recipe == "cam")

    assert set(rows()) == {("fixed", "maps"), ("fixed", "pseudo_labels"), ("fixed", "segmentation"), ("oracle", "maps")}
    assert set(rows("policies={oracle: segmentation}")) >= {("oracle", "pseudo_labels"), ("oracle", "segmentation")}


def test_a_stage_survives_the_way_to_a_worker() -> None:
    for stage in plan_of().graph.values():
        again = Stage.from_json(stage.to_json())
        assert again.key == stage.key
        assert again == stage


def test_stages_of_methods_are_told_of_no_mask() -> None:
    """Only the stages that score (or draw) know the split, and with it the way through the gate."""
    for stage in plan_of().graph.values():
        if stage.kind.name not in ("sweep", "score", "select", "gallery"):
            assert getattr(stage.identity, "masks", None) is None
            assert not hasattr(stage.runtime, "split")


def test_a_weight_file_counts_by_its_content_and_not_by_its_place(tmp_path: Path) -> None:
    one, copy, other = (tmp_path / name for name in ("one.pth", "copy.pth", "other.pth"))
    one.write_bytes(b"weights")
    copy.write_bytes(b"weights")
    other.write_bytes(b"others")
    keys = [keys_of(plan_of(f"backbone.weights={path}"), "features") for path in (one, copy, other)]
    assert keys[0] == keys[1]
    assert keys[0].isdisjoint(keys[2])


@pytest.mark.parametrize(("report", "split"), [("official", "val"), ("dev", "dev")])
def test_of_the_split_that_is_reported_all_photos_have_masks_or_none(
    monkeypatch: pytest.MonkeyPatch, report: str, split: str
) -> None:
    """Train may lack some; scores of a part of val would silently be another number."""
    maskless = {"train_00001", f"{split}_00001", f"{split}_00002"}
    monkeypatch.setattr(Scenes, "has_mask", lambda self, photo_id: photo_id not in maskless)
    found = f"scenes/{split}: found 2 of 8 photos without a mask, such as '{split}_00001'; expected"
    with pytest.raises(UserError, match=f"{found} .* list of {split}; without any masks a run ends with predictions"):
        plan_of(f"report={report}", "dataset.val=8")
    maskless -= {f"{split}_00001", f"{split}_00002"}
    assert plan_of(f"report={report}", "dataset.val=8").rows


def test_ceilings_that_have_no_masks_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    references = "references=[all-background, few-shot(2), full-supervision]"
    assert not any("skipped" in note for note in plan_of(references).notes)
    monkeypatch.setattr(Scenes, "has_mask", lambda self, photo_id: False)
    why = "no photo of train and dev has a true mask"
    assert plan_of(references).notes == (f"skipped: few-shot(2), full-supervision: {why}",)
