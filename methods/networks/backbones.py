"""Backbones, timm's and ours: one place that builds them, loads their weights and knows their normalisation."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from methods.base import BackboneOptions
from methods.initial_weights import downloaded_weights, packaged_file
from methods.networks.fused import can_fuse, fuse
from methods.networks.vgg import Vgg16LargeFov
from settings.errors import UserError, unknown_name

OWN_NETWORKS: Mapping[str, Callable[[Sequence[int], int], nn.Module]] = {"vgg16_largefov": Vgg16LargeFov}
"""Networks that timm does not have: (feature levels, output stride) → a module with timm's `feature_info` and
`pretrained_cfg`."""


class Backbone(nn.Module):
    """A network of timm's or ours; forward gives the wanted feature levels, (B, C, h, w) each."""

    def __init__(self, options: BackboneOptions, levels: Sequence[int]) -> None:
        super().__init__()
        self.options = options
        self.body = _create(options, levels)
        # timm adds these to the modules that it makes.
        info: Any = self.body.feature_info
        config: Any = self.body.pretrained_cfg
        self.channels: tuple[int, ...] = tuple(info.channels())
        self.mean_C, self.std_C = tuple(config["mean"]), tuple(config["std"])

    def forward(self, images_BCHW: torch.Tensor) -> list[torch.Tensor]:
        """Levels in ascending order, of normalised images."""
        features: list[torch.Tensor] = self.body(images_BCHW)
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
    wanted = {name: (by_name.get(name.replace(".", "_")), tensor.shape) for name, tensor in body.state_dict().items()}
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
    wanted: dict[str, Any] = {"features_only": True, "out_indices": tuple(levels), "pretrained": False}
    if options.output_stride != 32:
        # 32 is what networks have anyway, and many do not know the argument.
        wanted["output_stride"] = options.output_stride
    try:
        body: nn.Module = timm.create_model(options.name, **wanted)
    except (AssertionError, LookupError, RuntimeError, TypeError, ValueError, NotImplementedError) as error:
        expected = "a timm model that gives features at this stride"
        raise UserError(
            f"backbone {options.name}, output_stride {options.output_stride}", str(error), expected
        ) from None
    return body


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
        state: dict[str, torch.Tensor] = torch.load(path, weights_only=True, map_location="cpu")
        if not isinstance(state, dict) or not all(isinstance(n, str) and _is_plain(v) for n, v in state.items()):
            raise TypeError
        return state
    except Exception as error:
        raise UserError(
            path, f"unreadable weights ({type(error).__name__})", "safetensors, or a .pth of tensors"
        ) from None


def _is_plain(value: object) -> bool:
    """Whether it is a tensor of real numbers that lie in memory: not sparse, quantized, complex or without content."""
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.device.type != "cpu":
        return False
    return not (value.is_quantized or value.is_complex())


@torch.inference_mode()
def _agree(plain: Backbone, folded: Backbone) -> bool:
    probe_BCHW = torch.linspace(-1, 1, 3 * 64 * 64).view(1, 3, 64, 64)
    pairs = zip(plain(probe_BCHW), folded(probe_BCHW), strict=True)
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
