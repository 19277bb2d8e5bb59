"""One class, and photos that show none: beside them a classifier learns what the class is, without them nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from methods.base import Localizer, TrainingOptions
from methods.localizers.cam import Cam, CamOptions
from methods.localizers.coattention import CoAttention, CoAttentionOptions
from methods.localizers.seam import Seam, SeamOptions
from settings.records import LabelSpace, WeakSet
from tests.methods.conftest import MemoryBank, Noted, Toy, make_photo

TRAINING = TrainingOptions(epochs=8, batch=8, learning_rate=5)
SPACE = LabelSpace(("crack",))
PAIRS = {"hidden": 0, "scaled_pairs": (), "training": TrainingOptions(epochs=6, batch=8, learning_rate=2)}
LOCALIZERS = {
    "cam": Cam(CamOptions(hidden=0, training=TRAINING)),
    "seam": Seam(SeamOptions(hidden=0, training=TRAINING)),
    "coattention": CoAttention(CoAttentionOptions(**PAIRS, inference="basic")),
    "coattention, own": CoAttention(CoAttentionOptions(**PAIRS, inference="own")),
    "without common": CoAttention(CoAttentionOptions(**PAIRS, common=False)),
}


@pytest.fixture(scope="module")
def cracked() -> Toy:
    """Walls with a window each; every second one has a crack, a box of 3 × 3, in another channel of the features."""
    rng, photos, truth, levels = np.random.default_rng(3), [], {}, {3: {}, 4: {}}
    for index in range(40):
        photo = make_photo(f"p{index:02}", (0,) if index % 2 else (), np.full((64, 64, 3), index, np.uint8))
        crack_HW, window_HW = np.zeros((2, 8, 8), np.uint8)
        top, left = rng.integers(0, 6), rng.integers(0, 2)
        crack_HW[top : top + 3, left : left + 3] = index % 2
        window_HW[top : top + 3, 5:] = 1
        features_CHW = 0.1 * rng.random((4, 8, 8))
        features_CHW[:2] += [crack_HW, window_HW]
        photos.append(photo)
        truth[photo.id] = crack_HW
        levels[4][photo.id] = features_CHW.astype(np.float32)
        levels[3][photo.id] = levels[4][photo.id]
    bank = MemoryBank(levels, {photo.id: (64, 64) for photo in photos})
    return Toy(WeakSet(tuple(photos), SPACE), bank, truth, truth)


def overlap(localizer: Localizer, weak: WeakSet, toy: Toy, context: Noted) -> float:
    """The IoU of cracks with the places where maps are above ½, in the photos that show one."""
    context = replace(context, bank=toy.bank, weak=weak, label_space=SPACE)
    weights = localizer.fit(weak, context).weights
    shared = united = 0
    for record in localizer.apply(weak.photos, replace(context, weights=weights)):
        assert record.maps_CHW.shape == (len(record.class_ids), 8, 8)
        for map_HW in record.maps_CHW:
            found_HW, truth_HW = map_HW > 0.5, toy.small[record.photo_id] == 1
            shared += int((found_HW & truth_HW).sum())
            united += int((found_HW | truth_HW).sum())
    return shared / united


@pytest.mark.parametrize("name", LOCALIZERS)
def test_negatives_tell_what_the_class_is(name: str, cracked: Toy, surroundings: Callable[..., Any]) -> None:
    assert overlap(LOCALIZERS[name], cracked.weak, cracked, surroundings()) > 0.9
    if name != "seam":
        # Its correlation module may follow either object by chance.
        positives = replace(cracked.weak, photos=tuple(photo for photo in cracked.weak.photos if photo.labels))
        assert overlap(LOCALIZERS[name], positives, cracked, surroundings()) < 0.6


def test_a_photo_without_labels_counts_as_zero_in_the_loss(surroundings: Callable[..., Any]) -> None:
    """Of photos that all look alike the best that can be said is the share of those that show the class."""
    photos = tuple(make_photo(f"p{i:02}", (0,) if i % 4 == 0 else ()) for i in range(16))
    bank = MemoryBank({4: {photo.id: np.zeros((2, 3, 3), np.float32) for photo in photos}}, {})
    training = TrainingOptions(epochs=40, batch=16, learning_rate=1, weight_decay=0)
    cam = Cam(CamOptions(hidden=0, training=training))
    fit = cam.fit(WeakSet(photos, SPACE), surroundings(bank=bank, label_space=SPACE))
    entropy = -(1 / 4 * np.log(1 / 4) + 3 / 4 * np.log(3 / 4))
    assert fit.log[-1]["classification"] == pytest.approx(entropy, rel=1e-4)
    assert float(fit.weights["head.classifier.bias"]) == pytest.approx(np.log(1 / 3), rel=1e-2)
