"""LPCAM (Chen & Sun, CVPR 2023): a class is where features are like its own clusters and unlike those of its context.

Clusters of the places where CAM sees the class stand for all of its parts, also those that the classifier needs least.
Formulas in docs/methods.md §1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, model_validator

from methods.base import FeatureRequest, Fit, MapRecords, Photo, Photos, Surroundings, WeakSet, Weights
from methods.localizers.cam import Cam as CamLocalizer
from methods.localizers.cam import CamOptions

if TYPE_CHECKING:
    import torch

    from methods.networks.heads import ClassMaps

MOST_FEATURES = 20_000
"""Of a class, on either side: more are thinned evenly before they are clustered."""
MOST_STEPS = 50
"""Of k-means, should it not have settled before."""


class LpcamOptions(CamOptions):
    """The classifier, the clusters, and which of them count; defaults are the released program's but for one scale."""

    clusters: int = Field(12, ge=1, le=256, description="of a class, and of its context")
    split: float = Field(0.1, gt=0, lt=1, description="CAM above: the class; below: its context")
    foreground: float = Field(0.9, ge=0, le=1, description="probability from which a cluster is the class's")
    context_low: float = Field(0.05, ge=0, le=1, description="probability from which a cluster is the class's context")
    context_high: float = Field(0.9, ge=0, le=1, description="the same, up to which")

    @model_validator(mode="after")
    def _context_has_a_range(self) -> LpcamOptions:
        if self.context_low >= self.context_high:
            raise ValueError("context_low below context_high")
        return self


class Lpcam(CamLocalizer):
    """Mean cosine to a class's clusters less that to its context's, ReLU, mean over scales, divided by its maximum."""

    options_model = LpcamOptions
    options: LpcamOptions
    version = 1
    modes = ("frozen",)

    def fit(self, weak: WeakSet, surroundings: Surroundings) -> Fit:
        """CAM's classifier, then the clusters of what it reads of every photo, plain."""
        from methods.networks.heads import ClassMaps
        from methods.training import part_of

        fit = super().fit(weak, surroundings)
        head = ClassMaps.of_state(part_of(fit.weights, "head")).to(surroundings.device).eval()
        prototypes: Weights = {}
        for class_id in range(weak.label_space.foreground):
            showing = [photo for photo in weak.photos if class_id in photo.labels]
            of_class_ND, of_context_ND = self._split(head, class_id, showing, surroundings)
            rng = np.random.default_rng([surroundings.rng_seed, class_id])
            centres = [k_means(values_ND, self.options.clusters, rng) for values_ND in (of_class_ND, of_context_ND)]
            kept = self._chosen(head, class_id, *centres)
            prototypes |= {f"{name}.{class_id}": values for name, values in zip(("own", "context"), kept, strict=True)}
        return Fit({**fit.weights, **prototypes}, fit.log)

    def _split(
        self, head: ClassMaps, class_id: int, photos: Photos, surroundings: Surroundings
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the classifier reads where CAM is above and below the split, (N, D) each; thinned where it is much."""
        import torch

        width = head.classifier.in_channels
        inside, outside = [torch.zeros(0, width)], [torch.zeros(0, width)]
        for photo in photos:
            with torch.inference_mode():
                read_1DHW = head.hidden(surroundings.features_CHW(photo)[None].to(surroundings.device))
                map_HW = head.classifier(read_1DHW)[0, class_id].relu()
            read_HWD = read_1DHW[0].movedim(0, -1)
            map_HW = map_HW / map_HW.max().clamp_min(1e-8)
            inside.append(read_HWD[map_HW > self.options.split].cpu())
            outside.append(read_HWD[map_HW < self.options.split].cpu())
        return _thinned(torch.cat(inside)), _thinned(torch.cat(outside))

    def _chosen(
        self, head: ClassMaps, class_id: int, own_ND: torch.Tensor, context_ND: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The clusters that count, by what the classifier makes of their centres.

        Of a class whose clusters are all doubtful the likeliest counts: the released program has no map then.
        """
        o = self.options
        own_N, context_N = _probability(head, class_id, own_ND), _probability(head, class_id, context_ND)
        is_own_N = own_N > o.foreground
        if len(own_N) and not is_own_N.any():
            is_own_N = own_N == own_N.max()
        return own_ND[is_own_N], context_ND[(context_N > o.context_low) & (context_N < o.context_high)]

    def apply(self, photos: Photos, surroundings: Surroundings) -> MapRecords:
        """Maps of each photo's own labels, in [0, 1]; 0 where a class was nowhere seen in training."""
        import torch

        from methods.networks.heads import ClassMaps
        from methods.training import part_of

        head = ClassMaps.of_state(part_of(surroundings.weights, "head")).to(surroundings.device).eval()
        for photo in photos:
            with torch.inference_mode():
                reads = [self._read(head, photo, scale, surroundings) for scale in self.options.scales]
                maps = [_map(reads, label, surroundings) for label in photo.labels]
            grid = reads[0].shape[1:]
            yield surroundings.record(photo, torch.stack(maps) if maps else torch.zeros(0, *grid))

    def _read(self, head: ClassMaps, photo: Photo, scale: float, surroundings: Surroundings) -> torch.Tensor:
        """What the classifier reads of a photo at a scale, (D, h, w); with that of its mirror image, turned back."""
        flips = (False, True) if self.options.flip else (False,)
        total_DHW: torch.Tensor | None = None
        for flip in flips:
            features_CHW = surroundings.features_CHW(photo, FeatureRequest(scale, flip)).to(surroundings.device)
            read_DHW: torch.Tensor = head.hidden(features_CHW[None])[0]
            read_DHW = read_DHW.flip(2) if flip else read_DHW
            total_DHW = read_DHW if total_DHW is None else total_DHW + read_DHW
        assert total_DHW is not None
        return total_DHW


def _probability(head: ClassMaps, class_id: int, centres_ND: torch.Tensor) -> torch.Tensor:
    """The softmax of the classifier's logits of each centre at the class, (N,)."""
    import torch

    with torch.inference_mode():
        logits_NK = head.classifier(centres_ND[:, :, None, None].to(head.classifier.weight.device))[:, :, 0, 0]
        probability_N: torch.Tensor = logits_NK.softmax(1)[:, class_id].cpu()
    return probability_N


def _map(reads: Sequence[torch.Tensor], label: int, surroundings: Surroundings) -> torch.Tensor:
    """The map of a label from what is read at every scale, (h, w) at the grid of the first, in [0, 1]."""
    import torch

    from methods.networks.grids import resized

    own_ND, context_ND = (surroundings.weights[f"{name}.{label}"].to(reads[0]) for name in ("own", "context"))
    grid = reads[0].shape[1:]
    total_HW = torch.zeros(grid, device=reads[0].device)
    for read_DHW in reads:
        apart_HW = (mean_cosine(read_DHW, own_ND) - mean_cosine(read_DHW, context_ND)).relu()
        total_HW += resized(apart_HW[None, None], grid)[0, 0]
    return total_HW / total_HW.max().clamp_min(1e-8)


def mean_cosine(read_DHW: torch.Tensor, centres_ND: torch.Tensor) -> torch.Tensor:
    """The mean over centres of the cosine of each position's features with them, (h, w); 0 without centres."""
    from torch.nn.functional import normalize

    if not len(centres_ND):
        return read_DHW.new_zeros(read_DHW.shape[1:])
    flat_DP = normalize(read_DHW.flatten(1), dim=0)
    return (normalize(centres_ND, dim=1) @ flat_DP).mean(0).view(read_DHW.shape[1:])


def _thinned(values_ND: torch.Tensor) -> torch.Tensor:
    step = -(-len(values_ND) // MOST_FEATURES)
    return values_ND[:: max(1, step)]


def k_means(values_ND: torch.Tensor, clusters: int, rng: np.random.Generator) -> torch.Tensor:
    """The means of clusters by cosine, (clusters, D), or all values where they are no more; some of them to begin with.

    A cluster that loses all its members stays where it was.
    """
    from torch.nn.functional import normalize, one_hot

    if len(values_ND) <= clusters:
        return values_ND
    centres_ND = values_ND[rng.choice(len(values_ND), clusters, replace=False)]
    units_ND, nearest_N = normalize(values_ND, dim=1), None
    for _ in range(MOST_STEPS):
        before_N, nearest_N = nearest_N, (units_ND @ normalize(centres_ND, dim=1).T).argmax(1)
        if before_N is not None and bool((before_N == nearest_N).all()):
            break
        members_NC = one_hot(nearest_N, clusters).to(values_ND)
        counts_C1 = members_NC.sum(0)[:, None]
        centres_ND = (members_NC.T @ values_ND / counts_C1.clamp_min(1)).where(counts_C1 > 0, centres_ND)
    return centres_ND
