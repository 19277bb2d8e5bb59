"""The floors: maps that know nothing of the photo, or of its labels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from methods.localizers.cam import CamOptions
from methods.localizers.centre_prior import CentrePrior, CentrePriorOptions
from methods.localizers.untrained import Untrained


def test_the_ellipse_is_half_at_its_axes(toy: Any, surroundings: Callable[..., Any]) -> None:
    part = CentrePrior(CentrePriorOptions(share=0.5))
    photo = toy.weak.photos[1]
    (record,) = part.apply([photo], surroundings(bank=toy.bank, weak=toy.weak))
    assert len(record.maps_CHW) == len(photo.labels) == 2
    assert np.array_equal(record.maps_CHW[0], record.maps_CHW[1])
    map_HW = record.maps_CHW[0]
    assert map_HW[31:33, 31:33] == pytest.approx(1, abs=0.01)
    assert map_HW[32, 47:49].mean() == pytest.approx(0.5, abs=0.03)
    assert map_HW[0, 0] == 0
    assert (map_HW >= 0.5).mean() == pytest.approx(np.pi * 0.25**2, abs=0.01)


def test_untrained_maps_do_not_find_the_evidence(toy: Any, surroundings: Callable[..., Any]) -> None:
    part = Untrained(CamOptions(hidden=16))
    hits = []
    for rng_seed in range(5):
        weights = part.fit(toy.weak, surroundings(bank=toy.bank, rng_seed=rng_seed)).weights
        for record in part.apply(toy.weak.photos, surroundings(weights=weights, bank=toy.bank, weak=toy.weak)):
            for label, map_HW in zip(record.class_ids, record.maps_CHW, strict=True):
                hits.append(toy.small[record.photo_id].flat[map_HW.argmax()] == label + 1)
    assert np.mean(hits) < 0.6  # trained, it is above 0.9


def test_untrained_weights_follow_the_rng_seed(toy: Any, surroundings: Callable[..., Any]) -> None:
    part = Untrained(CamOptions(hidden=16))
    one, again, other = (
        part.fit(toy.weak, surroundings(bank=toy.bank, rng_seed=seed)).weights["head.classifier.weight"]
        for seed in (0, 0, 1)
    )
    assert np.array_equal(one.numpy(), again.numpy()) and not np.array_equal(one.numpy(), other.numpy())
