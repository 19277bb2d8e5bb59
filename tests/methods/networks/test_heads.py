"""Class maps, and heads that are made from their state."""

import copy
from typing import Literal

import pytest
import torch
from torch import nn

from methods.networks.deeplab import DeepLabHead
from methods.networks.heads import ClassMaps, hidden_layers


@pytest.mark.parametrize("hidden", [0, 5])
def test_class_maps_come_back_from_their_state(hidden: int) -> None:
    head = ClassMaps(7, 3, hidden)
    features = torch.rand(4, 7, 6, 5)
    head(features)
    again = ClassMaps.of_state(head.state_dict())
    assert torch.equal(again.eval()(features), head.eval()(features))
    assert head(features).shape == (4, 3, 6, 5)
    assert (again.classifier.in_channels, again.classifier.out_channels) == (hidden or 7, 3)


def test_class_maps_without_a_bias_come_back_without_one() -> None:
    head, features = ClassMaps(4, 2, 0, bias=False), torch.rand(1, 4, 3, 3)
    assert set(head.state_dict()) == {"classifier.weight"}
    expected = torch.einsum("kc,bchw->bkhw", head.classifier.weight[:, :, 0, 0], features)
    assert torch.allclose(ClassMaps.of_state(head.state_dict())(features), expected, atol=1e-6)


def test_class_maps_without_a_hidden_layer_are_linear_in_the_features() -> None:
    head = ClassMaps(4, 2, 0)
    features = torch.rand(1, 4, 3, 3)
    expected = torch.einsum("kc,bchw->bkhw", head.classifier.weight[:, :, 0, 0], features)
    assert torch.allclose(head(features), expected + head.classifier.bias.view(1, 2, 1, 1), atol=1e-6)


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_deeplab_comes_back_from_its_state(stride: int) -> None:
    """At every stride that a backbone may have, logits lie at stride 4."""
    head = DeepLabHead(6, 10, 4, 16, (1, 2, 3))
    low, high = torch.rand(2, 6, 16, 24), torch.rand(2, 10, 64 // stride, 96 // stride)
    assert head(low, high).shape == (2, 4, 16, 24)
    again = DeepLabHead.of_state(head.state_dict(), (1, 2, 3))
    with torch.inference_mode():
        assert torch.equal(again.eval()(low, high), head.eval()(low, high))


def test_deeplab_joins_levels_whose_sides_are_no_multiples() -> None:
    """72 pixels are 18 at stride 4, and 5 at stride 16."""
    head = DeepLabHead(6, 10, 4, 16, (1, 2, 3)).eval()
    with torch.inference_mode():
        assert head(torch.rand(1, 6, 18, 18), torch.rand(1, 10, 5, 5)).shape == (1, 4, 18, 18)


def test_deeplab_is_the_decoder_written_out() -> None:
    """Layer by layer in plain torch by the names of the tensors, in training: logits and all gradients."""
    torch.manual_seed(0)
    head, plain = (DeepLabHead(6, 10, 4, 16, (1, 2, 9)).train() for _ in range(2))
    plain.load_state_dict(head.state_dict())
    low, high, slope = torch.randn(3, 6, 16, 12), torch.randn(3, 10, 4, 3), torch.randn(3, 4, 16, 12)
    for dropout in (head.decoder.aspp[0].project[3], plain.decoder.aspp[0].project[3]):
        dropout.p = 0.0
    logits, expected = head(low, high), _written_out(plain, low, high)
    torch.testing.assert_close(logits, expected, atol=2e-5, rtol=1e-4)
    (logits * slope).sum().backward()
    (expected * slope).sum().backward()
    for (name, one), other in zip(head.named_parameters(), plain.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad, other.grad, atol=1e-4 * float(other.grad.abs().max()), rtol=1e-3, msg=name)


def _written_out(head: DeepLabHead, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """DeepLabV3+'s decoder: a pyramid at several rates and the mean, projected; enlarged; fused with the low level."""
    state = dict(head.named_parameters())

    def layer(x: torch.Tensor, name: str, dilation: int = 1) -> torch.Tensor:
        weight = state[f"{name}.weight"]
        padding, groups = dilation * (weight.shape[2] // 2), x.shape[1] // weight.shape[1]
        return nn.functional.conv2d(x, weight, padding=padding, dilation=dilation, groups=groups)

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return nn.functional.batch_norm(x, None, None, weight, bias, training=True).relu()

    def separable(x: torch.Tensor, name: str, dilation: int = 1) -> torch.Tensor:
        return layer(layer(x, f"{name}.0", dilation), f"{name}.1")

    pyramid = "decoder.aspp.0"
    parts = [norm(layer(high, f"{pyramid}.convs.0.0"), f"{pyramid}.convs.0.1")]
    for index, rate in ((1, 1), (2, 2), (3, 9)):
        parts.append(norm(separable(high, f"{pyramid}.convs.{index}.0", rate), f"{pyramid}.convs.{index}.1"))
    mean = norm(layer(high.mean((2, 3), keepdim=True), f"{pyramid}.convs.4.1"), f"{pyramid}.convs.4.2")
    parts.append(mean.expand_as(parts[0]))
    coarse = norm(layer(torch.cat(parts, 1), f"{pyramid}.project.0"), f"{pyramid}.project.1")
    coarse = norm(separable(coarse, "decoder.aspp.1"), "decoder.aspp.2")
    enlarged = nn.functional.interpolate(coarse, low.shape[2:], mode="bilinear", align_corners=True)
    reduced = norm(layer(low, "decoder.block1.0"), "decoder.block1.1")
    fused = norm(separable(torch.cat([enlarged, reduced], 1), "decoder.block2.0"), "decoder.block2.1")
    return layer(fused, "classifier") + state["classifier.bias"].view(1, -1, 1, 1)


def test_hidden_layers_without_batch_norm_are_the_papers() -> None:
    """Three 3×3 convolutions with ReLU, weights of deviation √(2 / (9 · output channels)), biases 0."""
    torch.manual_seed(0)
    layers = hidden_layers(24, 96, 3, "none")
    assert isinstance(layers, nn.Sequential)
    features = torch.randn(2, 24, 6, 5)
    expected = features
    for index in (0, 2, 4):
        state = layers.state_dict()
        weight, bias = state[f"{index}.weight"], state[f"{index}.bias"]
        assert float(weight.std()) == pytest.approx((2 / (9 * 96)) ** 0.5, rel=0.03)
        assert abs(float(weight.mean())) < 0.002
        assert not bias.any()
        expected = nn.functional.conv2d(expected, weight, bias, padding=1).clamp_min(0)
    with torch.inference_mode():
        assert torch.allclose(layers(features), expected, atol=5e-5)


def test_hidden_layers_with_batch_norm_have_no_bias() -> None:
    layers = hidden_layers(4, 6, 2, "batch")
    kinds = [type(layer) for layer in layers.children()]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 2
    assert {name for name in layers.state_dict() if name.endswith("bias")} == {"1.bias", "4.bias"}
    assert layers(torch.rand(2, 4, 3, 3)).shape == (2, 6, 3, 3)


@pytest.mark.parametrize(("width", "layers"), [(0, 3), (8, 0)])
def test_no_hidden_layer_changes_nothing(width: int, layers: int) -> None:
    features = torch.rand(1, 4, 3, 3)
    assert torch.equal(hidden_layers(4, width, layers, "none")(features), features)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_hidden_layers_are_the_plain_sequence_of_their_layers(norm: Literal["batch", "none"]) -> None:
    """Values, gradients, running statistics, and names of the state, where compiled kernels do the work."""
    torch.manual_seed(0)
    layers = hidden_layers(40, 32, 2, norm).to(memory_format=torch.channels_last)
    plain = nn.Sequential(*copy.deepcopy(list(layers)))
    features = torch.randn(12, 40, 14, 14).to(memory_format=torch.channels_last)
    assert list(layers.state_dict()) == list(plain.state_dict())
    for module in (layers, plain):
        module(features).square().mean().backward()
    torch.testing.assert_close(layers(features), plain(features), rtol=1e-4, atol=5e-5)
    for one, other in zip(layers.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-4 * float(other.grad.abs().max()))
    torch.testing.assert_close(layers.state_dict(), plain.state_dict(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(layers.eval()(features), plain.eval()(features), rtol=1e-4, atol=5e-5)


def test_dropout_takes_whole_channels_in_training_alone() -> None:
    """A classifier that adds up 64 channels of ones: of those that are left each counts twice."""
    torch.manual_seed(0)
    head, features = ClassMaps(64, 1, 0, dropout=0.5), torch.ones(3, 64, 4, 5)
    with torch.no_grad():
        head.classifier.weight.fill_(1)
        head.classifier.bias.zero_()
        dropped, whole = head.train()(features), head.eval()(features)
    assert (whole == 64).all()
    kept = dropped[:, 0, 0, 0] / 2
    assert torch.equal(dropped, (2 * kept)[:, None, None, None].expand(3, 1, 4, 5))
    assert all(16 < count < 48 for count in kept.tolist())
    assert head.state_dict().keys() == ClassMaps(64, 1, 0).state_dict().keys()
