"""AffinityNet (Ahn & Kwak, CVPR 2018, "PSA"): a network learns from the maps' sure pixels which pixels are alike, and a
random walk carries the maps along. On features of the frozen backbone, or on crops with the backbone trained along, as
released; formulas in docs/methods.md §4."""

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
from methods.label_steps import LabelRefiner, affinity_labels, require_label_refiner
from methods.refining import (
    KeptLabels,
    RefinerInputs,
    fit_on_crops,
    fit_on_pairs,
    labels_NHW,
    maps_at,
    on_one_scale,
    pooled,
    unpooled,
)
from methods.upsampling import upsample

if TYPE_CHECKING:
    import torch

    from methods.networks.affinity_net import AffinityHead
    from methods.networks.random_walk import Counted
    from methods.refining import Scores

LEVELS = (2, 3, 4)
"""Of the backbone; labels, loss and walk are on the grid of the first (stride 8)."""


class AffinityOptions(RefinerInputs):
    """The label step, the training, and the walk; defaults are the paper's but for the training's length.

    With `inputs` the backbone is trained along, at `training.backbone_factor` times the rate.
    """

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
    apply_options = frozenset({"beta", "log2_steps", "background_power"})
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

    @property
    def reads_photos(self) -> bool:
        """Where it is trained on crops."""
        return self.options.inputs is not None

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """The backbone's levels 2 to 4 of each photo, plain and mirrored; none where photos are read."""
        if self.reads_photos:
            return ()
        return tuple(FeatureRequest(flip=flip, level=level) for flip in (False, True) for level in LEVELS)

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """The backbone's levels 2 to 4 of each photo, plain; none where photos are read."""
        if self.reads_photos:
            return ()
        return tuple(FeatureRequest(level=level) for level in LEVELS)

    def fit(self, data: Localized, surroundings: Surroundings) -> Fit:
        """The pair loss on labels of sure pixels, on photos mirrored at random, or crops.

        Raises ValueError where nothing is sure.
        """
        from methods.networks.affinity_net import AffinityHead

        o = self.options
        require_label_refiner(o.label_refiner)
        head_of = partial(AffinityHead, norm=o.group_norm)
        label_step = partial(affinity_labels, low=o.low, high=o.high, refiner=o.label_refiner)
        labels_at = partial(labels_NHW, data, label_step, o.label_size)

        def loss(
            head: torch.nn.Module, levels: Sequence[torch.Tensor], labels_BHW: torch.Tensor, counted: Counted
        ) -> torch.Tensor:
            assert isinstance(head, AffinityHead)
            return head.loss(levels, labels_BHW, o.radius, counted)

        if o.inputs is not None:
            labels, given = KeptLabels(data, label_step, o.label_size), (o.inputs, o.training, surroundings)
            return fit_on_crops(data, LEVELS, head_of, labels, loss, *given, backbone_learns=True)
        return fit_on_pairs(data, LEVELS, head_of, labels_at, loss, o.training, surroundings)

    def apply(self, photos: Photos, maps: Callable[[str], LocalizationMaps], surroundings: Surroundings) -> MapRecords:
        """Background and maps of each photo after the walk, divided by the maximum of all."""
        import torch

        from methods.networks.affinity_net import AffinityHead
        from methods.training import part_of

        head, device = AffinityHead.of_state(part_of(surroundings.weights, "head")), surroundings.device
        head = head.to(device).eval()
        if self.reads_photos:
            yield from self._of_whole_photos(head, photos, maps, surroundings)
            return
        bank = surroundings.stored
        for photo in photos:
            record = maps(photo.id)
            if not record.class_ids:
                yield record
                continue
            levels = [bank.features_BCHW([photo.id], [one]).to(device) for one in self.apply_features()]
            grid = (levels[0].shape[2], levels[0].shape[3])
            maps_CHW = maps_at(record, grid)
            scores_SHW = torch.from_numpy(self._with_background(maps_CHW)).to(device)
            yield _record(record, self._walked(head, levels, scores_SHW).cpu().numpy())

    def _of_whole_photos(
        self, head: AffinityHead, photos: Photos, maps: Callable[[str], LocalizationMaps], surroundings: Surroundings
    ) -> MapRecords:
        """The same of photos at their own size, to whose grid the maps at photo size are averaged, as released."""
        from methods.whole_photos import WholePhotos

        whole = WholePhotos(surroundings, LEVELS)
        for photo in photos:
            record = maps(photo.id)
            if not record.class_ids:
                yield record
                continue
            one = whole.at_own_size(photo)
            stride = one.size[0] // one.levels[0].shape[2]
            scores_SHW = pooled(self._with_background(upsample(record)), one.size, stride).to(surroundings.device)
            walked_SHW = self._walked(head, one.levels, scores_SHW)
            yield _record(record, unpooled(walked_SHW, record.image_size, stride))

    def _with_background(self, maps_CHW: Scores) -> Scores:
        """A background map before the maps, (1 + C, h, w)."""
        background_1HW = (1 - maps_CHW.max(0, keepdims=True)) ** np.float32(self.options.background_power)
        return np.concatenate([background_1HW, maps_CHW])

    def _walked(
        self, head: AffinityHead, levels_1CHW: Sequence[torch.Tensor], scores_SHW: torch.Tensor
    ) -> torch.Tensor:
        """The scores after the walk on the grid of the first level, which is theirs."""
        import torch

        from methods.networks.random_walk import affinity_walk

        o = self.options
        with torch.inference_mode():
            feature_DHW = head(levels_1CHW, levels_1CHW[0].shape[2:])[0]
        return affinity_walk(scores_SHW, feature_DHW, o.beta, o.log2_steps, o.radius)


def _record(before: LocalizationMaps, walked_SHW: Scores) -> LocalizationMaps:
    """The walked background and maps on one scale, as maps of the photo."""
    walked_SHW = on_one_scale(walked_SHW)
    return replace(before, maps_CHW=walked_SHW[1:], background_HW=walked_SHW[0], upsampling="bilinear")
