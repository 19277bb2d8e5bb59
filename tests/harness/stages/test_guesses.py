"""What stages are guessed to cost: by photos, epochs, size and options of the component that they run."""

from collections.abc import Callable
from functools import cache

import pytest

from harness.stages.guesses import apply_seconds, epochs_of, fit_seconds
from harness.stages.planning import Plan, make_plan
from harness.suites.recipes import ComponentIdentity
from harness.suites.suite import load_suite
from methods.localizers.cam import Cam
from methods.refiners.affinity import Affinity

OVERRIDES = ("references=[]", "gallery=0", "recipes.cam+saliency=null", "recipes.coattention=null")


def identity(name: str, **options: object) -> ComponentIdentity:
    return ComponentIdentity("localizer", name, 1, options)


@cache
def guesses(*overrides: str) -> dict[str, float]:
    """Seconds by kind of stage, of a small suite."""
    found: dict[str, float] = {}
    for stage in planned(*overrides).graph.values():
        found[stage.kind.name] = found.get(stage.kind.name, 0.0) + stage.kind.seconds(stage)
    return found


def planned(*overrides: str) -> Plan:
    return make_plan(load_suite("smoke", (*OVERRIDES, *overrides)))


def test_a_fit_costs_its_photos_times_its_epochs() -> None:
    assert Cam.fit_cost is not None
    one = identity("cam", training={"epochs": 1}, hidden=Cam.fit_cost.usual_channels)
    five = identity("cam", training={"epochs": 5}, hidden=Cam.fit_cost.usual_channels)
    assert (epochs_of(one), epochs_of(five), epochs_of(identity("cam"))) == (1, 5, 1)
    assert fit_seconds(one, 100, 224) == pytest.approx(100 * Cam.fit_cost.seconds)
    assert fit_seconds(five, 100, 448) == pytest.approx(20 * 100 * Cam.fit_cost.seconds)


@pytest.mark.parametrize("guess", [fit_seconds, apply_seconds])
def test_of_a_component_that_is_not_there_nothing_is_guessed(
    guess: Callable[[ComponentIdentity, int, int], float | None],
) -> None:
    assert guess(identity("somebodys_own"), 100, 224) is None
    assert guess(identity("folder"), 100, 224) is None


def test_stages_are_guessed_by_their_components_options() -> None:
    once, thrice = (
        guesses("recipes.cam.localizer.training.epochs=1"),
        guesses("recipes.cam.localizer.training.epochs=3"),
    )
    assert thrice["localizer_fit"] == pytest.approx(3 * once["localizer_fit"])
    assert thrice["localizer_apply"] == once["localizer_apply"]
    larger = guesses("recipes.cam.localizer.training.epochs=1", "backbone.size=128")
    assert larger["localizer_fit"] == pytest.approx(4 * once["localizer_fit"])
    assert once["features"] < larger["features"] < 4 * once["features"]
    scales = "segmenter={name: deeplab, width: 16, training: {epochs: 2}, inference: {scales: [1, 2], flip: true}}"
    assert guesses(scales)["segment"] == pytest.approx(4 * guesses()["segment"])
    # A backbone that is trained along costs its passes too.
    assert guesses("training_mode=fine_tuned")["localizer_fit"] > 1.5 * guesses()["localizer_fit"]


def test_the_walk_costs_more_than_the_positions() -> None:
    cost = Affinity.apply_cost
    assert cost is not None and cost.of(1, 448, {}) > 4 * cost.of(1, 224, {})


def test_stage_2_counts_the_photos_that_it_trains_on() -> None:
    """Extra photos that the setting does not trust are none of its; localizers see them all."""
    settings = "settings={web: {source: {name: scenes, look: web, photos_per_class: 5, size: 48}}}"
    photos = {stage.kind.name: stage.photos for stage in planned(settings).graph.values()}
    assert (photos["localizer_fit"], photos["segmenter_fit"]) == (24 + 8 + 2 * 5, 24 + 8)
