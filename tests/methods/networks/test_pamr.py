"""PAMR beside the released program's, and beside a loop over pixels, neighbours and colours; closed forms."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from methods.networks.pamr import DILATIONS, neighbour_weights, pamr

Floats = NDArray[np.float64]


def around(dilations: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(d * y, d * x) for d in dilations for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


def at(values_CHW: Floats, y: int, x: int) -> Floats:
    """The nearest pixel of the grid."""
    height, width = values_CHW.shape[1:]
    return values_CHW[:, min(max(y, 0), height - 1), min(max(x, 0), width - 1)]


def naive(maps_CHW: Floats, image_3HW: Floats, dilations: tuple[int, ...], iterations: int) -> Floats:
    offsets = around(dilations)
    for _ in range(iterations):
        refined = np.zeros_like(maps_CHW)
        for y, x in np.ndindex(*maps_CHW.shape[1:]):
            here = image_3HW[:, y, x]
            near = np.stack([at(image_3HW, y + dy, x + dx) for dy, dx in offsets])
            deviation = np.std(np.concatenate([near, np.tile(here, (len(dilations), 1))]), axis=0, ddof=1)
            logits = -(np.abs(near - here) / (0.1 * deviation + 1e-8)).mean(1)
            weights = np.exp(logits - logits.max())
            weights /= weights.sum()
            refined[:, y, x] = sum(
                w * at(maps_CHW, y + dy, x + dx) for w, (dy, dx) in zip(weights, offsets, strict=True)
            )
        maps_CHW = refined
    return maps_CHW


def test_pamr_is_that_of_the_released_program() -> None:
    with np.load(Path(__file__).resolve().parents[2] / "golden" / "pamr.npz") as stored:
        image, maps, expected = (torch.from_numpy(stored[name]) for name in ("image", "maps", "refined"))
    assert float((pamr(maps, image) - expected).abs().max() / expected.max()) <= 2e-5


@pytest.mark.parametrize(("dilations", "iterations"), [((1,), 1), ((1, 2, 8), 3), (DILATIONS, 1)])
def test_pamr_beside_a_loop(dilations: tuple[int, ...], iterations: int) -> None:
    rng = np.random.default_rng(0)
    maps, images = rng.random((2, 3, 7, 9)), rng.random((2, 3, 7, 9))
    found = pamr(torch.from_numpy(maps), torch.from_numpy(images), dilations, iterations)
    for one, photo, expected in zip(found, images, maps, strict=True):
        np.testing.assert_allclose(one.numpy(), naive(expected, photo, dilations, iterations), rtol=1e-9)
    alone = pamr(torch.from_numpy(maps[:1]).float(), torch.from_numpy(images[:1]).float(), dilations, iterations)
    assert alone.dtype == torch.float32
    np.testing.assert_allclose(alone.numpy(), found[:1].numpy(), rtol=1e-3)


def test_on_a_flat_photo_every_neighbour_counts_the_same() -> None:
    weights = neighbour_weights(torch.full((1, 3, 6, 5), 0.3), (1, 2))
    torch.testing.assert_close(weights, torch.full((1, 16, 6, 5), 1 / 16))
    maps = torch.zeros(1, 1, 7, 7)
    maps[0, 0, 3, 3] = 1
    refined = pamr(maps, torch.full((1, 3, 7, 7), 100, dtype=torch.uint8), (1,), 1)
    expected = torch.zeros(7, 7)
    expected[2:5, 2:5] = 1 / 8
    expected[3, 3] = 0
    torch.testing.assert_close(refined[0, 0], expected)


def test_maps_take_the_shape_of_what_is_there() -> None:
    """A blurred edge becomes the photo's; a constant map stays; values stay within their range."""
    image = torch.zeros(1, 3, 24, 24)
    image[..., 12:] = 1
    image += 0.02 * torch.rand(image.shape, generator=torch.Generator().manual_seed(0))
    maps = torch.linspace(0, 1, 24).expand(1, 1, 24, 24)
    refined = pamr(torch.cat([maps, torch.full_like(maps, 0.4)], 1), image)
    torch.testing.assert_close(refined[:, 1], torch.full((1, 24, 24), 0.4))
    assert refined.min() >= 0
    assert refined.max() <= 1
    step_before, step_after = (float((m[..., 12] - m[..., 11]).mean()) for m in (maps, refined[:, :1]))
    assert step_after > 5 * step_before


def test_sizes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="differ"):
        pamr(torch.rand(1, 2, 5, 6), torch.rand(1, 3, 6, 5))
