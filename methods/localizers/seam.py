"""Self-supervised equivariant attention (SEAM): Wang et al., CVPR 2020; docs/methods.md §6.

The classifier is that of `cam` but for a dropout, so that the two differ by what SEAM adds. What is compared beside
the two feature levels are colours in [−1, 1], whatever the backbone's own normalisation: `apply` does not know the
backbone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from methods.base import (
    FeatureRequest,
    Fit,
    LocalizationMaps,
    Localizer,
    MapRecords,
    Photos,
    Surroundings,
    TrainingOptions,
)
from methods.localizers.cam import Cam, CamOptions, summed_maps, total_of_passes
from methods.photo_inputs import PhotoInputs
from settings.records import Photo, WeakSet

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from methods.networks.seam import Seam as SeamNetwork
    from methods.whole_photos import Pass, WholePhotos

Level = Annotated[int, Field(ge=0, le=4)]
LAST = 4
"""The backbone's level that the classifier reads."""

TERMS = ("equivariance", "consistency", "min_pooling")
"""Options that say whether the term of that name is in the loss."""


class SeamOptions(PhotoInputs):
    """The classifier, the small copy, the terms of the loss, and the passes whose maps are summed."""

    later_options = frozenset({"bias", "correlation_levels"})
    hidden: int = Field(256, ge=0, le=4096, description="channels of a 3×3 layer before the classifier; 0: none")
    bias: bool = Field(True, description="whether the classifier has one")
    correlation_levels: tuple[Level, Level] = Field(
        (3, 4), description="of the backbone, ascending: what the pixel correlation module compares beside colours"
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="of whole channels before the classifier, in training")
    small_scale: float = Field(0.3, gt=0, le=4, description="size of the second copy in training")
    equivariance: bool = Field(True, description="ER: both copies' class maps agree")
    consistency: bool = Field(True, description="ECR: each copy's refined maps agree with the other's class maps")
    min_pooling: bool = Field(True, description="the lowest quarter of the refined maps is pressed down")
    scales: tuple[Annotated[float, Field(gt=0, le=4)], ...] = Field(
        (1.0,), min_length=1, max_length=8, description="inference scales"
    )
    flip: bool = Field(True, description="add the mirrored photo at inference")
    rivals: Literal["all", "labels"] = Field(
        "all", description="classes that compete for a position at inference; labels (ours): the photo's own"
    )
    training: TrainingOptions = TrainingOptions()

    @property
    def pixels_seen(self) -> float:
        """Every scale, plain and (by option) mirrored."""
        return sum(scale**2 for scale in self.scales) * (1 + self.flip)

    @property
    def levels(self) -> tuple[int, ...]:
        """Those that the module compares, and the classifier's where it is none of them."""
        return tuple(sorted({*self.correlation_levels, LAST}))

    @model_validator(mode="after")
    def _levels_ascend(self) -> SeamOptions:
        first, second = self.correlation_levels
        if first >= second:
            raise ValueError("two correlation_levels, ascending, such as [2, 3]")
        return self


class Seam(Localizer):
    """Map of a label's class: its refined map, summed over scales and flips, stretched to 0 and 1."""

    options_model = SeamOptions
    version = 3
    apply_options = frozenset({"scales", "flip", "aspect", "rivals"})
    options: SeamOptions

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """Both levels of the photo and its small copy, plain and mirrored."""
        return self._at_levels((1.0, self.options.small_scale), (False, True))

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """All levels at every scale, plain and mirrored; none where the photo keeps its aspect."""
        if self.options.keeps_aspect:
            return ()
        return self._at_levels(self.options.scales, (False, True) if self.options.flip else (False,))

    def _at_levels(self, scales: Sequence[float], flips: Sequence[bool]) -> tuple[FeatureRequest, ...]:
        levels = self.options.levels
        return tuple(FeatureRequest(scale, flip, level) for scale in scales for flip in flips for level in levels)

    def fit(self, weak: WeakSet, surroundings: Surroundings) -> Fit:
        """Classification of both copies and what makes them agree, on photos mirrored at random."""
        import torch

        from methods.inputs import inputs_of
        from methods.networks.heads import ClassMaps
        from methods.networks.seam import COMPARED, PixelCorrelation, seam_losses
        from methods.networks.seam import Seam as SeamNetwork
        from methods.training import groups_of, train

        torch.manual_seed(surroundings.rng_seed)
        inputs = inputs_of(self.options, weak.photos, self.options.levels, surroundings)
        o, classes = self.options, weak.label_space.foreground
        head = ClassMaps(inputs.channels[-1], classes, o.hidden, o.dropout, o.bias)
        network = SeamNetwork(head, PixelCorrelation(inputs.channels[:COMPARED])).to(surroundings.device)
        labels_NK = torch.from_numpy(weak.labels_NK()).to(surroundings.device)
        scales = (1.0, self.options.small_scale)
        terms = ("classification", *(name for name in TERMS if getattr(self.options, name)))

        def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
            batch = inputs.draw(rows, rng)
            copies = [batch.levels(scale) for scale in scales]
            images = batch.colours([_grid(copy) for copy in copies])
            large, small = (network(*copy) for copy in zip(copies, images, strict=True))
            losses = seam_losses(large, small, labels_NK[batch.rows])
            return {name: losses[name] for name in terms}

        training = self.options.training
        groups = groups_of(network, bias_factor=training.bias_factor)
        groups += inputs.groups(training.backbone_factor, training.bias_factor)
        modules = torch.nn.ModuleDict({"network": network, "inputs": inputs.module})
        log = train(modules, groups, len(weak.photos), step, training, surroundings, ahead=inputs.ahead)
        return Fit(inputs.weights_with(network=network), log)

    def apply(self, photos: Photos, surroundings: Surroundings) -> MapRecords:
        """Refined maps of each photo's own labels, in [0, 1]; at its own size where it keeps its aspect."""
        network = _network(surroundings)
        if self.options.keeps_aspect:
            from methods.whole_photos import WholePhotos

            whole = WholePhotos(surroundings, self.options.levels)
            for photo in photos:
                yield whole.record(photo, self._whole_refined(photo, network, whole))
            return
        for photo in photos:
            maps_CHW = self._refined(photo, network, surroundings)
            yield surroundings.record(photo, maps_CHW)

    def views(self, photo: Photo, surroundings: Surroundings) -> Mapping[str, LocalizationMaps]:
        """The classifier's own maps, and what the pixel correlation module makes of them."""
        network = _network(surroundings)
        if self.options.keeps_aspect:
            from methods.whole_photos import WholePhotos, peaked

            whole, o = WholePhotos(surroundings, self.options.levels), self.options
            total_CHW = whole.total(photo, o.scales, o.flip, lambda one: network.head(one.levels[-1]).float().relu())
            refined_CHW = self._whole_refined(photo, network, whole)
            return {"cam": whole.record(photo, peaked(total_CHW)), "refined": whole.record(photo, refined_CHW)}
        maps = {
            "cam": summed_maps(network.head, photo, self._as_cam().apply_features(), surroundings),
            "refined": self._refined(photo, network, surroundings),
        }
        return {name: surroundings.record(photo, maps_CHW) for name, maps_CHW in maps.items()}

    def scores_NK(self, photos: Photos, surroundings: Surroundings) -> NDArray[np.float32]:
        """Logits of the classifier, as those of `cam`."""
        from methods.training import part_of

        own = replace(surroundings, weights=part_of(surroundings.weights, "network"))
        return self._as_cam().scores_NK(photos, own)

    def _as_cam(self) -> Cam:
        """`cam` at the same passes: its head is named as ours."""
        return Cam(CamOptions(scales=self.options.scales, flip=self.options.flip))

    def _whole_refined(self, photo: Photo, network: SeamNetwork, whole: WholePhotos) -> torch.Tensor:
        """The maps of the photo's labels at its own size, (C, height, width) in [0, 1]."""
        from methods.networks.seam import stretched

        shown_1K = self._shown(photo, network)

        def maps_of(one: Pass) -> torch.Tensor:
            refined_BCHW: torch.Tensor = network(one.levels, one.colours(_grid(one.levels)), shown_1K).refined_BCHW
            return refined_BCHW[:, 1:]

        return stretched(whole.total(photo, self.options.scales, self.options.flip, maps_of)[None])[0]

    def _shown(self, photo: Photo, network: SeamNetwork) -> torch.Tensor | None:
        """The photo's labels as a row of ones and zeros, (1, K), where they alone compete for a position."""
        import torch

        if self.options.rivals == "all":
            return None
        weight = network.head.classifier.weight
        labels_1K = torch.zeros(1, len(weight), device=weight.device)
        labels_1K[:, list(photo.labels)] = 1
        return labels_1K

    def _refined(self, photo: Photo, network: SeamNetwork, surroundings: Surroundings) -> NDArray[np.float32]:
        """The maps of the photo's labels, (C, h, w) float32 in [0, 1], at the grid of the first pass."""

        from methods.colours import Colours
        from methods.networks.seam import stretched

        device = surroundings.device
        colours, first = Colours((photo,), device), np.zeros(1, np.int64)
        shown_1K = self._shown(photo, network)

        def maps_of(request: FeatureRequest) -> torch.Tensor:
            asked = [FeatureRequest(request.scale, request.flip, level) for level in self.options.levels]
            levels = [surroundings.features_CHW(photo, one)[None].to(device) for one in asked]
            (image_B3HW,) = colours(first, np.array([request.flip]), [_grid(levels)])
            refined_BCHW: torch.Tensor = network(levels, image_B3HW, shown_1K).refined_BCHW
            return refined_BCHW[:, 1:]

        total_1CHW = total_of_passes(maps_of, photo, self._as_cam().apply_features())
        maps_CHW: NDArray[np.float32] = stretched(total_1CHW)[0].cpu().numpy()
        return maps_CHW


def _network(surroundings: Surroundings) -> SeamNetwork:
    from methods.networks.heads import ClassMaps
    from methods.networks.seam import PixelCorrelation, Seam
    from methods.training import part_of

    state = part_of(surroundings.weights, "network")
    head = ClassMaps.of_state(part_of(state, "head"))
    return Seam(head, PixelCorrelation.of_state(part_of(state, "correlation"))).to(surroundings.device).eval()


def _grid(levels_BCHW: Sequence[torch.Tensor]) -> tuple[int, int]:
    height, width = levels_BCHW[-1].shape[2:]
    return height, width
