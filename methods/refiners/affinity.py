"""AffinityNet (Ahn & Kwak, CVPR 2018, "PSA"): a network learns from the maps' sure pixels which pixels are alike, and a
random walk carries the maps along. On features of the frozen backbone; formulas in docs/methods.md §4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from methods.base import (
    Cost,
    FeatureRequest,
    Fit,
    LocalizationMaps,
    Localized,
    MapRecords,
    Photos,
    Refiner,
    Surroundings,
    TrainingOptions,
)
from methods.label_steps import LabelRefiner, Scores, affinity_labels, require_label_refiner
from methods.photo_inputs import RefinerInputs
from methods.refining import fit_on_pairs, grids_of, on_one_scale, sure_labels
from methods.upsampling import upsample
from settings.records import Image, Mask

if TYPE_CHECKING:
    import torch

    from methods.networks.random_walk import Counted
    from methods.refining import OnGrid, Scores

LEVELS = (2, 3, 4)
"""Of the backbone; labels, loss and walk are on the grid of the first (stride 8)."""


class AffinityOptions(RefinerInputs):
    """The label step, the training, and the walk; defaults are the paper's but for the training's length."""

    later_options = frozenset({"group_norm"})
    low: float = Field(4.0, gt=0, le=1000, description="power of the background under which a class is believed")
    high: float = Field(24.0, gt=0, le=1000, description="the same under which the background is believed")
    label_refiner: LabelRefiner = "pamr"
    label_size: int = Field(192, ge=16, le=4096, description="longer side of photos in the label step (pixels)")
    radius: int = Field(5, ge=2, le=32, description="pairs within this distance (grid positions)")
    beta: float = Field(8.0, gt=0, le=100)
    log2_steps: int = Field(8, ge=0, le=16, description="less for shorter grids")
    background_power: float = Field(16.0, gt=0, le=1000, description="of the background map that walks along")
    group_norm: bool = Field(True, description="behind each level's projection; the released ResNet-38 has none")
    training: TrainingOptions = TrainingOptions(epochs=3, learning_rate=0.05)


class Affinity(Refiner):
    """Walked maps, and beside them the walked background: the threshold labeler takes the argmax of both.

    So does the released program. There is no threshold in it, hence none to sweep; `rule: constant` has one.
    """

    options_model = AffinityOptions
    options: AffinityOptions
    apply_options = frozenset({"aspect", "beta", "log2_steps", "background_power"})
    # Once: the label step, whose refiner goes through photos and not through features.
    fit_cost = Cost(0.005, once=0.022)
    # The walk multiplies matrices of positions by positions; banded at first.
    apply_cost = Cost(0.008, power=2)
    version = 3
    bfloat16_pays = True
    gives_background = True

    def check_installed(self, where: str) -> None:
        """Raise Impossible where the refiner of the labels needs a package that is not installed."""
        require_label_refiner(self.options.label_refiner, where)

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """The backbone's levels 2 to 4 of each photo, plain and mirrored."""
        return tuple(FeatureRequest(flip=flip, level=level) for flip in (False, True) for level in LEVELS)

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """The backbone's levels 2 to 4 of each photo, plain; none where the photo keeps its aspect."""
        if self.options.keeps_aspect:
            return ()
        return tuple(FeatureRequest(level=level) for level in LEVELS)

    def sure_labels(self, maps_CHW: Scores, class_ids: Sequence[int], image_HWC_uint8: Image) -> Mask:
        """What it learns from: the label of each pixel of a photo, uint8 (H, W), 255 where it is not sure."""
        o = self.options
        return affinity_labels(maps_CHW, class_ids, image_HWC_uint8, o.low, o.high, o.label_refiner)

    def fit(self, data: Localized, surroundings: Surroundings) -> Fit:
        """The pair loss on labels of sure pixels, on photos mirrored at random; ValueError where nothing is sure."""
        from methods.networks.affinity_net import AffinityHead

        o = self.options
        require_label_refiner(o.label_refiner)
        labels = sure_labels(data, self.sure_labels, o.label_size)

        def loss(
            head: torch.nn.Module, levels: Sequence[torch.Tensor], labels_BHW: torch.Tensor, counted: Counted
        ) -> torch.Tensor:
            assert isinstance(head, AffinityHead)
            return head.loss(levels, labels_BHW, o.radius, counted)

        head_of = partial(AffinityHead, norm=o.group_norm)
        return fit_on_pairs(data, LEVELS, head_of, labels, loss, o, o.training, surroundings)

    def apply(self, photos: Photos, maps: Callable[[str], LocalizationMaps], surroundings: Surroundings) -> MapRecords:
        """Background and maps of each photo after the walk, divided by the maximum of all."""
        import torch

        from methods.networks.affinity_net import AffinityHead
        from methods.networks.random_walk import affinity_walk
        from methods.training import part_of

        head, o = AffinityHead.of_state(part_of(surroundings.weights, "head")), self.options
        head, device = head.to(surroundings.device).eval(), surroundings.device
        on_grid = grids_of(o, LEVELS, surroundings)
        for photo in photos:
            record = maps(photo.id)
            if not record.class_ids:
                yield record
                continue
            seen = on_grid(photo)
            scores_SHW = torch.from_numpy(self._onto(seen, record)).to(device)
            with torch.inference_mode():
                feature_DHW = head(seen.plain, scores_SHW.shape[1:])[0]
            walked_SHW = affinity_walk(scores_SHW, feature_DHW, o.beta, o.log2_steps, o.radius)
            divided_SHW = on_one_scale(seen.back(walked_SHW))
            yield replace(record, maps_CHW=divided_SHW[1:], background_HW=divided_SHW[0], upsampling="bilinear")

    def _onto(self, seen: OnGrid, record: LocalizationMaps) -> Scores:
        """Background and maps at the grid; of a photo at its own size the background is made there, as released."""
        if not self.options.keeps_aspect:
            return self._with_background(seen.onto(record))
        scores_SHW = self._with_background(upsample(record))
        return seen.onto(replace(record, maps_CHW=scores_SHW))

    def _with_background(self, maps_CHW: Scores) -> Scores:
        """(1 − highest map)^power before the maps, (1 + C, h, w)."""
        background_1HW = (1 - maps_CHW.max(0, keepdims=True)) ** np.float32(self.options.background_power)
        return np.concatenate([background_1HW, maps_CHW])
