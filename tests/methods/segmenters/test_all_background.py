"""The floor: zeros at photo size."""

from collections.abc import Callable
from typing import Any

import numpy as np

from methods.labelers.all_background import AllBackgroundLabeler
from methods.segmenters.all_background import AllBackgroundSegmenter
from settings.options import Options
from settings.records import Photo

SIZES = [(4, 6), (9, 2), (1, 1)]


def test_zeros_at_photo_size(photo: Callable[..., Photo], surroundings: Callable[..., Any]) -> None:
    photos = [photo(f"p{i}", (0,), np.zeros((*size, 3), np.uint8)) for i, size in enumerate(SIZES)]
    segmenter, labeler = AllBackgroundSegmenter(Options()), AllBackgroundLabeler(Options())
    masks = list(segmenter.apply(photos, surroundings()))
    masks += [labeler.label(one, None) for one in photos]
    assert [mask.shape for mask in masks] == SIZES * 2
    assert all(mask.dtype == np.uint8 and not mask.any() for mask in masks)
    assert not segmenter.trained
    assert not labeler.needs_maps
