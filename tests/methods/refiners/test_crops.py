"""Which part of a refiner's network learns on crops."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from methods.base import LocalizationMaps, Localized, TrainingOptions
from methods.networks.backbones import build
from methods.refiners.affinity import Affinity, AffinityOptions
from methods.refiners.irn import Irn, IrnOptions
from methods.training import part_of
from settings.records import WeakSet
from tests.methods.conftest import SPACE, make_photo

CROPS = {"scales": (1.0, 1.0), "crop": 48}


@pytest.mark.parametrize("factor", [0.0, 0.1])
@pytest.mark.parametrize("name", ["affinity", "irn"])
def test_a_backbone_of_rate_0_stands_still(name: str, factor: float, surroundings: Callable[..., Any]) -> None:
    """As IRN's does: no weight of it changes, and no statistics of its batch norms; the head learns all the same."""
    training = TrainingOptions(epochs=1, batch=2, learning_rate=0.1, backbone_factor=factor)
    shared: dict[str, Any] = {"inputs": CROPS, "training": training, "label_refiner": "none"}
    part = Irn(IrnOptions(levels=(1, 4), **shared))
    if name == "affinity":
        part = Affinity(AffinityOptions(radius=3, group_norm=False, **shared))
    rng, maps = np.random.default_rng(0), np.zeros((1, 40, 56), np.float32)
    maps[:, :, :28] = 1
    photos = tuple(make_photo(f"p{k}", (k,), rng.integers(0, 256, (40, 56, 3)).astype(np.uint8)) for k in range(2))
    known = {photo.id: LocalizationMaps(photo.id, photo.labels, maps, (40, 56)) for photo in photos}
    given = surroundings()
    fit = part.fit(Localized(WeakSet(photos, SPACE), known.__getitem__), given)
    before = build(given.backbone, (2, 3, 4) if name == "affinity" else (1, 4)).body.state_dict()
    after = part_of(fit.weights, "backbone")
    assert set(before) == set(after)
    changed = {key for key, tensor in after.items() if not torch.equal(tensor, before[key])}
    assert bool(changed) == (factor > 0)
    assert ("projections.0.1.weight" in part_of(fit.weights, "head")) == (name == "irn")
