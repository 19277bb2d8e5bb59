"""Maps at photo size."""

import numpy as np
import pytest
import torch

from methods.base import LocalizationMaps
from methods.upsampling import upsample

SMALL_CHW = np.random.default_rng(0).random((2, 4, 5)).astype(np.float32)
SMALL_CHW[0, 1:3, 1:3] = [[0, 1], [1, 0]]


def record(size: tuple[int, int], **changes: object) -> LocalizationMaps:
    values = {"class_ids": (0, 3), "maps_CHW": SMALL_CHW} | changes
    return LocalizationMaps("p", image_size=size, **values)  # type: ignore[arg-type]


def naive_bilinear(maps_HW: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixel centres at half integers, borders held."""
    large = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            v = np.clip((y + 0.5) * maps_HW.shape[0] / height - 0.5, 0, maps_HW.shape[0] - 1)
            u = np.clip((x + 0.5) * maps_HW.shape[1] / width - 0.5, 0, maps_HW.shape[1] - 1)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, maps_HW.shape[0] - 1), min(left + 1, maps_HW.shape[1] - 1)
            upper = maps_HW[top, left] * (1 - u + left) + maps_HW[top, right] * (u - left)
            lower = maps_HW[bottom, left] * (1 - u + left) + maps_HW[bottom, right] * (u - left)
            large[y, x] = upper * (1 - v + top) + lower * (v - top)
    return large


def test_bilinear_is_the_usual_one() -> None:
    large = upsample(record((13, 21)))
    assert large.dtype == np.float32
    assert np.allclose(large, [naive_bilinear(one, 13, 21) for one in SMALL_CHW], atol=1e-6)


def test_bicubic_is_torchs_cut_to_0_1() -> None:
    raw = torch.nn.functional.interpolate(torch.from_numpy(SMALL_CHW)[None], (23, 31), mode="bicubic")[0].numpy()
    assert raw.min() < 0
    assert raw.max() > 1
    large = upsample(record((23, 31), upsampling="bicubic"))
    assert np.allclose(large, raw.clip(0, 1), atol=1e-6)


def test_nearest_repeats() -> None:
    assert np.array_equal(upsample(record((8, 15), upsampling="nearest")), SMALL_CHW.repeat(2, 1).repeat(3, 2))


@pytest.mark.parametrize("how", ["bilinear", "bicubic", "nearest"])
def test_maps_of_photo_size_stay_as_they_are(how: str) -> None:
    assert np.array_equal(upsample(record((4, 5), upsampling=how)), SMALL_CHW)


def test_a_photo_without_labels_has_no_maps() -> None:
    for side in (1, 4):
        assert upsample(record((9, 7), class_ids=(), maps_CHW=np.zeros((0, side, side), np.float32))).shape == (0, 9, 7)
