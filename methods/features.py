"""The `features` stage: each photo's backbone features, computed once and read by every recipe, trial and setting."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file

from methods.base import FeatureRequest
from methods.memory import kept_memory
from methods.networks.offsets import moved, offsets
from settings.images import resize
from settings.records import Photo

if TYPE_CHECKING:
    # Whatever reads stored features imports this module: timm, which takes seconds, is for those who compute them.
    from methods.networks.backbones import Backbone

BATCH = 2
"""Photos a forward pass: at 320 pixels 1, 2 and 4 are about as fast, and with 4 the default backbone's widest layer
exceeds 32 MB: the system takes back and clears blocks of that size each time."""

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """The photos of one artefact in the order of its rows, with their sizes (height, width)."""

    ids: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Computed:
    """The photos, and their float16 features (photos, C, h, w) a request."""

    shard: Shard
    features: Mapping[FeatureRequest, torch.Tensor]


class FrozenBackbone:
    """A backbone as it gives features: for inference, on its device, and with where its cells lie."""

    def __init__(self, backbone: Backbone, device: str = "cpu") -> None:
        self.network = backbone.for_inference(device)
        self.device = device
        self._offsets: dict[int, tuple[float, ...]] = {}

    def side(self, scale: float) -> int:
        """Of the squares that photos become, in pixels."""
        return round(self.network.options.size * scale)

    def offsets(self, side: int) -> tuple[float, ...]:
        """By how many cells each level of such a square lies behind its place, measured when it is first asked."""
        if side not in self._offsets:
            self._offsets[side] = offsets(self.network, side)
        return self._offsets[side]

    def input(self, images: Sequence[NDArray[np.uint8]], side: int) -> torch.Tensor:
        """Photos (H, W, 3) of any sizes → normalised squares (B, 3, side, side)."""
        return self.network.to_input(np.stack([resize(image, side, side) for image in images])).to(self.device)


def compute(
    backbone: FrozenBackbone,
    photos: Sequence[Photo],
    requests: Sequence[FeatureRequest],
    progress: Callable[[int], None] = lambda done: None,
    together: int = BATCH,
) -> Computed:
    """float16 features (photos, C, h, w) for each request; every photo is decoded once, whatever is asked.

    So many photos go through the network `together`. `backbone` must give exactly the levels that the requests name,
    ascending. A level whose cells lie beside their place is moved there, so that whoever reads it need not know.
    """
    levels = sorted({request.level for request in requests})
    flips_at: dict[float, set[bool]] = {}
    for request in requests:
        flips_at.setdefault(request.scale, set()).add(request.flip)
    parts: dict[FeatureRequest, list[torch.Tensor]] = {request: [] for request in requests}
    sizes: list[tuple[int, int]] = []
    with torch.inference_mode(), kept_memory():
        for batch in batches(photos, together):
            images = [photo.image() for photo in batch]
            sizes += [(image.shape[0], image.shape[1]) for image in images]
            for scale, flips in flips_at.items():
                side = backbone.side(scale)
                plain_BCHW = backbone.input(images, side)
                for flip in sorted(flips):
                    found = backbone.network(plain_BCHW.flip(3) if flip else plain_BCHW)
                    for level, features, offset in zip(levels, found, backbone.offsets(side), strict=True):
                        if (request := FeatureRequest(scale, flip, level)) in parts:
                            parts[request].append(moved(features, offset).half().cpu().contiguous())
            progress(len(sizes))
    return Computed(
        Shard(tuple(photo.id for photo in photos), tuple(sizes)),
        {request: torch.cat(tensors) for request, tensors in parts.items()},
    )


def batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Consecutive slices of at most `size` items."""
    return (items[start : start + size] for start in range(0, len(items), size))


def write_shard(path: Path, request: FeatureRequest, shard: Shard, features_NCHW: torch.Tensor) -> None:
    """One artefact of the features stage: the tensor, and in its header the request and the photos."""
    header = {"request": asdict(request), "ids": list(shard.ids), "sizes": [list(size) for size in shard.sizes]}
    save_file({"features_NCHW": features_NCHW}, path, metadata={"seedbed": json.dumps(header)})


class StoredFeatures:
    """A FeatureBank over shards on disk; they are mapped into memory, so the page cache keeps what is used."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._rows: dict[tuple[FeatureRequest, str], tuple[Path, int]] = {}
        self._sizes: dict[str, tuple[int, int]] = {}
        self._tensor = cache(_map_tensor)
        for path in paths:
            with safe_open(path, framework="pt") as file:
                header = json.loads(file.metadata()["seedbed"])
            request = FeatureRequest(**header["request"])
            for row, (photo_id, size) in enumerate(zip(header["ids"], header["sizes"], strict=True)):
                self._rows[request, photo_id] = (path, row)
                self._sizes[photo_id] = (size[0], size[1])

    def features_BCHW(self, ids: Sequence[str], requests: Sequence[FeatureRequest]) -> torch.Tensor:
        """float32 features of the photos in channels_last, each with its own request.

        Raises KeyError for what was not declared.
        """
        rows = [self._rows[request, photo_id] for photo_id, request in zip(ids, requests, strict=True)]
        stored = [self._tensor(path)[row] for path, row in rows]
        features_BCHW = torch.empty((len(stored), *stored[0].shape), memory_format=torch.channels_last)
        # Two steps, of which the first stays in the cache, take half the time of one for all photos together.
        for features_CHW, stored_CHW in zip(features_BCHW, stored, strict=True):
            features_CHW.copy_(stored_CHW.float())
        return features_BCHW

    def image_size(self, photo_id: str) -> tuple[int, int]:
        """(height, width) of the photo in pixels."""
        return self._sizes[photo_id]


def _map_tensor(path: Path) -> torch.Tensor:
    with safe_open(path, framework="pt") as file:
        tensor: torch.Tensor = file.get_tensor("features_NCHW")
    return tensor
