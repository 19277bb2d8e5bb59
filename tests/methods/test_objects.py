"""Objects of saliency maps by hand: regions, boxes, scores, and what of a feature grid a box touches."""

import numpy as np
import torch

from methods.objects import Box, SalientObject, enlarged, inside, objects_of, pooled_C


def test_objects_are_the_regions_of_each_map_with_the_score_of_all() -> None:
    one, other = np.zeros((10, 10), np.uint8), np.zeros((10, 10), np.uint8)
    one[1:4, 1:4], one[6:8, 6:9], one[9, 0] = 255, 255, 255
    other[1:4, 1:4] = 127
    found = objects_of([one, other], 0.03)
    # The lone pixel is smaller than 3 % of the photo; the second map shows nothing from ½ on.
    assert [each.box for each in found] == [Box(1, 4, 1, 4), Box(6, 8, 6, 9)]
    assert np.allclose([each.score for each in found], [(255 + 127) / 510, 0.5])


def test_a_box_that_two_maps_show_is_one_object() -> None:
    one, other = np.zeros((6, 6), np.uint8), np.zeros((6, 6), np.uint8)
    one[1:5, 1:5] = 255
    other[1:5, 1:5] = 255
    other[2, 2] = 0
    (found,) = objects_of([one, other], 0.1)
    # Of the fuller region 31 of 32 places of both maps, of the other, without its hole, all.
    assert found == SalientObject(Box(1, 5, 1, 5), 1.0)


def test_no_map_of_ones_no_object() -> None:
    assert objects_of([np.zeros((4, 5), np.uint8)], 0.0) == []


def test_a_box_grows_around_its_centre_up_to_the_border() -> None:
    assert enlarged(Box(4, 8, 4, 6), 2.0, (20, 20)) == Box(2, 10, 3, 7)
    assert enlarged(Box(0, 8, 4, 20), 3.0, (10, 20)) == Box(0, 10, 0, 20)
    assert inside([Box(0, 1, 0, 2), Box(1, 2, 1, 3)], (2, 3)).tolist() == [[True, True, False], [False, True, True]]


def test_features_of_a_box_are_those_of_the_cells_that_it_touches() -> None:
    features = torch.arange(12.0).reshape(1, 3, 4)
    # Of 6×8 pixels, two a cell: rows 1 to 2 touch cells 0 and 1, columns 2 to 3 cell 1.
    assert pooled_C(features, Box(1, 3, 2, 4), (6, 8)).tolist() == [(1 + 5) / 2]
    assert pooled_C(features, Box(0, 1, 7, 8), (6, 8)).tolist() == [3]
    # A photo smaller than the grid: a pixel touches several cells.
    assert pooled_C(features, Box(0, 1, 0, 1), (1, 1)).tolist() == [5.5]
