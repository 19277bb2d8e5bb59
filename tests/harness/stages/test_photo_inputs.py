"""Crops and photos of their own aspect in plans: refused where the backbone is frozen, else read without features."""

import pytest

from harness.stages.fit import FitIdentity
from harness.stages.graph import Stage
from harness.stages.guesses import whole_seconds
from harness.stages.localizer import LocalizerApplyIdentity
from harness.stages.planning import Plan, make_plan
from harness.stages.rows import RowIdentity, RowRuntime
from harness.suites.suite import load_suite
from settings.errors import Contradictory

SMALL = ("references=[]", "gallery=0", "recipes.cam+saliency=null", "recipes.coattention=null")
TUNED = (*SMALL, "training_mode=fine_tuned")
CROPS = "inputs={crop: 65, longer_side: [40, 80]}"
WITH_IRN = "recipes.cam.refiners=[{name: irn, label_refiner: none, %s}]"


def planned(*overrides: str) -> Plan:
    return make_plan(load_suite("smoke", overrides))


def stages_of(plan: Plan, kind: str) -> list[Stage]:
    return [stage for stage in plan.graph.values() if stage.kind.name == kind]


def inputs_of(plan: Plan, kind: str) -> set[str]:
    return {role for stage in stages_of(plan, kind) for role in stage.inputs}


@pytest.mark.parametrize(
    ("change", "place", "found"),
    [
        (f"recipes.cam.localizer.{CROPS}", "localizer.inputs", "crops 65"),
        ("recipes.cam.localizer.aspect=kept", "localizer.aspect", "square, aspect kept"),
        ("segmenter={name: deeplab, inputs: {crop: 65}}", "segmenter.inputs", "crops 65"),
        (WITH_IRN % "inputs: {crop: 65}", "refiners.inputs", "crops 65"),
    ],
)
def test_a_frozen_backbone_sees_squares(change: str, place: str, found: str) -> None:
    with pytest.raises(Contradictory) as error:
        planned(*SMALL, change)
    assert str(error.value) == (
        f"recipes.cam.{place}: found {found} with a frozen backbone; expected squares, whose stored features all "
        "recipes share; training_mode: fine_tuned reads photos themselves"
    )


def test_squares_may_be_named_with_a_frozen_backbone() -> None:
    named, plain = planned(*SMALL, "recipes.cam.localizer.aspect=square"), planned(*SMALL)
    assert inputs_of(named, "localizer_apply") == inputs_of(plain, "localizer_apply")


def test_photos_of_their_own_size_read_no_features() -> None:
    squares = planned(*TUNED)
    crops = planned(*TUNED, f"recipes.cam.localizer.{CROPS}", "segmenter={name: deeplab, inputs: {crop: 65}}")
    assert stages_of(squares, "features") and not stages_of(crops, "features")
    for kind in ("localizer_apply", "segment"):
        assert inputs_of(squares, kind) - inputs_of(crops, kind) == {"features"}
        assert "weights" in inputs_of(crops, kind)
    as_squares = planned(*TUNED, f"recipes.cam.localizer.{CROPS}", "recipes.cam.localizer.aspect=square")
    assert "features" in inputs_of(as_squares, "localizer_apply")


def test_references_of_their_own_size_are_drawn_by_the_rng_seed() -> None:
    """Coattention reads photos of the whole setting, and no stored features."""
    others = ("references=[]", "gallery=0", "recipes.cam=null", "recipes.cam+saliency=null", "training_mode=fine_tuned")
    plan = planned(*others, "recipes.coattention.localizer.aspect=kept", "rng_seeds=[3]")
    stages = stages_of(plan, "localizer_apply")
    assert stages and inputs_of(plan, "localizer_apply") == {"weights", "weak_set"}
    for stage in stages:
        assert isinstance(stage.identity, LocalizerApplyIdentity) and stage.identity.rng_seed == 3
        # Plain, mirrored, half its sides, and two references.
        assert stage.kind.seconds(stage) == pytest.approx(whole_seconds(2 + 0.5**2 + 2, stage.photos))


def test_how_photos_look_at_inference_trains_nothing_anew() -> None:
    kept, square = (
        {
            stage.ref.key
            for stage in stages_of(planned(*TUNED, f"recipes.cam.localizer.aspect={aspect}"), "localizer_fit")
        }
        for aspect in ("kept", "square")
    )
    assert kept == square


def test_a_refiner_trains_a_backbone_where_it_asks_for_crops() -> None:
    """Else it learns on features of the suite's own, whatever the mode."""
    frozen = planned(*TUNED, WITH_IRN % "beta: 10")
    crops = planned(*TUNED, WITH_IRN % "inputs: {crop: 65}")
    squares = planned(*TUNED, WITH_IRN % "inputs: {crop: 65}, aspect: square")
    assert "features" in inputs_of(frozen, "refiner_fit") and "features" in inputs_of(frozen, "refiner_apply")
    for plan in (crops, squares):
        assert "features" not in inputs_of(plan, "refiner_fit")
        (fit,) = stages_of(plan, "refiner_fit")
        assert isinstance(fit.identity, FitIdentity) and fit.identity.features == 2
    assert "features" not in inputs_of(crops, "refiner_apply")
    (fit,) = stages_of(squares, "refiner_fit")
    read = [squares.graph[ref] for stage in stages_of(squares, "refiner_apply") for ref in stage.inputs["features"]]
    assert read and all(stage.inputs["backbone"] == (fit.ref,) for stage in read)
    (plain,) = stages_of(frozen, "refiner_fit")
    assert isinstance(plain.identity, FitIdentity) and plain.identity.features is None


@pytest.mark.parametrize(
    ("overrides", "maps", "segmentation"),
    [
        (SMALL, "square", "square"),
        ((*TUNED, f"recipes.cam.localizer.{CROPS}"), "crops 65", "crops 65 and square"),
        ((*TUNED, "segmenter={name: deeplab_largefov, crop: 65}"), "square", "square and crops 65"),
    ],
)
def test_rows_say_what_networks_see(overrides: tuple[str, ...], maps: str, segmentation: str) -> None:
    told = {}
    for stage in stages_of(planned(*overrides), "row"):
        assert isinstance(stage.runtime, RowRuntime) and isinstance(stage.identity, RowIdentity)
        told[stage.identity.row.stage] = stage.runtime.inputs
    assert (told["maps"], told["segmentation"]) == (maps, segmentation)


def test_passes_of_photos_of_their_own_size_are_guessed_by_their_pixels() -> None:
    def guessed(scales: str) -> tuple[float, int]:
        plan = planned(*TUNED, "recipes.cam.localizer.aspect=kept", f"recipes.cam.localizer.scales={scales}")
        stages = stages_of(plan, "localizer_apply")
        return sum(stage.kind.seconds(stage) for stage in stages), sum(stage.kind.bytes(stage) for stage in stages)

    one, two = guessed("[1.0]"), guessed("[1.0, 2.0]")
    assert two[0] == pytest.approx(5 * one[0])
    assert one[1] == two[1] > 1_000_000 * 24
