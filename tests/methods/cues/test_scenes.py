"""The simulated saliency network: the union of objects, and errors as often as its options say."""

import numpy as np

from methods.cues.scenes import Scenes, ScenesOptions
from settings.records import UNKNOWN

EXACT = ScenesOptions(blur=0, missed=0, false_blobs=0)


def truth(rng_seed: int = 0) -> np.ndarray:
    mask = np.zeros((64, 64), np.uint8)
    mask[4:24, 4:24], mask[30:50, 30:50], mask[50:54, 4:8] = 1, 3, UNKNOWN
    return mask


def test_without_errors_it_is_the_union_of_objects() -> None:
    mask = truth()
    assert np.array_equal(Scenes(EXACT).simulate("a", mask), 255 * ((mask == 1) | (mask == 3)).astype(np.uint8))


def test_each_object_is_missed_as_a_whole_and_as_often_as_declared() -> None:
    cue = Scenes(EXACT.model_copy(update={"missed": 0.3}))
    mask, missed = truth(), 0
    for number in range(300):
        seen = cue.simulate(f"photo {number}", mask) > 0
        for value in (1, 3):
            share = seen[mask == value].mean()
            assert share in (0, 1)
            missed += share == 0
    assert 0.25 < missed / 600 < 0.35


def test_false_blobs_lie_anywhere_as_often_as_declared() -> None:
    cue = Scenes(EXACT.model_copy(update={"false_blobs": 1.0}))
    empty = np.zeros((64, 64), np.uint8)
    some = [cue.simulate(f"photo {number}", empty).any() for number in range(300)]
    assert 0.55 < np.mean(some) < 0.71  # 1 - 1/e


def test_edges_are_soft_and_photos_differ_repeatably() -> None:
    cue = Scenes(ScenesOptions(blur=0.02, missed=0, false_blobs=0))
    map_HW = cue.simulate("a", truth())
    assert map_HW[14, 14] > 250
    assert 100 < map_HW[14, 23] < 200
    noisy = Scenes(ScenesOptions())
    assert np.array_equal(noisy.simulate("a", truth()), noisy.simulate("a", truth()))
    assert not all(np.array_equal(noisy.simulate("a", truth()), noisy.simulate(f"{n}", truth())) for n in range(9))
