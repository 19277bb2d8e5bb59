"""ResNet-38, the wide residual network under PSA and SEAM: model A1 of Wu, Shen & van den Hengel, "Wider or Deeper",
arXiv 1611.10080, at output stride 8 as the program of Ahn & Kwak (CVPR 2018) has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import FeatureInfo
from torch import nn

from methods.networks.heads import he_normal_
from settings.errors import UserError

__all__ = ["ResNet38", "named_as_released"]

OUTPUT_STRIDE = 8
LEVELS = (("b3", 128, 2), ("b4", 256, 4), ("b5", 512, 8), ("b6", 1024, 8), ("", 4096, 8))
"""Per feature level: (the unit whose first batch norm and ReLU give it, channels, stride); the last is behind `bn7`.

Levels 2, 3 and 4 are "conv4", "conv5" and "conv6" of the released programs.
"""
NOT_TRAINED = ("conv1a", "b2", "b2_1", "b2_2")
"""Layers that keep their weights in training, beside all batch norms."""
FIRST_SHARE = 0.25
"""Factor of random weights in a unit's last convolution: sums over 17 units would grow without it."""
OF_NORMS = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "var": "running_var"}
"""Last word of a batch norm's parameter in MXNet → torch's name."""


class Step(NamedTuple):
    """A convolution of a unit: its output channels, the side of its kernel, its dilation and stride."""

    width: int
    kernel: int
    dilation: int = 1
    stride: int = 1


class Unit(nn.Module):
    """Batch norm, ReLU and convolution two or three times, added to what came in.

    Where that has another size or other channels, a 1×1 convolution of the first ReLU's output takes its place. Whole
    channels are dropped before the second and third convolution with probability `dropout`, in training.
    """

    NAMES = ("branch2a", "branch2b1", "branch2b2")

    def __init__(self, channels: int, steps: Sequence[Step], dropout: float = 0) -> None:
        super().__init__()
        self._names, inputs = self.NAMES[: len(steps)], channels
        for name, step in zip(self._names, steps, strict=True):
            self.add_module(f"bn_{name}", nn.BatchNorm2d(inputs))
            self.add_module(f"conv_{name}", _convolution(inputs, step))
            inputs = step.width
        with torch.no_grad():
            self.get_parameter(f"conv_{self._names[-1]}.weight").mul_(FIRST_SHARE)
        self.conv_branch1: nn.Conv2d | None = None
        if inputs != channels or steps[0].stride != 1:
            self.conv_branch1 = _convolution(channels, Step(inputs, 1, 1, steps[0].stride))
        self.dropout = nn.Dropout2d(dropout)

    def activated(self, sums_BCHW: torch.Tensor) -> torch.Tensor:
        """What came in, after the first batch norm and ReLU."""
        normed_BCHW: torch.Tensor = self.get_submodule("bn_branch2a")(sums_BCHW)
        return normed_BCHW.relu()

    def forward(self, sums_BCHW: torch.Tensor, activated_BCHW: torch.Tensor) -> torch.Tensor:
        """What came in, and the same `activated`, (B, channels, h, w) → (B, output channels, h', w')."""
        branch_BCHW: torch.Tensor = self.get_submodule("conv_branch2a")(activated_BCHW)
        for name in self._names[1:]:
            normed_BCHW = self.get_submodule(f"bn_{name}")(branch_BCHW)
            branch_BCHW = self.get_submodule(f"conv_{name}")(self.dropout(normed_BCHW.relu()))
        if self.conv_branch1 is None:
            return sums_BCHW + branch_BCHW
        beside_BCHW: torch.Tensor = self.conv_branch1(activated_BCHW)
        return beside_BCHW + branch_BCHW


class ResNet38(nn.Module):
    """15 units of two 3×3 convolutions, two bottlenecks dilated by 4, and a last batch norm.

    Layers are named as in the released programs, whose weights fit. In training the batch norms use their stored
    statistics and learn nothing, the first convolution and the units of the first stage stay as they are, and the
    bottlenecks drop whole channels. `thinness` divides all widths. Raises UserError for another output stride.
    """

    cells_stay = True
    """Features are read as the published programs read them, wherever their cells lie."""

    def __init__(self, levels: Sequence[int], output_stride: int, thinness: int = 1) -> None:
        super().__init__()
        if output_stride != OUTPUT_STRIDE:
            raise UserError("backbone.output_stride", str(output_stride), f"{OUTPUT_STRIDE} for resnet38")
        self.conv1a = _convolution(3, Step(64 // thinness, 3))
        units = _units(thinness)
        for name, unit in units.items():
            self.add_module(name, unit)
        self.bn7 = nn.BatchNorm2d(4096 // thinness)
        self._units, self._wanted = tuple(units), tuple(LEVELS[level][0] for level in levels)
        for module in (*self._norms(), *map(self.get_submodule, NOT_TRAINED)):
            module.requires_grad_(False)
        # What a backbone asks of timm's networks.
        self.feature_info = FeatureInfo(_levels_for_timm(thinness), tuple(levels))
        self.pretrained_cfg: dict[str, Any] = {"mean": IMAGENET_DEFAULT_MEAN, "std": IMAGENET_DEFAULT_STD}

    def forward(self, images_BCHW: torch.Tensor) -> list[torch.Tensor]:
        """The wanted levels in ascending order, (B, C, h, w) each, after batch norm and ReLU."""
        found: list[torch.Tensor] = []
        sums_BCHW = self.conv1a(images_BCHW)
        for name in self._units:
            unit = self.get_submodule(name)
            assert isinstance(unit, Unit)
            activated_BCHW = unit.activated(sums_BCHW)
            if name in self._wanted:
                found.append(activated_BCHW)
            if len(found) == len(self._wanted):
                return found
            sums_BCHW = unit(sums_BCHW, activated_BCHW)
        return [*found, self.bn7(sums_BCHW).relu()]

    def train(self, mode: bool = True) -> ResNet38:
        """Everything but the batch norms changes its mode."""
        super().train(mode)
        for norm in self._norms():
            norm.eval()
        return self

    def _norms(self) -> list[nn.Module]:
        return [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]


def named_as_released(parameters: Mapping[str, NDArray[np.generic]]) -> dict[str, torch.Tensor]:
    """The parameters of the authors' MXNet file (`ilsvrc-cls_rna-a1_cls1000_ep-0001.params`) by this network's names.

    `res3b2_branch2a_weight` is `b3_2.conv_branch2a.weight`, `bn3a_branch2a_gamma` is `b3.bn_branch2a.weight`. The
    classifier of ImageNet is left out.
    """
    tensors: dict[str, torch.Tensor] = {}
    for full_name, values in parameters.items():
        layer, *rest = full_name.rpartition(":")[2].split("_")
        if layer.startswith("linear"):
            continue
        if layer == "conv1a":
            name = "conv1a.weight"
        elif not rest[0].startswith("branch"):
            name = f"bn7.{OF_NORMS[rest[-1]]}"
        elif layer.startswith("res"):
            name = f"{_unit_of(layer[3:])}.conv_{rest[0]}.weight"
        else:
            name = f"{_unit_of(layer[2:])}.bn_{rest[0]}.{OF_NORMS[rest[-1]]}"
        tensors[name] = torch.from_numpy(np.array(values))
    return tensors


def _unit_of(block: str) -> str:
    """`3a` is the first unit of the third stage, `b3`; `3b2` is `b3_2`."""
    return f"b{block[0]}_{block[2:]}" if block[1] == "b" else f"b{block[0]}"


def _convolution(channels: int, step: Step) -> nn.Conv2d:
    padding = step.dilation * (step.kernel // 2)
    convolution = nn.Conv2d(channels, step.width, step.kernel, step.stride, padding, step.dilation, bias=False)
    # Random weights by torch's default would fade to nothing: batch norms do not normalise by the batch.
    return he_normal_(convolution)


def _units(thinness: int) -> dict[str, Unit]:
    """The units by their names, in order."""
    units: dict[str, Unit] = {}
    channels = 64 // thinness
    for stage, width, count in ((2, 128, 3), (3, 256, 3), (4, 512, 6)):
        width //= thinness
        for index in range(count):
            units[_name(stage, index)] = Unit(channels, (Step(width, 3, stride=1 if index else 2), Step(width, 3)))
            channels = width
    middle, width = 512 // thinness, 1024 // thinness
    for index in range(3):
        # Dilation takes the place of a stride: the convolution that would have it still sees its old neighbours.
        units[_name(5, index)] = Unit(channels, (Step(middle, 3, 2 if index else 1), Step(width, 3, 2)))
        channels = width
    for stage, width, dropout in ((6, 2048, 0.3), (7, 4096, 0.5)):
        width //= thinness
        steps = Step(width // 4, 1), Step(width // 2, 3, 4), Step(width, 1)
        units[_name(stage, 0)] = Unit(channels, steps, dropout)
        channels = width
    return units


def _name(stage: int, index: int) -> str:
    return f"b{stage}_{index}" if index else f"b{stage}"


def _levels_for_timm(thinness: int) -> list[dict[str, Any]]:
    return [
        {"num_chs": channels // thinness, "reduction": stride, "module": name or "bn7"}
        for name, channels, stride in LEVELS
    ]
