"""CLIP-ES's label rule: what the maps leave is background, and what is in doubt is unknown."""

import numpy as np
import pytest

from methods.base import LocalizationMaps
from methods.labelers.clip_es import ClipEs, ClipEsOptions
from settings.records import UNKNOWN
from tests.methods.conftest import make_photo

IMAGE = np.full((1, 4, 3), 90, np.uint8)


def label(confidence: float, refiner: str, *maps: list[float]) -> list[int]:
    maps_CHW = np.array(maps, np.float32)[:, None]
    labels = (2, 5)[: len(maps)]
    record = LocalizationMaps("p", labels, maps_CHW, (1, 4), "nearest")
    labeler = ClipEs(ClipEsOptions.model_validate({"label_refiner": refiner, "confidence": confidence}))
    found: list[int] = labeler.label(make_photo("p", labels, IMAGE), record)[0].tolist()
    return found


def test_probabilities_below_the_confidence_are_unknown() -> None:
    """Of one class: the map itself, and 1 − the map, are probabilities; of two, their shares of the sum are."""
    assert label(0.95, "none", [0.99, 0.9, 0.1, 0.01]) == [3, UNKNOWN, UNKNOWN, 0]
    assert label(0.85, "none", [0.99, 0.9, 0.1, 0.01]) == [3, 3, 0, 0]
    assert label(0.6, "none", [0.9, 0.8, 0.0, 0.5], [0.0, 0.7, 0.9, 0.5]) == [3, UNKNOWN, 6, UNKNOWN]


def test_without_a_confidence_every_pixel_is_decided() -> None:
    assert label(0, "none", [0.6, 0.4, 0.2, 0.9], [0.1, 0.7, 0.3, 0.2]) == [3, 6, 0, 3]


def test_colours_that_are_all_alike_even_scores_out() -> None:
    assert len(set(label(0, "pamr", [0.9, 0.8, 0.9, 0.8]))) == 1


def test_the_crf_of_the_released_program_leaves_a_flat_photo_decided() -> None:
    pytest.importorskip("pydensecrf", reason="the extra `crf` is not installed")
    assert label(0.95, "dense_crf", [0.99, 0.98, 0.99, 0.98]) == [3, 3, 3, 3]
