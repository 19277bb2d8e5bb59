"""What every metric has to keep, by being there: in the modules of `results.metrics` two kinds of function are found.

A tally takes one image and gives something that adds up (`count`, `threshold_sweep`); a score takes `Counts`.
"""

import importlib
import inspect
import math
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any, get_type_hints

import numpy as np
import pytest

import results.metrics
from results.metrics.counts import Counts, count
from results.metrics.image_sums import ImageSums
from results.metrics.sweep import threshold_sweep
from settings.components import ComponentSpec, build_component
from settings.discovery import METRICS
from settings.records import UNKNOWN

CLASSES = 4
MODULES = [f"results.metrics.{module.name}" for module in pkgutil.iter_modules(results.metrics.__path__)]


def public_functions() -> dict[str, Callable[..., Any]]:
    found = {}
    for name in MODULES:
        module = importlib.import_module(name)
        own = {key: value for key, value in vars(module).items() if getattr(value, "__module__", "") == name}
        found |= {key: value for key, value in own.items() if inspect.isfunction(value) and not key.startswith("_")}
    return found


def vars_of(kind: object) -> dict[str, Any]:
    return dict(vars(kind)) if inspect.isclass(kind) else {}


FUNCTIONS = public_functions()
HINTS = {name: get_type_hints(function) for name, function in FUNCTIONS.items()}
ADDED = {kind for module in MODULES for kind in vars(sys.modules[module]).values() if "__radd__" in vars_of(kind)}
TALLIES = [name for name, hints in HINTS.items() if hints["return"] in ADDED]
SCORES = [name for name, hints in HINTS.items() if [kind for key, kind in hints.items() if key != "return"] == [Counts]]


def images(seed: int) -> dict[str, Any]:
    """One image as every tally may ask for it, by the names of parameters; a fifth of its truth is unknown."""
    rng = np.random.default_rng(seed)
    shape = (6, 7)
    truth_HW = rng.integers(0, CLASSES, shape).astype(np.uint8)
    truth_HW[rng.random(shape) < 0.2] = UNKNOWN
    return {
        "truth_HW": truth_HW,
        "prediction_HW": rng.integers(0, CLASSES, shape).astype(np.uint8),
        "winner_HW": rng.integers(1, CLASSES, shape).astype(np.uint8),
        "score_HW": rng.random(shape).astype(np.float32),
        "classes": CLASSES,
    }


def tally(name: str, image: dict[str, Any]) -> Any:
    needed = inspect.signature(FUNCTIONS[name]).parameters.values()
    return FUNCTIONS[name](**{p.name: image[p.name] for p in needed if p.default is p.empty})


def numbers(score: Any) -> list[float]:
    """The means that a score states; lists by class stand beside them."""
    return [value for value in (score if isinstance(score, tuple) else (score,)) if isinstance(value, float)]


def confusion(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 90, (CLASSES, CLASSES))


def test_both_kinds_are_found() -> None:
    assert {"count", "threshold_sweep"} <= set(TALLIES)
    assert {"mean_iou", "precision_recall"} <= set(SCORES)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_told_and_typed(name: str) -> None:
    assert (FUNCTIONS[name].__doc__ or "").strip().endswith(".")
    assert set(HINTS[name]) == {"return", *inspect.signature(FUNCTIONS[name]).parameters}


def test_metrics_are_numpy_alone() -> None:
    """They are imported where tables are read, on machines without torch's seconds to spare."""
    code = f"import sys, importlib\nfor name in {MODULES!r}: importlib.import_module(name)\n"
    code += "assert not {'torch', 'matplotlib', 'pandas', 'ray', 'harness', 'methods'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", TALLIES)
def test_images_add_up_in_any_order_and_grouping(name: str) -> None:
    a, b, c = (tally(name, images(seed)) for seed in range(3))
    assert (a + b) + c == a + (b + c) == sum([c, a, b])
    assert a + b != a


@pytest.mark.parametrize("name", TALLIES)
def test_what_lies_where_the_truth_is_unknown_does_not_matter(name: str) -> None:
    image, other = images(5), images(6)
    known = image["truth_HW"] != UNKNOWN
    other |= {key: np.where(known, image[key], value) for key, value in other.items() if key.endswith("_HW")}
    other["truth_HW"] = image["truth_HW"]
    assert tally(name, other) == tally(name, image)
    nothing = {**image, "truth_HW": np.full_like(image["truth_HW"], UNKNOWN)}
    assert tally(name, nothing) + tally(name, image) == tally(name, image)


@pytest.mark.parametrize("name", TALLIES)
def test_a_tally_leaves_its_arrays_alone(name: str) -> None:
    image = images(7)
    tally(name, image)
    assert all(np.array_equal(value, images(7)[key]) for key, value in image.items())


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_1_where_all_is_right_and_0_where_all_is_wrong(name: str) -> None:
    right = Counts(np.diag(np.arange(1, CLASSES + 1)))
    assert numbers(FUNCTIONS[name](right)) and set(numbers(FUNCTIONS[name](right))) == {1.0}
    wrong = Counts(np.roll(right.confusion, 1, axis=1))
    assert set(numbers(FUNCTIONS[name](wrong))) == {0.0}


@pytest.mark.parametrize("name", SCORES)
def test_a_score_is_a_share(name: str) -> None:
    for seed in range(20):
        found = numbers(FUNCTIONS[name](Counts(confusion(seed))))
        assert all(0 < value < 1 for value in found)
        twice = numbers(FUNCTIONS[name](Counts(2 * confusion(seed))))
        assert found == pytest.approx(twice, abs=1e-12), "twice the photos, the same score"


@pytest.mark.parametrize("name", SCORES)
def test_a_score_does_not_depend_on_the_order_of_classes(name: str) -> None:
    order = np.array([2, 0, 3, 1])
    before, after = Counts(confusion(3)), Counts(confusion(3)[order][:, order])
    assert numbers(FUNCTIONS[name](before)) == pytest.approx(numbers(FUNCTIONS[name](after)), abs=1e-12)


@pytest.mark.parametrize("name", SCORES)
def test_a_score_rises_where_a_wrong_pixel_becomes_right(name: str) -> None:
    worse, better = confusion(4), confusion(4)
    better[2, 1], better[2, 2] = better[2, 1] - 1, better[2, 2] + 1
    pairs = zip(numbers(FUNCTIONS[name](Counts(worse))), numbers(FUNCTIONS[name](Counts(better))), strict=True)
    assert all(low < high for low, high in pairs)


@pytest.mark.parametrize("name", SCORES)
def test_a_score_of_nothing_is_no_number(name: str) -> None:
    found = numbers(FUNCTIONS[name](Counts.zero(CLASSES)))
    assert found and all(map(math.isnan, found))


def measured(name: str, seeds: range) -> dict[str, float]:
    """What the metric of this name says of some images, from what it reads."""
    metric = build_component(METRICS, ComponentSpec(name=name), name)
    pictures = [images(seed) for seed in seeds]
    if metric.reads == "masks":
        return metric.measures(sum(tally(metric.tally.__name__, each) for each in pictures))
    if metric.reads == "sweep":
        return metric.measures(sum(tally(threshold_sweep.__name__, each) for each in pictures))
    each_NTP = np.stack([tally(count.__name__, each).confusion for each in pictures])
    diagonal_NC = each_NTP.diagonal(axis1=1, axis2=2)
    names, whole = tuple(map(str, seeds)), each_NTP.sum(axis=0)
    sums = ImageSums(names, diagonal_NC, each_NTP.sum(axis=1), each_NTP.sum(axis=2), whole)
    return metric.measures(sums)


def test_metrics_are_found_by_their_files() -> None:
    assert {"boundary_iou", "class_iou", "image_iou", "pxap", "size_iou"} <= set(METRICS.names())


@pytest.mark.parametrize("name", METRICS.names())
def test_a_metric_is_a_share_with_a_name_of_its_own(name: str) -> None:
    found = measured(name, range(4))
    assert found and all(math.isnan(value) or 0 <= value <= 1 for value in found.values())
    assert not all(map(math.isnan, found.values()))
    others = [measure for other in METRICS.names() if other != name for measure in measured(other, range(4))]
    assert not set(found) & set(others), "tables and JSON tell measures by their names"


@pytest.mark.parametrize("name", METRICS.names())
def test_a_metric_does_not_depend_on_the_order_of_photos(name: str) -> None:
    there, back = measured(name, range(4)), measured(name, range(3, -1, -1))
    assert there == pytest.approx(back, abs=1e-12, nan_ok=True)
