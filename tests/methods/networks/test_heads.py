"""Class maps, and heads that are made from their state."""

import pytest
import torch

from methods.networks.deeplab import DeepLabHead
from methods.networks.heads import ClassMaps


@pytest.mark.parametrize("hidden", [0, 5])
def test_class_maps_come_back_from_their_state(hidden: int) -> None:
    head = ClassMaps(7, 3, hidden)
    features = torch.rand(4, 7, 6, 5)
    head(features)
    again = ClassMaps.of_state(head.state_dict())
    assert torch.equal(again.eval()(features), head.eval()(features))
    assert head(features).shape == (4, 3, 6, 5)
    assert (again.classifier.in_channels, again.classifier.out_channels) == (hidden or 7, 3)


def test_class_maps_without_a_hidden_layer_are_linear_in_the_features() -> None:
    head = ClassMaps(4, 2, 0)
    features = torch.rand(1, 4, 3, 3)
    expected = torch.einsum("kc,bchw->bkhw", head.classifier.weight[:, :, 0, 0], features)
    assert torch.allclose(head(features), expected + head.classifier.bias.view(1, 2, 1, 1), atol=1e-6)


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_deeplab_comes_back_from_its_state(stride: int) -> None:
    """At every stride that a backbone may have, logits lie at stride 4."""
    head = DeepLabHead(6, 10, 4, 16, (1, 2, 3), stride)
    low, high = torch.rand(2, 6, 16, 24), torch.rand(2, 10, 64 // stride, 96 // stride)
    assert head(low, high).shape == (2, 4, 16, 24)
    again = DeepLabHead.of_state(head.state_dict(), (1, 2, 3), stride)
    with torch.inference_mode():
        assert torch.equal(again.eval()(low, high), head.eval()(low, high))
