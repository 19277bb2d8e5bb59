"""What is drawn over photos: pixels at known places."""

import numpy as np

from harness.drawing.overlays import SIDE, map_of_class, mask_colours, reduced, with_maps, with_mask
from methods.base import LocalizationMaps

GREY = np.full((4, 6, 3), 100, np.uint8)


def maps_of(*maps: list[list[float]], class_ids: tuple[int, ...]) -> LocalizationMaps:
    return LocalizationMaps("one", class_ids, np.array(maps, np.float32), (40, 60), "nearest")


def test_a_large_photo_is_made_small_and_a_small_one_is_left_alone() -> None:
    assert reduced(np.zeros((SIDE * 2, SIDE * 4, 3), np.uint8)).shape == (SIDE // 2, SIDE, 3)
    assert reduced(np.zeros((1, SIDE * 4, 3), np.uint8)).shape == (1, SIDE, 3)
    assert reduced(GREY) is GREY


def test_a_large_mask_lies_over_a_small_photo_with_a_rim_around_each_region() -> None:
    """Three columns of class 2 are its full colour at both sides and 65 % of it between them; beyond lies black."""
    small_HW = np.array([[0, 0, 0, 2, 2, 2, 0, 0]] * 5, np.uint8)
    colour = mask_colours()[2].astype(float)
    drawn_HWC = with_mask(np.full((5, 8, 3), 100, np.uint8), np.kron(small_HW, np.ones((3, 2), np.uint8)))
    full, blended, photo, black = colour, np.floor(35 + 0.65 * colour), [100.0] * 3, [0.0] * 3
    wanted = np.array([photo, photo, black, full, blended, full, black, photo])
    assert np.abs(drawn_HWC - wanted).max() <= 1


def test_heat_is_the_strongest_map_at_each_place_and_each_class_has_its_rim() -> None:
    """A class that is high in the left half of 8 × 20 pixels, and one that is in the right half, with rims of 2."""
    maps = maps_of([[0, 1]], [[1, 0]], class_ids=(2, 5))
    first = map_of_class(maps, 2)
    assert first is not None and first.class_ids == (2,)
    grey_HWC = np.full((8, 20, 3), 100, np.uint8)
    both_HWC, one_HWC = with_maps(grey_HWC, maps).astype(int), with_maps(grey_HWC, first).astype(int)
    # 35 % of the photo's grey, and 65 % of white or of black.
    light, dark = [200] * 3, [35] * 3
    assert np.abs(both_HWC[3:5, [4, 15]] - light).max() <= 1
    assert np.abs(one_HWC[:, :9] - dark).max() <= 1 and np.abs(one_HWC[3:5, 12:18] - light).max() <= 1
    colours = mask_colours()
    assert (one_HWC[:, 9] == 0).all()
    for picture_HWC in (both_HWC, one_HWC):
        assert (picture_HWC[[0, 1, -2, -1], 12:] == colours[3]).all() and (picture_HWC[:, 18:] == colours[3]).all()
    assert (both_HWC[:, :2] == colours[6]).all()


def test_a_photo_without_a_class_has_no_map_of_it() -> None:
    assert map_of_class(maps_of([[0, 1]], class_ids=(2,)), 3) is None


def test_no_map_is_no_heat() -> None:
    none = LocalizationMaps("one", (), np.zeros((0, 2, 2), np.float32), (40, 60))
    assert (np.abs(with_maps(GREY, none).astype(int) - [35, 35, 36]) <= 1).all()
