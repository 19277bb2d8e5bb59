"""Where a training step gets its features: from the bank (frozen), or through a backbone that is trained along."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from methods.base import BackboneOptions, FeatureBank, FeatureRequest, Surroundings
from methods.colours import Colours, Grid
from methods.crop_inputs import CropInputs, MaskOf
from methods.networks.tuned import TunedBackbone, Tuning
from methods.photo_inputs import PhotoInputs
from methods.sharing import ALONE, Share
from methods.training import Group, named_tensors
from settings.images import resize
from settings.masks import resize_mask
from settings.records import Image, Photo

MEMORY_LIMIT = 2 << 30
"""Resized photos are kept in memory up to this many bytes; beyond it they are decoded anew each time."""
Augmentation = Callable[[Image], Image]
"""Changes the colours of one square, never its shape."""


class Batch(Protocol):
    """The photos of a training step as they were drawn, of this process's share of the batch."""

    @property
    def rows(self) -> NDArray[np.int64]:
        """Which photos these are."""
        ...

    def levels(self, scale: float = 1.0) -> list[torch.Tensor]:
        """Their features, float32 (B, C, h, w) a level, ascending, of copies at `scale` times their size."""
        ...

    def colours(self, grids: Sequence[Grid]) -> list[torch.Tensor]:
        """Their RGB in [−1, 1], float32 (B, 3, h, w) a grid."""
        ...

    def masks_BHW(self, side: int) -> torch.Tensor:
        """Their masks, int64 (B, side, side), nearest-resized and 255 where unknown, for inputs that have masks."""
        ...


Ahead: TypeAlias = Callable[[NDArray[np.int64], np.random.Generator], None]
"""Draws a later batch (rows, the epoch's generator), which is then read beside the training."""


class Inputs(Protocol):
    """Where batches come from: a step takes them in the order in which they were drawn."""

    @property
    def module(self) -> nn.Module:
        """The backbone that is trained along; an identity where none is."""
        ...

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each level."""
        ...

    @property
    def ahead(self) -> Ahead | None:
        """For `train`, where batches are better prepared ahead of their steps."""
        ...

    def draw(self, rows: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """A batch of the photos `rows`: drawn for all of it, of which this process keeps its share."""
        ...

    def groups(self, backbone_factor: float, bias_factor: float = 1.0) -> list[Group]:
        """The parameters that training changes, if any."""
        ...

    def weights_with(self, **heads: nn.Module) -> dict[str, torch.Tensor]:
        """What a fit returns: the heads' tensors, and `backbone.*` where the backbone was trained."""
        ...


class SquareInputs(ABC):
    """Photos as squares of the backbone's size, mirrored half the time: of stored features, or of a tuned backbone."""

    ahead: Ahead | None = None

    def __init__(self, photos: Sequence[Photo], device: str, share: Share, mask_of: MaskOf | None = None) -> None:
        self._share, self._photos, self._device, self._mask_of = share, photos, device, mask_of
        self._masks: dict[int, torch.Tensor] = {}
        self.colours = Colours(photos, device)

    @abstractmethod
    def __call__(
        self,
        rows: NDArray[np.int64],
        flips: NDArray[np.bool_],
        scale: float = 1.0,
        augmentation: Augmentation | None = None,
    ) -> list[torch.Tensor]:
        """float32 (B, C, h, w) a level (ascending), of the photos `rows` at `scale` times the backbone's size.

        Mirrored where `flips` says; `augmentation` changes the colours of each. Raises ValueError for an
        augmentation where features are stored: they are of photos as they are.
        """

    @property
    @abstractmethod
    def module(self) -> nn.Module:
        """The backbone that is trained along; an identity where none is."""

    @property
    @abstractmethod
    def channels(self) -> tuple[int, ...]:
        """Of each level."""

    @abstractmethod
    def groups(self, backbone_factor: float, bias_factor: float = 1.0) -> list[Group]:
        """The parameters that training changes, if any."""

    @abstractmethod
    def weights_with(self, **heads: nn.Module) -> dict[str, torch.Tensor]:
        """What a fit returns: the heads' tensors, and `backbone.*` where the backbone was trained."""

    def draw(self, rows: NDArray[np.int64], rng: np.random.Generator) -> SquareBatch:
        """Which of the batch are mirrored."""
        flips = rng.random(len(rows)) < 0.5
        return SquareBatch(self, self._share.of(rows), self._share.of(flips))

    def masks_NHW(self, side: int) -> torch.Tensor:
        """The masks of all photos, nearest-resized to (N, side, side), uint8; kept, since they are small."""
        assert self._mask_of is not None
        if side not in self._masks:
            masks = [resize_mask(self._mask_of(row), side, side) for row in range(len(self._photos))]
            self._masks[side] = torch.from_numpy(np.stack(masks)).to(self._device)
        return self._masks[side]


@dataclass(frozen=True)
class SquareBatch:
    """Squares, some of them mirrored."""

    inputs: SquareInputs
    rows: NDArray[np.int64]
    flips: NDArray[np.bool_]

    def levels(self, scale: float = 1.0) -> list[torch.Tensor]:
        """Features of the squares at `scale` times the backbone's size."""
        return self.inputs(self.rows, self.flips, scale)

    def colours(self, grids: Sequence[Grid]) -> list[torch.Tensor]:
        """The photos resized to each grid."""
        return self.inputs.colours(self.rows, self.flips, grids)

    def masks_BHW(self, side: int) -> torch.Tensor:
        """The photos' masks at (side, side)."""
        masks_BHW = self.inputs.masks_NHW(side)[self.rows].long()
        masks_BHW[self.flips] = masks_BHW[self.flips].flip(2)
        return masks_BHW


class FrozenInputs(SquareInputs):
    """Training batches from the stored features of a frozen backbone."""

    def __init__(
        self,
        photos: Sequence[Photo],
        levels: Sequence[int],
        bank: FeatureBank,
        device: str,
        share: Share = ALONE,
        mask_of: MaskOf | None = None,
    ) -> None:
        super().__init__(photos, device, share, mask_of)
        self._ids = [photo.id for photo in photos]
        self._levels, self._bank = tuple(levels), bank
        first = self(np.zeros(1, np.int64), np.zeros(1, np.bool_))
        self._channels = tuple(features.shape[1] for features in first)

    @property
    def module(self) -> nn.Module:
        """An identity, since nothing is trained."""
        return nn.Identity()

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each level, as the first photo has them."""
        return self._channels

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


class TrainedInputs(Tuning, SquareInputs):
    """Training batches from photos that go, as squares, through a backbone that is trained along."""

    def __init__(
        self,
        photos: Sequence[Photo],
        levels: Sequence[int],
        options: BackboneOptions,
        device: str,
        share: Share = ALONE,
        mask_of: MaskOf | None = None,
    ) -> None:
        super().__init__(photos, device, share, mask_of)
        self.squares = Squares(photos, options.size)
        self._backbone = TunedBackbone(options, levels, device)

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
        return self._backbone(self._backbone.network.to_input(images_BHWC))


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


def training_inputs(
    photos: Sequence[Photo], levels: Sequence[int], surroundings: Surroundings, mask_of: MaskOf | None = None
) -> SquareInputs:
    """Squares: stored features where there is a bank, else a backbone to train."""
    share, device = surroundings.share, surroundings.device
    if surroundings.bank is not None:
        return FrozenInputs(photos, levels, surroundings.bank, device, share, mask_of)
    return TrainedInputs(photos, levels, surroundings.backbone, device, share, mask_of)


def inputs_of(
    options: PhotoInputs,
    photos: Sequence[Photo],
    levels: Sequence[int],
    surroundings: Surroundings,
    mask_of: MaskOf | None = None,
) -> Inputs:
    """Crops where the options ask for them, else squares; `mask_of` is for a loss of pixels."""
    if options.inputs is not None:
        return CropInputs(photos, levels, options.inputs, surroundings, mask_of)
    return training_inputs(photos, levels, surroundings, mask_of)
