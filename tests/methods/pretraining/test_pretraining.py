"""Pretraining: what its controls change, what is cropped, and that a killed one goes on to the same weights."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from methods.base import BackboneOptions, LocalizationMaps, Localized, Pretraining, Stopped, TrainingOptions
from methods.crops import Box, random_box
from methods.networks.backbones import build
from methods.pretraining.attention_contrast import AttentionContrast, AttentionContrastOptions, box_of, items_of
from methods.pretraining.classification import Classification, ClassificationOptions
from methods.pretraining.loca import Grids, Loca, LocaOptions, _crops
from methods.training import part_of
from settings.records import LabelSpace, WeakSet
from tests.methods.conftest import Noted, make_photo

TINY = BackboneOptions(name="test_efficientnet", weights="random", size=64, output_stride=16)
SHORT = TrainingOptions(epochs=2, batch=4, learning_rate=0.02)
ADAM = TrainingOptions(epochs=2, batch=4, optimizer="adamw", learning_rate=1e-3)
SPACE = LabelSpace(("left", "right"))
Make = Callable[..., Noted]


def photos() -> Localized:
    """Eight photos of noise; the map of class 0 is in the upper left quarter, that of class 1 below it on the right."""
    rng = np.random.default_rng(0)
    records, maps = [], {}
    for index in range(8):
        labels = ((0,), (1,), (0, 1))[index % 3]
        photo = make_photo(f"p{index}", labels, rng.integers(0, 255, (64, 64, 3)).astype(np.uint8))
        maps_CHW = np.zeros((len(labels), 4, 4), np.float32)
        for place, label in enumerate(labels):
            maps_CHW[place, 2 * label : 2 * label + 2, 2 * label : 2 * label + 2] = 1
        maps[photo.id] = LocalizationMaps(photo.id, labels, maps_CHW, (64, 64))
        records.append(photo)
    return Localized(WeakSet(tuple(records), SPACE), maps.__getitem__)


EACH: dict[str, Pretraining] = {
    "loca": Loca(LocaOptions(queries=2, query_size=32, width=16, prototypes=8, training=ADAM)),
    "attention_contrast": AttentionContrast(AttentionContrastOptions(size=32, width=8, training=SHORT)),
    "classification": Classification(ClassificationOptions(training=SHORT)),
}


@pytest.mark.parametrize("name", list(EACH))
def test_a_run_that_was_killed_goes_on_to_the_same_weights(name: str, surroundings: Make) -> None:
    whole = EACH[name].fit(photos(), surroundings(backbone=TINY, label_space=SPACE))
    stopped = surroundings(backbone=TINY, label_space=SPACE, stops_after=1)
    with pytest.raises(Stopped):
        EACH[name].fit(photos(), stopped)
    again = surroundings(backbone=TINY, label_space=SPACE, checkpoint_folder=stopped.checkpoint_folder)
    resumed = EACH[name].fit(photos(), again)
    assert resumed.log == whole.log
    assert all(torch.equal(resumed.weights[key], whole.weights[key]) for key in whole.weights)


def test_a_transformer_goes_on_as_well(surroundings: Make) -> None:
    vit = BackboneOptions(name="test_vit", weights="random", size=64, output_stride=16)
    fit = EACH["loca"].fit(photos(), surroundings(backbone=vit, label_space=SPACE))
    build(vit, (1, 4), part_of(fit.weights, "backbone"))


def test_locas_control_moves_the_targets_and_leaves_as_many() -> None:
    square, options = np.zeros((128, 128, 3), np.uint8), LocaOptions(queries=3)
    control = options.model_copy(update={"positions": "shuffled"})
    cells, shuffled = (
        np.concatenate(_crops(square, each, 64, Grids(4, 2), np.random.default_rng(3)).cells)
        for each in (options, control)
    )
    assert len(cells) == 4 * 4 + 3 * 2 * 2
    # The first query is drawn before the control draws anything.
    assert np.array_equal(cells[:16] >= 0, shuffled[:16] >= 0)
    assert not np.array_equal(cells[:16], shuffled[:16])
    assert set(shuffled) <= {-1, *range(16)}


def test_contrast_looks_at_the_class_that_a_map_shows() -> None:
    data = photos()
    items = items_of(data)
    assert [(item.photo.id, item.class_id) for item in items[:4]] == [("p0", 0), ("p1", 1), ("p2", 0), ("p2", 1)]
    map_HW = np.zeros((40, 40), np.float32)
    map_HW[8:16, 20:36] = 1
    assert box_of(map_HW) == Box(6, 16, 12, 24)


def test_contrast_without_two_maps_that_show_anything_fails_with_the_reason(surroundings: Make) -> None:
    data = photos()
    nothing = np.zeros((0, 4, 4), np.float32)
    empty = Localized(data.weak, lambda photo_id: LocalizationMaps(photo_id, (), nothing, (64, 64)))
    with pytest.raises(ValueError, match="0 maps that show anything: two at least"):
        EACH["attention_contrast"].fit(empty, surroundings(backbone=TINY, label_space=SPACE))


@pytest.mark.parametrize("areas", [(0.05, 0.3), (0.9, 1.0)])
def test_random_parts_lie_within_their_box(areas: Any) -> None:
    rng, within = np.random.default_rng(1), Box(3, 5, 20, 30)
    for _ in range(50):
        top, left, height, width = random_box(within, areas, rng)
        assert top >= 3 and top + height <= 23 and left >= 5 and left + width <= 35
        assert height * width <= 1.1 * areas[1] * 600
