"""IRN's semantic part (Ahn, Cho & Kwak, CVPR 2019): a network learns from the maps' sure pixels where classes end, and
a random walk carries the maps up to there. On features of the frozen backbone; formulas in docs/methods.md §4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from methods.base import (
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
from methods.label_steps import LabelRefiner, Scores, irn_labels, require_label_refiner
from methods.photo_inputs import RefinerInputs
from methods.refining import fit_on_pairs, grids_of, on_one_scale, sure_labels
from settings.records import Image, Mask

if TYPE_CHECKING:
    import torch

    from methods.networks.random_walk import Counted


class IrnOptions(RefinerInputs):
    """The label step, the training, and the walk; defaults are the paper's but for levels, training and its radius."""

    levels: tuple[Annotated[int, Field(ge=0, le=4)], ...] = Field(
        (1, 2, 3, 4), min_length=1, description="of the backbone; the walk is on the grid of the first (1: stride 4)"
    )
    foreground: float = Field(0.30, ge=0, le=1, description="background score under which a class is believed")
    background: float = Field(0.05, ge=0, le=1, description="background score under which the background is believed")
    label_refiner: LabelRefiner = "pamr"
    label_size: int = Field(192, ge=16, le=4096, description="longer side of photos in the label step (pixels)")
    training_radius: int = Field(5, ge=2, le=32, description="pairs within this distance (grid positions)")
    radius: int = Field(5, ge=2, le=32, description="the same in the walk")
    beta: float = Field(10.0, gt=0, le=100)
    log2_steps: int = Field(8, ge=0, le=16, description="less for shorter grids")
    training: TrainingOptions = TrainingOptions(epochs=3, learning_rate=0.05)


class Irn(Refiner):
    """Walked maps, divided by the maximum over all classes of the photo."""

    options_model = IrnOptions
    options: IrnOptions
    version = 2
    apply_options = frozenset({"aspect", "radius", "beta", "log2_steps"})
    gives_background = False

    def check_installed(self, where: str) -> None:
        """Raise Impossible where the refiner of the labels needs a package that is not installed."""
        require_label_refiner(self.options.label_refiner, where)

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """The levels that the options name, of each photo plain and mirrored, plain ones first."""
        return tuple(FeatureRequest(flip=flip, level=level) for flip in (False, True) for level in self._levels)

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """Those of `fit_features`: the boundary is found in the photo and its mirror image together.

        None where the photo keeps its aspect.
        """
        if self.options.keeps_aspect:
            return ()
        return self.fit_features()

    @property
    def _levels(self) -> tuple[int, ...]:
        return tuple(sorted(set(self.options.levels)))

    def sure_labels(self, maps_CHW: Scores, class_ids: Sequence[int], image_HWC_uint8: Image) -> Mask:
        """What it learns from: the label of each pixel of a photo, uint8 (H, W), 255 where it is not sure."""
        o = self.options
        return irn_labels(maps_CHW, class_ids, image_HWC_uint8, o.foreground, o.background, o.label_refiner)

    def fit(self, data: Localized, surroundings: Surroundings) -> Fit:
        """The pair loss on labels of sure pixels, on photos mirrored at random; ValueError where nothing is sure."""
        from methods.networks.affinity_net import BoundaryHead
        from methods.networks.random_walk import irn_affinity_loss

        o = self.options
        require_label_refiner(o.label_refiner)
        labels = sure_labels(data, self.sure_labels, o.label_size)

        def loss(
            head: torch.nn.Module, levels: Sequence[torch.Tensor], labels_BHW: torch.Tensor, counted: Counted
        ) -> torch.Tensor:
            boundary_BHW = head(levels, labels_BHW.shape[1:]).float().sigmoid()
            return irn_affinity_loss(boundary_BHW, labels_BHW, o.training_radius, counted=counted).total

        return fit_on_pairs(data, self._levels, BoundaryHead, labels, loss, o, o.training, surroundings)

    def apply(self, photos: Photos, maps: Callable[[str], LocalizationMaps], surroundings: Surroundings) -> MapRecords:
        """Maps of each photo after the walk."""
        import torch

        from methods.networks.affinity_net import BoundaryHead, boundary
        from methods.networks.random_walk import irn_walk
        from methods.training import part_of

        head, o = BoundaryHead.of_state(part_of(surroundings.weights, "head")), self.options
        head, device = head.to(surroundings.device).eval(), surroundings.device
        on_grid = grids_of(o, self._levels, surroundings, mirrored=True)
        for photo in photos:
            record = maps(photo.id)
            if not record.class_ids:
                yield record
                continue
            seen = on_grid(photo)
            maps_CHW = torch.from_numpy(seen.onto(record)).to(device)
            grid = maps_CHW.shape[1:]
            with torch.inference_mode():
                boundary_BHW = boundary(head(seen.plain, grid), head(seen.mirrored, grid))
            walked_CHW = irn_walk(maps_CHW, boundary_BHW[0], o.beta, o.log2_steps, o.radius)
            scores_CHW = on_one_scale(seen.back(walked_CHW))
            yield replace(record, maps_CHW=scores_CHW, background_HW=None, upsampling="bilinear")
