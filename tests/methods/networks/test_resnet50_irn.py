"""IRN's ResNet-50 against torchvision's, changed by hand where IRN's program changed it."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet50

from methods.base import BackboneOptions
from methods.networks.backbones import build
from methods.networks.resnet50_irn import ResNet50Irn
from settings.errors import UserError

OPTIONS = BackboneOptions(name="resnet50_irn", weights="random", output_stride=16, size=64)


def test_features_are_those_of_torchvisions_layers_at_stride_1() -> None:
    torch.manual_seed(0)
    theirs = resnet50().eval()
    network = ResNet50Irn((0, 1, 2, 3, 4), 16).eval()
    state = {name: tensor for name, tensor in theirs.state_dict().items() if not name.startswith("fc.")}
    network.load_state_dict(state)
    block = theirs.layer4[0]
    block.conv2.stride = block.downsample[0].stride = (1, 1)
    images = torch.randn(1, 3, 64, 48)
    with torch.inference_mode():
        expected = [theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(images))))]
        for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
            expected.append(layer(expected[-1]))
        found = network(images)
        (last,) = ResNet50Irn((4,), 16).eval()(images)
    for ours, other in zip(found, expected, strict=True):
        assert torch.allclose(ours, other, rtol=1e-4, atol=1e-5 * float(other.max()))
    assert [tuple(level.shape[1:]) for level in found] == [
        (64, 16, 12),
        (256, 16, 12),
        (512, 8, 6),
        (1024, 4, 3),
        (2048, 4, 3),
    ]
    assert last.shape == found[-1].shape
    assert network.feature_info.reduction() == [4, 4, 8, 16, 16]


def test_what_learns_are_the_last_two_stages_with_their_norms_scale_and_shift() -> None:
    network = ResNet50Irn((4,), 16).train()
    for name, module in network.named_modules():
        if name.endswith("bn3"):
            # timm begins with 0, which lets no gradient into a block.
            nn.init.ones_(module.get_parameter("weight"))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    network(torch.randn(2, 3, 32, 32))[0].square().mean().backward()
    optimizer.step()
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    late = {name for name, _ in network.named_parameters() if name.startswith(("layer3", "layer4"))}
    assert changed == late
    assert not any(module.training for module in network.modules() if isinstance(module, nn.BatchNorm2d))


def test_another_output_stride_is_refused() -> None:
    with pytest.raises(UserError, match=r"backbone.output_stride: found 8; expected 16 for resnet50_irn"):
        build(OPTIONS.model_copy(update={"output_stride": 8}), (4,))
