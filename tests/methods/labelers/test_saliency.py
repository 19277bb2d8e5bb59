"""The saliency rule against loops over pixels."""

import numpy as np
import pytest

from methods.base import LocalizationMaps
from methods.labelers.saliency import MCIS, OAA, SaliencyLabeler, SaliencyOptions, saliency_rule
from settings.records import UNKNOWN, Photo


def naive(maps: np.ndarray, class_ids: list[int], saliency: np.ndarray, options: SaliencyOptions) -> np.ndarray:
    """Pixel by pixel, in the words of docs/methods.md §3."""
    height, width = saliency.shape
    mask = np.zeros((height, width), int)
    low, high = maps.min((1, 2)).astype(np.float32), maps.max((1, 2)).astype(np.float32)
    for y in range(height):
        for x in range(width):
            scores = [np.float32(1) - np.float32(saliency[y, x]) / np.float32(255)]
            scores += [
                (np.float32(maps[k, y, x]) - low[k]) / (high[k] - low[k] + np.float32(1e-8)) for k in range(len(maps))
            ]
            scores = [s if s >= np.float32(options.fg) else np.float32(0) for s in scores]
            winner = scores.index(max(scores))
            mask[y, x] = 0 if winner == 0 else class_ids[winner - 1] + 1
            strong = any(s > np.float32(options.att) for s in scores[1:])
            if winner == 0 and max(int(saliency[y, x]), 255 * strong) >= options.sal_thr:
                mask[y, x] = UNKNOWN
            if sum(s > np.float32(options.conflict) for s in scores) > 1:
                mask[y, x] = UNKNOWN
    if ((mask > 0) & (mask < UNKNOWN)).sum() < 0.01 * height * width:
        mask[:] = UNKNOWN
    return mask


@pytest.mark.parametrize("options", [MCIS, OAA, SaliencyOptions(fg=0.6, conflict=0.7, att=0.5, sal_thr=200)])
@pytest.mark.parametrize("rng_seed", range(6))
def test_equals_loops_over_pixels(options: SaliencyOptions, rng_seed: int) -> None:
    rng = np.random.default_rng(rng_seed)
    count = 1 + rng_seed % 3
    maps = rng.choice([0, 40, 77, 128, 254, 255], (count, 9, 11)).astype(np.uint8)
    saliency = rng.choice([0, 31, 32, 128, 178, 255], (9, 11)).astype(np.uint8)
    class_ids = [0, 4, 7][:count]
    assert np.array_equal(saliency_rule(maps, class_ids, saliency, options), naive(maps, class_ids, saliency, options))


def test_the_labeler_quantises_the_upsampled_maps() -> None:
    photo = Photo("p", (2,), "c", lambda: np.zeros((4, 4, 3), np.uint8))
    maps_CHW = np.array([[[1.0, 0.2], [0.0, 0.5]]], np.float32)
    maps = LocalizationMaps("p", (2,), maps_CHW, (4, 4), "nearest")
    saliency_HW = np.full((4, 4), 200, np.uint8)
    mask_HW = SaliencyLabeler(MCIS).label(photo, maps, saliency_HW)
    large_KHW = (maps_CHW.repeat(2, 1).repeat(2, 2) * 255).astype(np.uint8)
    assert np.array_equal(mask_HW, saliency_rule(large_KHW, (2,), saliency_HW))
    assert mask_HW.tolist() == [[3, 3, UNKNOWN, UNKNOWN]] * 2 + [[UNKNOWN, UNKNOWN, 3, 3]] * 2


@pytest.mark.parametrize("salient", [0, 255])
def test_a_photo_without_labels_is_all_background(salient: int) -> None:
    """Its label says what the rule, which finds less than 1 % of a class, would leave unknown."""
    photo = Photo("p", (), "c", lambda: np.zeros((3, 4, 3), np.uint8))
    maps = LocalizationMaps("p", (), np.zeros((0, 2, 2), np.float32), (3, 4))
    mask_HW = SaliencyLabeler(MCIS).label(photo, maps, np.full((3, 4), salient, np.uint8))
    assert mask_HW.dtype == np.uint8 and mask_HW.tolist() == [[0] * 4] * 3
