"""Pretraining in plans: who reads the features of the backbone that went on, who shares it, what is refused."""

import pytest

from harness.stages.graph import Stage
from harness.stages.planning import Plan, make_plan
from harness.suites.suite import load_suite
from settings.errors import UserError

CAM = "localizer: cam, labeler: {name: threshold, threshold: 0.5}"


def planned(*overrides: str) -> Plan:
    alone = ["recipes={cam: {" + CAM + "}}", "references=[]", "settings={clean: {}}", "rng_seeds=[0]"]
    return make_plan(load_suite("smoke", [*alone, *overrides]))


def fits(plan: Plan, kind: str) -> list[Stage]:
    return [stage for stage in plan.graph.values() if stage.kind.name == kind]


def backbones(plan: Plan, reader: Stage) -> set[str | None]:
    """The kinds of fit that the features which a stage reads are made with; None for the suite's own backbone."""
    found: set[str | None] = set()
    for ref in reader.inputs["features"]:
        made_with = plan.graph[ref].inputs.get("backbone", ())
        found |= {each.kind for each in made_with} or {None}
    return found


def test_what_comes_before_the_localizer_feeds_all_that_read_features() -> None:
    plan = planned("recipes.cam.pretraining=loca")
    assert len(fits(plan, "pretraining_fit")) == 1
    for kind in ("localizer_fit", "localizer_apply", "segmenter_fit", "segment"):
        for stage in fits(plan, kind):
            assert backbones(plan, stage) == {"pretraining_fit"}, kind
    # Without labels, and without stored features, which would be of the backbone as it was.
    assert set(fits(plan, "pretraining_fit")[0].inputs) == {"weak_set"}


def test_what_reads_maps_comes_behind_them_and_feeds_the_segmenter_alone() -> None:
    plan = planned("recipes.cam.pretraining=attention_contrast")
    (fit,) = fits(plan, "pretraining_fit")
    assert set(fit.inputs) == {"weak_set", "maps"}
    assert all(backbones(plan, stage) == {None} for stage in fits(plan, "localizer_fit"))
    assert all(backbones(plan, stage) == {"pretraining_fit"} for stage in fits(plan, "segmenter_fit"))


def test_pairs_are_drawn_from_pseudo_labels_and_seen_by_the_segmenter_alone() -> None:
    plan = planned("recipes.cam.pretraining={name: synthesis, pairs: 9}")
    (fit,), (draw,), (segmenter,) = (fits(plan, kind) for kind in ("pair_fit", "draw_pairs", "segmenter_fit"))
    assert set(fit.inputs) == {"weak_set", "pseudo_labels"}
    assert draw.inputs["weights"] == (fit.ref,)
    assert segmenter.inputs["pairs"] == (draw.ref,)
    drawn = fits(plan, "drawn_features")
    assert {stage.inputs["pairs"] for stage in drawn} == {(draw.ref,)}
    assert {stage.ref for stage in drawn} < set(segmenter.inputs["features"])
    assert {stage.photos for stage in (draw, *drawn)} == {9}
    assert all(backbones(plan, stage) == {None} for stage in fits(plan, "segment"))
    told = {stage.identity.row.stage: stage.identity.row.pretraining_epochs for stage in fits(plan, "row")}
    assert told == {"maps": None, "pseudo_labels": None, "segmentation": 8}


def test_more_pairs_train_no_other_generator_and_copies_train_none() -> None:
    few, many = (planned(f"recipes.cam.pretraining={{name: synthesis, pairs: {count}}}") for count in (9, 10))
    assert [stage.ref for stage in fits(few, "pair_fit")] == [stage.ref for stage in fits(many, "pair_fit")]
    assert [stage.ref for stage in fits(few, "draw_pairs")] != [stage.ref for stage in fits(many, "draw_pairs")]
    copies = planned("recipes.cam.pretraining={name: copied_pairs, pairs: 9}")
    assert not fits(copies, "pair_fit")
    assert set(fits(copies, "draw_pairs")[0].inputs) == {"weak_set", "pseudo_labels"}


def test_a_backbone_that_is_trained_along_reads_drawn_photos_themselves() -> None:
    plan = planned("recipes.cam.pretraining=copied_pairs", "training_mode=fine_tuned")
    (segmenter,) = fits(plan, "segmenter_fit")
    assert "pairs" in segmenter.inputs
    assert not fits(plan, "drawn_features")


def test_recipes_share_one_pretraining_and_others_have_none() -> None:
    both = f"recipes={{cam: {{{CAM}}}, a: {{pretraining: loca, {CAM}}}, b: {{pretraining: loca, {CAM}}}}}"
    plan = planned(both)
    assert len(fits(plan, "pretraining_fit")) == 1
    without = planned()
    assert set(without.graph) < set(plan.graph)


def test_rows_tell_the_epochs_that_a_backbone_went_on_for() -> None:
    plan = planned("recipes.cam.pretraining={name: attention_contrast, training: {epochs: 4}}")
    told = {stage.identity.row.stage: stage.identity.row.pretraining_epochs for stage in fits(plan, "row")}
    assert told["segmentation"] == 4
    assert told["pseudo_labels"] is None


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["recipes.cam.pretraining=loca", "training_mode=fine_tuned"], "found 'fine_tuned'; expected frozen beside"),
        (["recipes.cam.pretraining=attention_contrast", "recipes.cam.segmenter=none"], "a segmenter, which it is for"),
        (["recipes.cam.pretraining=synthesis", "recipes.cam.segmenter=none"], "a segmenter that is trained, which its"),
        (["recipes.cam.pretraining={name: synthesis, side: 60}"], "a multiple of 32"),
        (["recipes.cam.pretraining=local"], "did you mean 'loca'"),
    ],
)
def test_what_cannot_be_is_refused_at_planning(overrides: list[str], told: str) -> None:
    with pytest.raises(UserError) as refused:
        planned(*overrides)
    assert told in str(refused.value)
