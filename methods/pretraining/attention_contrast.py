"""After attention-guided supervised contrast (arXiv 2106.01596): a crop around a class's map, the map as its attention,
is drawn near other crops of that class. The backbone then serves segmentation.

The paper's attention are coarse masks; here the recipe's localization maps stand for them (docs/neighbours.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from methods.base import Cost, Fit, Localized, Photo, Pretraining, Surroundings, TrainingOptions
from methods.crops import Box, random_box
from methods.upsampling import upsample
from settings.options import Options
from settings.records import Image

if TYPE_CHECKING:
    import torch

    from methods.networks.projected import Projected

LEVELS = (1, 4)
"""Of the backbone: its last, and one that every reader of features may want."""
CROPPED_FROM = 1.0
"""Crops are taken from squares of so many times the backbone's size."""
SHOWN = 0.3
"""Of a map's maximum: what is more belongs to the object that is cropped around."""
CONTEXT = 0.25
"""Of the object's box, added on each side."""
AREAS = (0.3, 1.0)
"""Of the box: how much a view shows."""
JITTER = (0.4, 0.4, 0.2, 0.1)
"""Strengths of brightness, contrast, saturation and hue."""


class AttentionContrastOptions(Options):
    """The crops, the projection, the controls and the training."""

    size: int = Field(128, ge=32, le=512, multiple_of=32, description="side of a crop (pixels)")
    width: int = Field(128, ge=8, le=1024, description="length of the vectors that are compared")
    temperature: float = Field(0.3, ge=0.01, le=10)
    attention: Literal["map", "zero"] = Field("map", description="zero: the control, the map is not shown")
    classes: Literal["true", "shuffled"] = Field("true", description="shuffled: the control, classes at random")
    training: TrainingOptions = TrainingOptions(epochs=3, batch=16, learning_rate=0.02)


class Item(NamedTuple):
    """One class of one photo."""

    photo: Photo
    row: int
    """Of the photo among all."""
    place: int
    """Of the class among the photo's maps."""
    class_id: int


class View(NamedTuple):
    """A crop, uint8 RGB (s, s, 3), and the map's values there, (s, s)."""

    image: Image
    map_HW: NDArray[np.float32]


class AttentionContrast(Pretraining):
    """Two views a photo and class; every other view of the class is a positive."""

    options_model = AttentionContrastOptions
    fit_cost = Cost(0.1)
    reads_maps = True
    options: AttentionContrastOptions

    def fit(self, data: Localized, surroundings: Surroundings) -> Fit:
        """Train on every (photo, class) whose map is not empty; raises ValueError where there are fewer than two."""
        import torch

        from methods.inputs import Squares
        from methods.networks.backbones import build
        from methods.networks.contrast import contrastive_loss_of_views, same_class
        from methods.networks.projected import Projected
        from methods.training import groups_of, named_tensors, train

        torch.manual_seed(surroundings.rng_seed)
        options, backbone, share = self.options, surroundings.backbone, surroundings.share
        items = items_of(data)
        if len(items) < 2:
            raise ValueError(f"{len(items)} maps that show anything: two at least, to be compared")
        classes_N = np.array([item.class_id for item in items])
        if options.classes == "shuffled":
            classes_N = np.random.default_rng(surroundings.rng_seed).permutation(classes_N)
        net = Projected(build(backbone, LEVELS), options.width).to(surroundings.device)
        squares = Squares(data.weak.photos, backbone.size)

        def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
            pairs = [self._views(items[row], squares.at(items[row].row, CROPPED_FROM), data, rng) for row in rows]
            mine = share.of(pairs)
            vectors = [_vectors_BD(net, [pair[view] for pair in mine], surroundings) for view in range(2)]
            alike_BB = same_class(torch.from_numpy(classes_N[rows]).to(surroundings.device))
            whole_BVD = share.gathered(torch.stack(vectors, dim=1), len(rows))
            return {"contrast": contrastive_loss_of_views(whole_BVD, alike_BB, options.temperature)}

        training = options.training
        groups = groups_of(net.backbone, training.backbone_factor, training.bias_factor)
        head = torch.nn.ModuleList([net.attention, net.projection])
        groups += groups_of(head, bias_factor=training.bias_factor)
        log = train(net, groups, len(items), step, training, surroundings)
        return Fit(named_tensors(backbone=net.backbone.body), log)

    def _views(self, item: Item, square: Image, data: Localized, rng: np.random.Generator) -> tuple[View, View]:
        """Two random parts of the class's box, mirrored and jittered each by itself."""
        side = square.shape[0]
        map_HW = upsample(replace(data.maps(item.photo.id), image_size=(side, side)))[item.place]
        box = box_of(map_HW)
        if self.options.attention == "zero":
            map_HW = np.zeros_like(map_HW)
        first, second = (_view(square, map_HW, random_box(box, AREAS, rng), self.options.size, rng) for _ in range(2))
        return first, second


def items_of(data: Localized) -> list[Item]:
    """Every class of every photo whose map has a value above 0."""
    found = []
    for row, photo in enumerate(data.weak.photos):
        maps = data.maps(photo.id)
        shown = [place for place, map_HW in enumerate(maps.maps_CHW) if map_HW.max() > 0]
        found += [Item(photo, row, place, maps.class_ids[place]) for place in shown]
    return found


def box_of(map_HW: NDArray[np.float32]) -> Box:
    """What surrounds all values above `SHOWN` of the maximum, and some context, within the map."""
    height, width = map_HW.shape
    rows, columns = np.nonzero(map_HW >= SHOWN * map_HW.max())
    tall, wide = int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1
    top, left = max(0, round(rows.min() - CONTEXT * tall)), max(0, round(columns.min() - CONTEXT * wide))
    bottom = min(height, round(rows.max() + 1 + CONTEXT * tall))
    right = min(width, round(columns.max() + 1 + CONTEXT * wide))
    return Box(top, left, bottom - top, right - left)


def _view(square: Image, map_HW: NDArray[np.float32], box: Box, side: int, rng: np.random.Generator) -> View:
    from methods.jitter import ColourJitter, jittered

    image = jittered(box.cut(square, side), ColourJitter(*JITTER).draw(rng))
    # The map is smooth: its nearest values do.
    places = (np.arange(side) + 0.5) / side
    rows = box.top + (places * box.height).astype(np.int64)
    columns = box.left + (places * box.width).astype(np.int64)
    cut_HW = map_HW[rows][:, columns]
    if rng.random() < 0.5:
        return View(image[:, ::-1], cut_HW[:, ::-1])
    return View(image, cut_HW)


def _vectors_BD(net: Projected, views: Sequence[View], surroundings: Surroundings) -> torch.Tensor:
    import torch

    images_BCHW = net.backbone.to_input(np.stack([view.image for view in views])).to(surroundings.device)
    maps_BHW = torch.from_numpy(np.stack([view.map_HW for view in views])).to(surroundings.device)
    vectors_BD: torch.Tensor = net(images_BCHW, maps_BHW[:, None])
    return vectors_BD
