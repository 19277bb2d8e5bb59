"""A floor: CAM's maps from a classifier that nobody has trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from methods.base import (
    BackboneOptions,
    FeatureBank,
    FeatureRequest,
    Fit,
    LocalizationMaps,
    Localizer,
    StageContext,
)
from methods.localizers.cam import Cam, CamOptions
from settings.records import Photo, WeakSet

if TYPE_CHECKING:
    from methods.base import Weights


class Untrained(Localizer):
    """`cam` with the weights that its training begins with; its options of training are not read."""

    options_model = CamOptions
    options: CamOptions
    apply_options = frozenset({"scales", "flip", "training"})
    modes = ("frozen",)

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """One, for its number of channels."""
        return (FeatureRequest(),)

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """Those of `cam`."""
        return Cam(self.options).apply_features()

    def fit(self, weak: WeakSet, bank: FeatureBank | None, backbone: BackboneOptions, context: StageContext) -> Fit:
        """Random weights by the rng seed."""
        import torch

        from methods.networks.heads import ClassMaps
        from methods.training import named_tensors

        assert bank is not None
        torch.manual_seed(context.rng_seed)
        channels = bank.features_BCHW([weak.photos[0].id], [FeatureRequest()]).shape[1]
        head = ClassMaps(channels, weak.label_space.foreground, self.options.hidden)
        return Fit(named_tensors(head=head), ())

    def apply(
        self, photos: Sequence[Photo], weak: WeakSet, weights: Weights, bank: FeatureBank, context: StageContext
    ) -> Iterator[LocalizationMaps]:
        """As `cam` does."""
        return Cam(self.options).apply(photos, weak, weights, bank, context)
