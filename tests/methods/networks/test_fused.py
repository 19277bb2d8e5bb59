"""Convolutions with their activations, against torch's own layers one after the other."""

from typing import Any

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from methods.base import BackboneOptions
from methods.networks.backbones import Backbone, _agree, build
from methods.networks.fused import Fused, can_fuse, fuse

pytestmark = pytest.mark.skipif(not can_fuse("cpu"), reason="this torch has no oneDNN")


def fused_count(module: nn.Module) -> int:
    return sum(isinstance(part, Fused) for part in module.modules())


@pytest.mark.parametrize("size", [(12, 12), (13, 13), (12, 13)])
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU6(), nn.SiLU(), nn.Tanh()])
@pytest.mark.parametrize(
    ("kind", "how"),
    [
        (nn.Conv2d, {"kernel_size": 1}),
        (nn.Conv2d, {"kernel_size": 1, "stride": 2, "bias": False}),
        (nn.Conv2d, {"kernel_size": 1, "padding": 1}),
        (nn.Conv2d, {"kernel_size": 3, "padding": 2, "dilation": 2, "groups": 4}),
        (Conv2dSame, {"kernel_size": 3, "stride": 2}),
        (Conv2dSame, {"kernel_size": 5, "stride": 2, "groups": 8}),
        (Conv2dSame, {"kernel_size": 5, "stride": 2, "dilation": 2}),
        (Conv2dSame, {"kernel_size": 4, "stride": 1}),
    ],
)
def test_a_convolution_with_its_activation(
    kind: type[nn.Conv2d], how: dict[str, Any], activation: nn.Module, size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(kind(8, 8, **how), activation).to(memory_format=torch.channels_last)
    values_BCHW = (4 * torch.randn(2, 8, *size)).contiguous(memory_format=torch.channels_last)
    expected_BCHW = plain(values_BCHW)
    fuse(plain)
    with torch.inference_mode():
        found_BCHW = plain(values_BCHW)
    assert fused_count(plain) == 1
    assert isinstance(plain[1], nn.Tanh if isinstance(activation, nn.Tanh) else nn.Identity)
    assert torch.allclose(found_BCHW, expected_BCHW, rtol=1e-5, atol=1e-5)


def test_layers_that_are_no_plain_convolution_stay() -> None:
    class Doubled(nn.Conv2d):
        def forward(self, values_BCHW: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(values_BCHW)

    module = nn.Sequential(
        Doubled(1, 1, 1), nn.Conv2d(1, 1, 3, padding="same"), nn.Conv2d(1, 1, 1, padding_mode="reflect")
    )
    fuse(module)
    assert fused_count(module) == 0


@pytest.mark.parametrize(
    ("name", "weights", "stride"),
    [
        ("tf_efficientnet_lite0", "packaged", 8),
        ("tf_efficientnet_lite0", "packaged", 16),
        ("tf_efficientnet_lite0", "packaged", 32),
        ("test_efficientnet", "random", 16),
        ("mobilenetv2_050", "random", 16),
        ("resnet18", "random", 32),
        ("vgg16_largefov", "random", 8),
    ],
)
def test_backbones_give_the_same_fused(name: str, weights: str, stride: Any) -> None:
    """All levels, over an even and an odd number of cells, within 2e-5 of the largest value."""
    plain = build(BackboneOptions(name=name, weights=weights, output_stride=stride), (1, 2, 3, 4)).eval()
    fast = plain.for_inference()
    assert fused_count(fast) == sum(isinstance(part, nn.Conv2d) for part in plain.modules())
    for side in (64, 72):
        images_BCHW = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(side))
        images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            for one, other in zip(plain(images_BCHW), fast(images_BCHW), strict=True):
                assert float((one - other).abs().max()) <= 2e-5 * float(one.abs().max())


def test_a_network_that_runs_its_activation_elsewhere_stays_as_it_is() -> None:
    class Late(nn.Module):
        """Lists its activation behind the first convolution, and runs it behind the second."""

        def __init__(self) -> None:
            super().__init__()
            self.first, self.act, self.second = nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1)

        def forward(self, images_BCHW: torch.Tensor) -> list[torch.Tensor]:
            return [self.act(self.second(self.first(images_BCHW)))]

    backbone: Backbone = build(BackboneOptions(name="test_efficientnet", weights="random"), (4,))
    torch.manual_seed(0)
    backbone.body = Late()
    assert fused_count(backbone.for_inference()) == 0


def test_a_network_that_asks_its_layers_for_what_fused_ones_lack_stays_as_it_is() -> None:
    class Asking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 4, 3)

        def forward(self, values_BCHW: torch.Tensor) -> list[torch.Tensor]:
            assert self.convolution.kernel_size == (3, 3)
            return [self.convolution(values_BCHW)]

    plain, fused = Asking().eval(), Asking().eval()
    fuse(fused)
    assert fused_count(fused) == 1
    assert _agree(plain, plain)
    assert not _agree(plain, fused)


def test_only_a_cpu_has_it() -> None:
    assert not can_fuse("cuda")
