"""Where a training step gets its features: from the bank (frozen), or through a backbone that is trained along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from methods.base import BackboneOptions, FeatureBank, FeatureRequest, Surroundings
from methods.networks.offsets import moved, offsets
from methods.training import Group, groups_of, named_tensors
from settings.images import resize
from settings.records import Image, Photo

MEMORY_LIMIT = 2 << 30
"""Resized photos are kept in memory up to this many bytes; beyond it they are decoded anew each time."""
Augmentation = Callable[[Image], Image]
"""Changes the colours of one square, never its shape."""


class Inputs(Protocol):
    """Features of a training batch, one list entry a level (ascending)."""

    module: nn.Module
    channels: tuple[int, ...]

    def __call__(
        self,
        rows: NDArray[np.int64],
        flips: NDArray[np.bool_],
        scale: float = 1.0,
        augmentation: Augmentation | None = None,
    ) -> list[torch.Tensor]:
        """float32 (B, C, h, w) a level, of the photos `rows` at `scale` times the backbone's size.

        Mirrored where `flips` says; `augmentation` changes the colours of each. Raises ValueError for an
        augmentation where features are stored: they are of photos as they are.
        """
        ...

    def groups(self, backbone_factor: float, bias_factor: float = 1.0) -> list[Group]:
        """The parameters that training changes, if any."""
        ...

    def weights_with(self, **heads: nn.Module) -> dict[str, torch.Tensor]:
        """What a fit returns: the heads' tensors, and `backbone.*` where the backbone was trained."""
        ...


class FrozenInputs:
    """Training batches from the stored features of a frozen backbone."""

    def __init__(self, photos: Sequence[Photo], levels: Sequence[int], bank: FeatureBank, device: str) -> None:
        self._ids = [photo.id for photo in photos]
        self._levels, self._bank, self._device = tuple(levels), bank, device
        self.module: nn.Module = nn.Identity()
        first = self(np.zeros(1, np.int64), np.zeros(1, np.bool_))
        self.channels: tuple[int, ...] = tuple(features.shape[1] for features in first)

    def __call__(
        self,
        rows: NDArray[np.int64],
        flips: NDArray[np.bool_],
        scale: float = 1.0,
        augmentation: Augmentation | None = None,
    ) -> list[torch.Tensor]:
        """One read of the bank for each level."""
        if augmentation is not None:
            raise ValueError("stored features are of photos as they are: no augmentation with a frozen backbone")
        ids = [self._ids[row] for row in rows]
        requests = ([FeatureRequest(scale, bool(flip), level) for flip in flips] for level in self._levels)
        features = (self._bank.features_BCHW(ids, request) for request in requests)
        return [level.to(self._device, memory_format=torch.channels_last) for level in features]

    def groups(self, backbone_factor: float, bias_factor: float = 1.0) -> list[Group]:
        """Nothing of a frozen backbone is trained."""
        return []

    def weights_with(self, **heads: nn.Module) -> dict[str, torch.Tensor]:
        """The heads' tensors alone, since the backbone stays as it was."""
        return named_tensors(**heads)


class TrainedInputs:
    """Training batches from photos that go through a backbone that is trained along."""

    def __init__(self, photos: Sequence[Photo], levels: Sequence[int], options: BackboneOptions, device: str) -> None:
        self.squares = Squares(photos, options.size)
        # Inputs of a frozen backbone need no timm, whose import takes seconds.
        from methods.networks.backbones import build

        self._backbone = build(options, levels).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._options, self._levels = options, levels
        self._offsets: dict[int, tuple[float, ...]] = {}
        self.module: nn.Module = self._backbone
        self.channels: tuple[int, ...] = self._backbone.channels
        self._device = device

    def __call__(
        self,
        rows: NDArray[np.int64],
        flips: NDArray[np.bool_],
        scale: float = 1.0,
        augmentation: Augmentation | None = None,
    ) -> list[torch.Tensor]:
        """One forward pass of the photos, as squares, through the backbone; each level is moved to its place."""
        squares = [self.squares.at(row, scale) for row in rows]
        images_BHWC = np.stack([augmentation(square) for square in squares] if augmentation else squares)
        images_BHWC[flips] = images_BHWC[flips, :, ::-1]
        levels: list[torch.Tensor] = self._backbone(self._backbone.to_input(images_BHWC).to(self._device))
        return [moved(level, by) for level, by in zip(levels, self._offsets_at(images_BHWC.shape[2]), strict=True)]

    def _offsets_at(self, side: int) -> tuple[float, ...]:
        """Those of the backbone before training, so that a training that goes on after a kill moves by the same."""
        from methods.networks.backbones import build

        if side not in self._offsets:
            self._offsets[side] = offsets(build(self._options, self._levels).eval(), side)
        return self._offsets[side]

    def groups(self, backbone_factor: float, bias_factor: float = 1.0) -> list[Group]:
        """The whole backbone, at its own learning rate."""
        return groups_of(self._backbone, backbone_factor, bias_factor)

    def weights_with(self, **heads: nn.Module) -> dict[str, torch.Tensor]:
        """The heads and the trained backbone."""
        return named_tensors(backbone=self._backbone.body, **heads)


class Squares:
    """Photos resized to squares, each kept while there is room in memory."""

    def __init__(self, photos: Sequence[Photo], side: int) -> None:
        self._photos, self._side = photos, side
        self._kept: dict[tuple[int, int], Image] = {}
        self._room = MEMORY_LIMIT

    def at(self, row: int, scale: float) -> Image:
        """A photo as uint8 RGB (s, s, 3), s being `scale` times the side, rounded as the features stage does."""
        side = round(self._side * scale)
        if (row, side) in self._kept:
            return self._kept[row, side]
        square = resize(self._photos[row].image(), side, side)
        if square.nbytes <= self._room:
            self._room -= square.nbytes
            self._kept[row, side] = square
        return square


def training_inputs(photos: Sequence[Photo], levels: Sequence[int], surroundings: Surroundings) -> Inputs:
    """Stored features where there is a bank, else a backbone to train."""
    if surroundings.bank is not None:
        return FrozenInputs(photos, levels, surroundings.bank, surroundings.device)
    return TrainedInputs(photos, levels, surroundings.backbone, surroundings.device)
