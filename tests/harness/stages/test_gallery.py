"""What is drawn over photos: pixels at known places."""

import numpy as np
import pytest

from harness.drawing.overlays import SIDE, map_of_class, mask_colours, reduced, with_maps, with_mask
from methods.base import LocalizationMaps

GREY = np.full((4, 6, 3), 100, np.uint8)


def maps_of(*maps: list[list[float]], class_ids: tuple[int, ...]) -> LocalizationMaps:
    return LocalizationMaps("one", class_ids, np.array(maps, np.float32), (40, 60), "nearest")


def test_colours_are_those_of_voc_and_unknown_is_white() -> None:
    colours = mask_colours()
    assert colours[[0, 1, 2, 15, 255]].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [192, 128, 128], [255] * 3]


def test_a_large_photo_is_made_small_and_a_small_one_is_left_alone() -> None:
    assert reduced(np.zeros((SIDE * 2, SIDE * 4, 3), np.uint8)).shape == (SIDE // 2, SIDE, 3)
    assert reduced(np.zeros((1, SIDE * 4, 3), np.uint8)).shape == (1, SIDE, 3)
    assert reduced(GREY) is GREY


def test_a_large_mask_lies_over_a_small_photo_pixel_for_pixel() -> None:
    """Every value of the mask fills a block of 3 × 2 pixels, of which the photo shows one."""
    small_HW = np.arange(24, dtype=np.uint8).reshape(4, 6) % 3
    large_HW = np.kron(small_HW, np.ones((3, 2), np.uint8))
    colours = mask_colours().astype(float)
    drawn_HWC = with_mask(GREY, large_HW)
    for (row, column), value in np.ndenumerate(small_HW):
        wanted = 0.35 * 100 + 0.65 * colours[value] if value else [100] * 3
        assert drawn_HWC[row, column] == pytest.approx(np.floor(wanted), abs=1)


def test_heat_is_the_strongest_map_at_each_place() -> None:
    maps = maps_of([[0, 1]], [[1, 0]], class_ids=(2, 5))
    first = map_of_class(maps, 2)
    assert first is not None and first.class_ids == (2,)
    both_HWC, one_HWC = with_maps(GREY, maps), with_maps(GREY, first)
    # Inferno ends in a light yellow (252, 255, 164) and begins near black (0, 0, 3).
    light, dark = [198, 200, 141], [35, 35, 36]
    assert (np.abs(both_HWC.astype(int) - light) <= 1).all()
    assert (np.abs(one_HWC[:, :3].astype(int) - dark) <= 1).all()
    assert (np.abs(one_HWC[:, 3:].astype(int) - light) <= 1).all()


def test_a_photo_without_a_class_has_no_map_of_it() -> None:
    assert map_of_class(maps_of([[0, 1]], class_ids=(2,)), 3) is None


def test_no_map_is_no_heat() -> None:
    none = LocalizationMaps("one", (), np.zeros((0, 2, 2), np.float32), (40, 60))
    assert (np.abs(with_maps(GREY, none).astype(int) - [35, 35, 36]) <= 1).all()
