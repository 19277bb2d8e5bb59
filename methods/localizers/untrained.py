"""A floor: CAM's maps from a classifier that nobody has trained."""

from __future__ import annotations

from methods.base import PLAIN, Cost, FeatureRequest, Fit, Localizer, MapRecords, Photos, Surroundings
from methods.localizers.cam import Cam, CamOptions
from settings.records import WeakSet


class Untrained(Localizer):
    """`cam` with the weights that its training begins with; its options of training are not read."""

    options_model = CamOptions
    options: CamOptions
    version = 2
    apply_options = frozenset({"scales", "flip", "aspect", "training"})
    modes = ("frozen",)
    fit_cost, apply_cost = Cost(0.0), Cam.apply_cost
    features = (PLAIN,)

    @property
    def needs_negatives(self) -> bool:
        """False: it learns nothing."""
        return False

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """The passes of `cam` with these options."""
        return Cam(self.options).apply_features()

    def fit(self, weak: WeakSet, surroundings: Surroundings) -> Fit:
        """The weights that `cam` begins with, random by the rng seed."""
        import torch

        from methods.networks.heads import ClassMaps
        from methods.training import named_tensors

        torch.manual_seed(surroundings.rng_seed)
        channels = len(surroundings.features_CHW(weak.photos[0]))
        head = ClassMaps(channels, weak.label_space.foreground, self.options.hidden, bias=self.options.bias)
        return Fit(named_tensors(head=head))

    def apply(self, photos: Photos, surroundings: Surroundings) -> MapRecords:
        """The maps that `cam` makes from these weights."""
        return Cam(self.options).apply(photos, surroundings)
