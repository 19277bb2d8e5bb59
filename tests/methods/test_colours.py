"""Photos at the size of feature grids."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from methods.colours import Colours
from settings.images import resize
from settings.records import Photo


def test_colours_of_photos_plain_and_mirrored(photo: Callable[..., Photo]) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (8, 12 + k, 3)).astype(np.uint8) for k in range(3)]
    loads: list[str] = []
    photos = [photo(f"p{k}", (), image) for k, image in enumerate(images)]
    counted = [replace(p, load=lambda p=p: (loads.append(p.id), p.image())[1]) for p in photos]
    colours, rows, flips = Colours(counted, "cpu"), np.array([2, 0]), np.array([True, False])
    for _ in range(2):
        large, small = colours(rows, flips, [(4, 6), (2, 3)])
        for found, grid in ((large, (4, 6)), (small, (2, 3))):
            expected = np.stack([resize(images[2], *grid)[:, ::-1], resize(images[0], *grid)]) / 127.5 - 1
            assert (found.shape, found.dtype) == ((2, 3, *grid), torch.float32)
            assert np.allclose(found.permute(0, 2, 3, 1).numpy(), expected, atol=1e-6)
    assert loads == ["p2", "p0"], "each is decoded once for both grids"
