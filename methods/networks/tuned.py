"""A backbone that is trained along with what lies on top of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from methods.base import BackboneOptions
from methods.networks.offsets import moved, offsets
from methods.training import Group, groups_of, named_tensors

if TYPE_CHECKING:
    from methods.networks.backbones import Backbone


class TunedBackbone:
    """A backbone in training; gives some levels, ascending, each moved to where its cells lie."""

    def __init__(self, options: BackboneOptions, levels: Sequence[int], device: str) -> None:
        # What reads stored features imports this module too, and needs no timm, whose import takes seconds.
        from methods.networks.backbones import build

        self.network: Backbone = build(options, levels).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._options, self._levels, self._device = options, levels, device
        self._offsets: dict[int, tuple[float, ...]] = {}

    @property
    def mean_colour(self) -> tuple[int, int, int]:
        """The RGB that normalisation makes 0 of, but for rounding."""
        red, green, blue = (round(255 * mean) for mean in self.network.mean_C)
        return red, green, blue

    def to_input(self, images_BHWC: NDArray[np.uint8]) -> torch.Tensor:
        """uint8 RGB photos of one size → normalised float32 (B, 3, H, W) on the CPU."""
        return self.network.to_input(images_BHWC)

    def __call__(self, images_BCHW: torch.Tensor) -> list[torch.Tensor]:
        """Normalised squares (B, 3, s, s) → (B, C, h, w) a level, on the device."""
        levels: list[torch.Tensor] = self.network(images_BCHW.to(self._device))
        return [moved(level, by) for level, by in zip(levels, self._offsets_at(images_BCHW.shape[3]), strict=True)]

    def _offsets_at(self, side: int) -> tuple[float, ...]:
        """Those of the backbone before training, so that a training that goes on after a kill moves by the same."""
        from methods.networks.backbones import build

        if self.network.cells_stay:
            return (0.0,) * len(self._levels)
        if side not in self._offsets:
            self._offsets[side] = offsets(build(self._options, self._levels).eval(), side)
        return self._offsets[side]


class Tuning:
    """What inputs that train a backbone along tell of it."""

    _backbone: TunedBackbone

    @property
    def module(self) -> nn.Module:
        """The network itself."""
        return self._backbone.network

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each level."""
        channels: tuple[int, ...] = self._backbone.network.channels
        return channels

    def groups(self, backbone_factor: float, bias_factor: float = 1.0) -> list[Group]:
        """The whole backbone, at its own learning rate."""
        return groups_of(self._backbone.network, backbone_factor, bias_factor)

    def weights_with(self, **heads: nn.Module) -> dict[str, torch.Tensor]:
        """The heads and the trained backbone."""
        return named_tensors(backbone=self._backbone.network.body, **heads)
