"""Backbones, timm's and ours: one place that builds them, loads their weights and knows their normalisation."""

from __future__ import annotations

import copy
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from timm.layers.format import Format
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from methods.backbone_names import check_backbone, check_level, family_of, first_stride, patch_of
from methods.base import BackboneOptions
from methods.initial_weights import downloaded_weights, packaged_file
from methods.mxnet_parameters import read_parameters
from methods.networks.fused import can_fuse, fuse
from methods.networks.grids import resized
from methods.networks.resnet38 import ResNet38, named_as_released
from methods.networks.resnet50_irn import ResNet50Irn
from methods.networks.vgg import Vgg16LargeFov
from settings.errors import UserError, unknown_name

MAX_UNMAPPED = 1 << 30
"""Bytes of a file of weights that has to be read as a whole."""
OWN_NETWORKS: Mapping[str, Callable[[Sequence[int], int], nn.Module]] = {
    "resnet38": ResNet38,
    "resnet50_irn": ResNet50Irn,
    "vgg16_largefov": Vgg16LargeFov,
}
"""Networks that timm does not have: (feature levels, output stride) → a module with timm's `feature_info` and
`pretrained_cfg`."""
COUNT = "num_batches_tracked"


class Backbone(nn.Module):
    """A network of timm's or ours; forward gives the wanted feature levels, (B, C, h, w) each.

    Level L has a stride of 2^(L+1) pixels, the output stride at most. Those of a plain transformer all have the output
    stride: levels 1 to 4 are what a quarter, half, three quarters and all of its blocks give, behind its last norm.
    """

    def __init__(self, options: BackboneOptions, levels: Sequence[int]) -> None:
        super().__init__()
        check_backbone(options)
        self.options = options
        for level in levels:
            check_level(options.name, level)
        self.patch = patch_of(options.name)
        self.blocks: tuple[int, ...] = ()
        if self.patch is None:
            self.body = _create(options, levels)
            # timm adds these to the modules that it makes.
            info: Any = self.body.feature_info
            self.channels: tuple[int, ...] = tuple(info.channels())
        else:
            self.body, self.blocks = _create_plain(options.name, levels)
            width: Any = self.body.embed_dim
            self.channels = (int(width),) * len(levels)
        config: Any = self.body.pretrained_cfg
        self.mean_C, self.std_C = tuple(config["mean"]), tuple(config["std"])

    @property
    def of_patches(self) -> bool:
        """Whether the network begins with patches of the photo, whose side has to be a whole number of cells."""
        return self.patch is not None or first_stride(self.options.name) == 4

    @property
    def cells_stay(self) -> bool:
        """Whether its levels are taken as they are, wherever their cells lie (`methods/networks/offsets.py`)."""
        return self.patch is not None or getattr(self.body, "cells_stay", False)

    def forward(self, images_BCHW: torch.Tensor) -> list[torch.Tensor]:
        """Levels in ascending order, of normalised images.

        A network of patches gets images resized to whole cells, so that none is cut off or padded.
        """
        if self.of_patches:
            stride = self.options.output_stride
            cells = [max(1, round(side / stride)) for side in images_BCHW.shape[2:]]
            images_BCHW = resized(images_BCHW, [count * (self.patch or stride) for count in cells])
        if self.blocks:
            network: Any = self.body
            features: list[torch.Tensor] = network.forward_intermediates(
                images_BCHW, indices=list(self.blocks), norm=True, output_fmt="NCHW", intermediates_only=True
            )
            return features
        features = self.body(images_BCHW)
        if getattr(self.body, "output_fmt", None) == Format.NHWC:
            return [level_BHWC.permute(0, 3, 1, 2) for level_BHWC in features]
        return features

    def to_input(self, images_BHWC: NDArray[np.uint8]) -> torch.Tensor:
        """uint8 RGB photos of one size → normalised float32 (B, 3, H, W) in channels_last."""
        images_BCHW = torch.from_numpy(np.ascontiguousarray(images_BHWC)).permute(0, 3, 1, 2).float().div_(255)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (self.mean_C, self.std_C))
        return images_BCHW.sub_(mean).div_(std).contiguous(memory_format=torch.channels_last)

    def for_inference(self, device: str = "cpu") -> Backbone:
        """A copy on the device in evaluation mode, channels_last, each batch norm folded into its convolution.

        On a CPU an activation is made along with its convolution (`methods/networks/fused.py`). A network whose layers
        do not run in the order they are listed stays as it is: a probe tells.
        """
        plain = copy.deepcopy(self).eval().to(memory_format=torch.channels_last)
        folded = copy.deepcopy(plain)
        _fold_batch_norms(folded)
        fused = copy.deepcopy(folded)
        if can_fuse(device):
            fuse(fused)
        chosen = next((one for one in (fused, folded) if _agree(plain, one)), plain)
        return chosen.to(device)


def build(options: BackboneOptions, levels: Sequence[int], weights: dict[str, torch.Tensor] | None = None) -> Backbone:
    """A backbone with the weights that `options` names, or with those of an earlier fit.

    Raises UserError for a name that is neither timm's nor ours and for weights that are missing or do not fit.
    """
    with torch.random.fork_rng():
        # Random weights are part of a backbone's identity: the same in every process.
        torch.manual_seed(0)
        backbone = Backbone(options, levels)
    state = weights if weights is not None else _initial_weights(options)
    if state is not None:
        _load(backbone.body, state, options)
    return backbone


def _load(body: nn.Module, state: dict[str, torch.Tensor], options: BackboneOptions) -> None:
    # timm joins the names of some networks' modules by '_' when it makes them give features.
    by_name = {name.replace(".", "_"): tensor for name, tensor in state.items()}
    own = body.state_dict()
    # Files of before 2018 do not count the batches that a batch norm has seen; nothing here reads the count.
    by_name |= {name.replace(".", "_"): own[name] for name in own if name.endswith(COUNT) and name not in state}
    wanted = {name: (by_name.get(name.replace(".", "_")), tensor.shape) for name, tensor in own.items()}
    for name, (found, shape) in wanted.items():
        if found is None:
            raise UserError(options.weights, f"no tensor '{name}'", f"weights of {options.name}")
        if found.shape != shape:
            shapes = f"shape {tuple(found.shape)} of '{name}'", f"{tuple(shape)}, as in {options.name}"
            raise UserError(options.weights, *shapes)
        if not found.float().isfinite().all():
            raise UserError(options.weights, f"a value of '{name}' that is no number", "finite weights")
    body.load_state_dict({name: found for name, (found, _) in wanted.items()})


def _create(options: BackboneOptions, levels: Sequence[int]) -> nn.Module:
    if own := OWN_NETWORKS.get(options.name):
        return own(levels, options.output_stride)
    if not timm.is_model(options.name):
        raise unknown_name("backbone.name", "timm model", options.name, [*timm.list_models(), *OWN_NETWORKS])
    # The index of stride 2, which is level 0, among the features that timm counts from the first.
    skipped = 1 - round(math.log2(first_stride(options.name)))
    indices = tuple(level + skipped for level in levels)
    wanted: dict[str, Any] = {"features_only": True, "out_indices": indices, "pretrained": False}
    if options.output_stride != 32:
        # 32 is what networks have anyway, and many do not know the argument.
        wanted["output_stride"] = options.output_stride
    if (family_of(options.name) or "").startswith("swin_"):
        # Windows are masked as each photo's size wants it, not as that of ImageNet.
        wanted["strict_img_size"] = False
    try:
        body: Any = timm.create_model(options.name, **wanted)
        strides = list(body.feature_info.reduction())
        if strides != [min(2 ** (level + 1), options.output_stride) for level in levels]:
            raise ValueError(f"levels {', '.join(map(str, levels))} at strides {', '.join(map(str, strides))}")
    except (AssertionError, LookupError, RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        expected = "a timm model that gives features at this stride"
        raise UserError(
            f"backbone {options.name}, output_stride {options.output_stride}", str(error), expected
        ) from None
    return cast(nn.Module, body)


def _create_plain(name: str, levels: Sequence[int]) -> tuple[nn.Module, tuple[int, ...]]:
    """A plain transformer up to the last block that is wanted, and the index of each level's block."""
    body: Any = timm.create_model(name, pretrained=False, dynamic_img_size=True)
    blocks = tuple(math.ceil(len(body.blocks) * level / 4) - 1 for level in levels)
    body.prune_intermediate_layers(list(blocks), prune_norm=False, prune_head=True)
    return body, blocks


def _initial_weights(options: BackboneOptions) -> dict[str, torch.Tensor] | None:
    if options.weights == "random":
        return None
    if options.weights == "packaged":
        return _packaged_weights(options.name)
    if options.weights == "pretrained":
        return downloaded_weights(options)
    return _weights_of_file(Path(options.weights))


def _packaged_weights(name: str) -> dict[str, torch.Tensor]:
    stored = torch.load(packaged_file(name), weights_only=True, map_location="cpu")
    # The package names its tensors otherwise, but in the same order.
    return dict(zip(timm.create_model(name).state_dict(), stored.values(), strict=True))


def _weights_of_file(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise UserError("backbone.weights", f"no file '{path}'", "packaged, pretrained, random or an existing file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix == ".params":
            return named_as_released(read_parameters(path))
        state = _state_of(path)
        if not isinstance(state, dict) or not all(isinstance(n, str) and _is_plain(v) for n, v in state.items()):
            raise TypeError
        return state
    except Exception as error:
        raise UserError(
            path, f"unreadable weights ({type(error).__name__})", "safetensors, a .pth of tensors, or MXNet's .params"
        ) from None


def _state_of(path: Path) -> dict[str, torch.Tensor]:
    """What `torch.save` wrote, mapped into memory: of what is not used nothing is read. ValueError for other files."""
    if not zipfile.is_zipfile(path):
        # The format of before torch 1.6 cannot be mapped.
        if path.stat().st_size > MAX_UNMAPPED:
            raise ValueError
        return cast("dict[str, torch.Tensor]", torch.load(path, weights_only=True, map_location="cpu"))
    with zipfile.ZipFile(path) as archive:
        # torch compresses nothing; what is compressed may declare any size, and cannot be mapped.
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise ValueError
    state = torch.load(str(path), weights_only=True, map_location="cpu", mmap=True)
    return cast("dict[str, torch.Tensor]", state)


def _is_plain(value: object) -> bool:
    """Whether it is a tensor of real numbers that lie in memory: not sparse, quantized, complex or without content."""
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.device.type != "cpu":
        return False
    return not (value.is_quantized or value.is_complex())


@torch.inference_mode()
def _agree(plain: Backbone, folded: Backbone) -> bool:
    probe_BCHW = torch.linspace(-1, 1, 3 * 64 * 64).view(1, 3, 64, 64)
    try:
        found = folded(probe_BCHW)
    except AttributeError:
        # A network that asks its own layers for something that the fused ones do not have.
        return False
    pairs = zip(plain(probe_BCHW), found, strict=True)
    return all(float((one - other).abs().max()) <= 1e-3 * float(one.abs().max()) for one, other in pairs)


def _fold_batch_norms(module: nn.Module) -> None:
    children = dict(module.named_children())
    for (name, child), (next_name, following) in zip(children.items(), list(children.items())[1:], strict=False):
        if isinstance(child, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(child, following))
            # timm keeps the activation inside its batch-norm layers.
            setattr(module, next_name, getattr(following, "act", nn.Identity()))
    for child in children.values():
        _fold_batch_norms(child)
