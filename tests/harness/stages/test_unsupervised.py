"""The unsupervised reference in plans: which masks name its clusters, and that it can do without any."""

import pytest

from harness.stages.planning import make_plan
from harness.suites.suite import load_suite
from settings.errors import UserError

ALONE = ["references=[]", "settings={clean: {}, shuffled: {}}", "rng_seeds=[0]", "gallery=0"]
BY_LABELS = "{segmenter: {name: superpixel_clusters, name_by: image_labels}}"


def test_the_masks_of_dev_name_the_reference_and_nothing_else_is_read() -> None:
    plan = make_plan(load_suite("smoke", [*ALONE[1:], "recipes={}", "references=[unsupervised(4)]"]))
    (fit,) = (stage for stage in plan.graph.values() if stage.kind.name == "segmenter_fit")
    shown = fit.inputs["pseudo_labels"]
    assert {ref.kind for ref in shown} == {"reveal"}
    assert sum(plan.graph[ref].photos for ref in shown) == 8
    # No setting changes it: it stands under the first alone.
    (row,) = (plan.graph[ref].identity.row for ref in plan.rows)
    assert (row.supervision, row.setting, row.stage) == ("M", "clean", "segmentation")


def test_named_by_labels_it_reads_no_mask_and_follows_the_setting() -> None:
    plan = make_plan(load_suite("smoke", [*ALONE, f"recipes={{own: {BY_LABELS}}}"]))
    fits = [stage for stage in plan.graph.values() if stage.kind.name == "segmenter_fit"]
    assert [set(fit.inputs) for fit in fits] == [{"weak_set", "features"}] * 2
    assert not any(stage.kind.name in ("reveal", "label") for stage in plan.graph.values())
    rows = [plan.graph[ref].identity.row for ref in plan.rows]
    assert [(row.supervision, row.setting) for row in rows] == [("I", "clean"), ("I", "shuffled")]


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ("{reveal: dev, " + BY_LABELS[1:], "recipes.own: found reveal: true masks; expected neither"),
        ("{labeler: all_background, " + BY_LABELS[1:], "recipes.own: found a labeler; expected neither"),
        ("{segmenter: superpixel_clusters}", "expected a labeler, or reveal: true masks"),
        ("{reveal: dev, segmenter: superpixel_clusters, training_mode: fine_tuned}", "expected one of frozen"),
    ],
)
def test_what_does_not_fit_together_is_refused(recipe: str, told: str) -> None:
    with pytest.raises(UserError) as refused:
        make_plan(load_suite("smoke", [*ALONE, f"recipes={{own: {recipe}}}"]))
    assert told in str(refused.value)
