"""The paper's VGG16 against torchvision's layers, changed by hand where the paper changed them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import vgg

from methods.base import BackboneOptions, FeatureRequest
from methods.features import FrozenBackbone, compute
from methods.networks import backbones
from methods.networks.backbones import build
from methods.networks.coattention import CoAttentionHead
from methods.networks.heads import hidden_layers
from methods.networks.vgg import Vgg16LargeFov
from settings.errors import UserError
from settings.records import Photo

PAPER = BackboneOptions(name="vgg16_largefov", weights="random", output_stride=8, size=64)


@pytest.fixture(scope="module")
def plain() -> nn.Sequential:
    """torchvision's `vgg16.features`."""
    torch.manual_seed(0)
    return vgg.make_layers(vgg.cfgs["D"])


@pytest.fixture(scope="module")
def file(plain: nn.Sequential, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As torchvision's file: the features, and a classifier that is not wanted here."""
    path = tmp_path_factory.mktemp("weights") / "vgg16-397923af.pth"
    state = {f"features.{name}": tensor for name, tensor in plain.state_dict().items()}
    torch.save({**state, "classifier.0.weight": torch.zeros(3, 3), "classifier.0.bias": torch.zeros(3)}, path)
    return path


def images_BCHW(height: int = 48, width: int = 32) -> torch.Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_weights_of_a_file_give_the_papers_features(plain: nn.Sequential, file: Path) -> None:
    body = build(PAPER.model_copy(update={"weights": str(file)}), (1, 2, 4)).eval()
    with torch.inference_mode():
        conv3_3 = plain[:16](images_BCHW())
        conv4_3 = plain[16:23](conv3_3)
        expected = functional.max_pool2d(conv4_3, kernel_size=3, stride=1, padding=1)
        for index in (24, 26, 28):
            layer = plain[index]
            expected = functional.conv2d(expected, layer.weight, layer.bias, padding=2, dilation=2).relu()
        found = body(images_BCHW())
    assert expected.shape == (2, 512, 6, 4)
    for ours, theirs in zip(found, (conv3_3, conv4_3, expected), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6 * float(theirs.abs().max()))
    assert float(expected.std()) > 0


def test_levels_have_the_strides_that_other_backbones_have_at_output_stride_8() -> None:
    body = build(PAPER, (0, 1, 2, 3, 4)).eval()
    assert body.channels == (128, 256, 512, 512, 512)
    with torch.inference_mode():
        levels = body(images_BCHW(64, 64))
        (last,) = build(PAPER, (4,)).eval()(images_BCHW(64, 64))
    assert [tuple(level.shape[1:]) for level in levels] == [
        (128, 32, 32),
        (256, 16, 16),
        (512, 8, 8),
        (512, 8, 8),
        (512, 8, 8),
    ]
    assert all(float(level.min()) == 0 for level in levels), "after ReLU"
    assert torch.equal(last, levels[-1])


def test_layers_are_numbered_as_in_timm() -> None:
    """So that timm's download and torchvision's file fit alike; there is no batch norm."""
    with torch.device("meta"):
        theirs = timm.create_model("vgg16").state_dict()
        ours = Vgg16LargeFov((4,), 8).state_dict()
    expected = {name: tensor.shape for name, tensor in theirs.items() if name.startswith("features.")}
    assert {name: tensor.shape for name, tensor in ours.items()} == expected


def test_the_papers_number_of_parameters() -> None:
    """With K = 20: VGG16, three layers, affinity, common_head, gate and basic_head."""
    with torch.device("meta"):
        parts = (Vgg16LargeFov((4,), 8), hidden_layers(512, 512, 3, "none"), CoAttentionHead(512, 20))
    counts = [sum(parameter.numel() for parameter in part.parameters()) for part in parts]
    assert counts[2] == 512 * 512 + 20 * 512 + 512 + 20 * (512 + 1)
    assert sum(counts) == 22_077_268


def test_random_weights_do_not_fade_over_the_layers() -> None:
    with torch.inference_mode():
        first, last = build(PAPER, (0, 4)).eval()(images_BCHW(64, 64))
    assert 0.1 < float(last.std() / first.std()) < 10
    convolution = build(PAPER, (4,)).body.features[19]
    assert isinstance(convolution, nn.Conv2d)
    assert float(convolution.weight.detach().std()) == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)
    assert convolution.bias is not None
    assert not convolution.bias.any()


def test_stored_features_at_the_papers_scales(photo: Callable[..., Photo]) -> None:
    """0.75 and 2 times the side: grids of 3/4 and twice the cells."""
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    body = FrozenBackbone(build(PAPER.model_copy(update={"size": 32}), (4,)))
    requests = [FeatureRequest(scale) for scale in (0.75, 1.0, 2.0)]
    computed = compute(body, [photo("p", (), image)], requests)
    assert [tuple(computed.features[request].shape) for request in requests] == [
        (1, 512, 3, 3),
        (1, 512, 4, 4),
        (1, 512, 8, 8),
    ]
    square = body.network.to_input(np.zeros((1, 8, 8, 3), np.uint8))
    assert square[0, :, 0, 0].tolist() == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"output_stride": 16}, ["backbone.output_stride", "16", "8 for vgg16_largefov"]),
        ({"name": "vgg16_largefof"}, ["backbone.name", "did you mean 'vgg16_largefov'?"]),
        ({"weights": "packaged"}, ["backbone.weights", "'packaged' for vgg16_largefov"]),
        ({"weights": "vgg16-397923af.pth"}, ["backbone.weights", "no file 'vgg16-397923af.pth'"]),
    ],
)
def test_mistakes_are_one_line(changes: dict[str, object], words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        build(PAPER.model_copy(update=changes), (4,))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_pretrained_weights_are_timms_vgg16(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_model(name: str, pretrained: bool = False) -> nn.Module:
        assert pretrained
        raise OSError(f"no network for {name}")

    monkeypatch.setattr(backbones.timm, "create_model", create_model)
    with pytest.raises(UserError, match=r"no download for vgg16_largefov .no network for vgg16.*local file"):
        build(PAPER.model_copy(update={"weights": "pretrained"}), (4,))
