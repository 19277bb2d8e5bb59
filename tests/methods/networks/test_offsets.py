"""Where cells lie, against positions followed through the layers, and moving, against naive sampling."""

from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import avg_pool2d, pad

from methods.base import BackboneOptions
from methods.networks.backbones import build
from methods.networks.offsets import LEAST, moved, offsets

Padding = Literal["same", "one", "none"]


class Chain(nn.Module):
    """Means over windows at stride 2, four times: "same" pads as TensorFlow, "one" by a pixel, "none" takes 2×2."""

    def __init__(self, padding: Padding) -> None:
        super().__init__()
        self.padding: Padding = padding
        self.patch, self.cells_stay = None, False
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, values_BCHW: torch.Tensor) -> list[torch.Tensor]:
        levels = []
        for _ in range(4):
            before, after, window = around(values_BCHW.shape[3], self.padding)
            values_BCHW = avg_pool2d(pad(values_BCHW, (before, after, before, after)), window, 2)
            levels.append(values_BCHW)
        return levels


def around(cells: int, padding: Padding) -> tuple[int, int, int]:
    """Cells added before and after, and the side of the window."""
    if padding == "none":
        return 0, 0, 2
    if padding == "one":
        return 1, 1, 3
    total = 2 * ((cells + 1) // 2 - 1) + 3 - cells
    return total // 2, total - total // 2, 3


def followed(side: int, padding: Padding) -> list[float]:
    """By how many cells each level lies behind its place, from the middles of the windows' pixels."""
    middles = np.arange(side, dtype=float)
    found = []
    for _ in range(4):
        before, after, window = around(len(middles), padding)
        step = middles[1] - middles[0]
        ends = middles[0] - step * np.arange(before, 0, -1), middles[-1] + step * np.arange(1, after + 1)
        padded = np.concatenate([ends[0], middles, ends[1]])
        count = (len(padded) - window) // 2 + 1
        middles = np.array([padded[2 * i : 2 * i + window].mean() for i in range(count)])
        stride = side / count
        place = (np.arange(count) + 0.5) * stride - 0.5
        found.append(float((middles - place).mean() / stride))
    return found


@pytest.mark.parametrize("side", [64, 168, 225, 320])
@pytest.mark.parametrize("padding", ["same", "one", "none"])
def test_offsets_are_those_of_the_pixels_that_cells_see(side: int, padding: Padding) -> None:
    if padding == "none" and side % 16:
        pytest.skip("windows of 2 leave out the last pixel of an odd side")
    chain = Chain(padding)
    # Sides of one remainder by 32 have the same odd grids on the way.
    expected = followed(224 + side % 32, padding)
    for level, (found, known) in enumerate(zip(offsets(chain, side), expected, strict=True)):  # type: ignore[arg-type]
        stride = 2 ** (level + 1)
        assert found == (pytest.approx(known, abs=0.03) if abs(known) * stride > LEAST else 0)


def test_same_padding_lies_half_a_cell_less_half_a_pixel_off() -> None:
    assert followed(224, "same") == pytest.approx([0.5 - 0.5 / 2**level for level in (1, 2, 3, 4)])
    assert followed(224, "one") == pytest.approx([-0.5 + 0.5 / 2**level for level in (1, 2, 3, 4)])
    assert followed(225, "same") == pytest.approx([0, 0, 0, 0], abs=1e-9)


def test_the_default_backbone_is_displaced_where_dilation_takes_the_place_of_a_stride() -> None:
    """Measured on rendered scenes by the CAMs that lie best: a quarter to a third of a cell before its place."""
    *others, last = offsets(build(BackboneOptions(output_stride=16), (0, 1, 2, 3, 4)).eval(), 224)
    assert others == [0, 0, 0, 0]
    assert -0.35 < last < -0.2
    assert offsets(build(BackboneOptions(output_stride=32), (3, 4)).eval(), 224) == (0, 0)


@pytest.mark.parametrize("stride", [16, 32])
def test_residual_networks_pad_by_one(stride: Literal[16, 32]) -> None:
    """Random weights make up for nothing: the offsets are those of the padding, half a cell less half a pixel."""
    network = build(BackboneOptions(name="resnet18", weights="random", output_stride=stride), (3, 4)).eval()
    known = [-0.5 + 0.5 / 16, -0.5 + 0.5 / stride]
    assert offsets(network, 224) == pytest.approx(known, abs=0.12)


def test_networks_of_papers_whose_programs_move_nothing_stay() -> None:
    network = build(BackboneOptions(name="resnet50_irn", weights="random", output_stride=16), (3, 4)).eval()
    assert offsets(network, 224) == (0, 0)


def test_vgg_is_where_it_should_be() -> None:
    network = build(BackboneOptions(name="vgg16_largefov", weights="random", output_stride=8), (2, 4)).eval()
    assert offsets(network, 256) == (0, 0)


@pytest.mark.parametrize(
    ("name", "stride", "known"),
    [("convnext_atto", 32, (0.0, 0.0)), ("convnext_atto", 16, (0.0, 0.5)), ("test_vit", 16, (0.0, 0.0))],
)
def test_patches_tile_the_photo_unless_they_are_dilated(
    name: str, stride: Literal[16, 32], known: tuple[float, float]
) -> None:
    """A 2×2 kernel that no longer halves the grid sees its cell and the next: half a cell behind its place."""
    network = build(BackboneOptions(name=name, weights="random", output_stride=stride), (3, 4)).eval()
    if name == "test_vit":
        with torch.no_grad():
            # Measured, strong embeddings of positions would look like a displacement.
            network.body.pos_embed.mul_(200)
    assert offsets(network, 224) == pytest.approx(known, abs=0.08)


def test_after_moving_nothing_is_displaced() -> None:
    network = build(BackboneOptions(), (4,)).eval()
    before = offsets(network, 224)

    class Moved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.patch, self.cells_stay = network, None, False

        def forward(self, images_BCHW: torch.Tensor) -> list[torch.Tensor]:
            return [moved(level, by) for level, by in zip(self.network(images_BCHW), before, strict=True)]

    assert offsets(Moved().eval(), 224) == (0,)  # type: ignore[arg-type]


def naive(features_HW: NDArray[np.float32], offset: float) -> NDArray[np.float64]:
    """Bilinear samples at each position less the offset, one at a time; what is outside is the nearest inside."""
    height, width = features_HW.shape

    def between(values: Any, position: float) -> Any:
        low = int(np.floor(position))
        share = position - low
        one, other = (values[min(max(at, 0), len(values) - 1)] for at in (low, low + 1))
        return (1 - share) * one + share * other

    rows = [between(features_HW.astype(float), y - offset) for y in range(height)]
    return np.array([[between(row, x - offset) for x in range(width)] for row in rows])


@pytest.mark.parametrize("offset", [-1.0, -0.47, -0.2, 0.0, 0.3, 0.5, 1.0])
def test_moving_is_bilinear_sampling(offset: float) -> None:
    features_BCHW = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    for features_CHW, moved_CHW in zip(features_BCHW, moved(features_BCHW, offset), strict=True):
        for features_HW, moved_HW in zip(features_CHW, moved_CHW, strict=True):
            assert moved_HW.numpy() == pytest.approx(naive(features_HW.numpy(), offset), abs=1e-6)


def test_what_is_not_displaced_is_the_same_tensor() -> None:
    features_BCHW = torch.rand(1, 2, 3, 3)
    assert moved(features_BCHW, 0.0) is features_BCHW


def test_gradients_go_through_moving() -> None:
    features_BCHW = torch.rand(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: moved(values, -0.3), (features_BCHW,))
