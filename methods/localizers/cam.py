"""Class activation maps (Zhou et al., CVPR 2016): the baseline localizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from methods.base import Cost, FeatureRequest, Fit, Localizer, MapRecords, Photos, Surroundings, TrainingOptions
from methods.photo_inputs import PhotoInputs
from settings.records import Photo, WeakSet

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from methods.networks.heads import ClassMaps


TOGETHER = 16
"""Photos a pass through the classifier."""


class CamOptions(PhotoInputs):
    """The classifier, its training, and the passes whose maps are summed."""

    later_options = frozenset({"dropout", "bias"})
    hidden: int = Field(256, ge=0, le=4096, description="channels of a 3×3 layer before the classifier; 0: none")
    dropout: float = Field(0.0, ge=0, lt=1, description="of whole channels before the classifier, in training")
    bias: bool = Field(True, description="whether the classifier has one")
    scales: tuple[Annotated[float, Field(gt=0, le=4)], ...] = Field(
        (1.0,), min_length=1, max_length=8, description="inference scales"
    )
    flip: bool = Field(True, description="add the mirrored photo at inference")
    training: TrainingOptions = TrainingOptions()

    @property
    def pixels_seen(self) -> float:
        """Every scale, plain and (by option) mirrored."""
        return sum(scale**2 for scale in self.scales) * (1 + self.flip)


class Cam(Localizer):
    """Map of a label's class: ReLU of its class map, summed over scales and flips, divided by its own maximum."""

    options_model = CamOptions
    version = 2
    bfloat16_pays = True
    apply_options = frozenset({"scales", "flip", "aspect"})
    fit_cost = Cost(0.002, channels="hidden", usual_channels=256)
    apply_cost = Cost(0.0035, channels="hidden", usual_channels=256)
    options: CamOptions

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """Every scale of the photo, plain and (by option) mirrored; none where the photo keeps its aspect."""
        if self.options.keeps_aspect:
            return ()
        flips = (False, True) if self.options.flip else (False,)
        return tuple(FeatureRequest(scale, flip) for scale in self.options.scales for flip in flips)

    def fit(self, weak: WeakSet, surroundings: Surroundings) -> Fit:
        """Multi-label soft-margin loss on the means of the class maps, on photos mirrored at random or on crops.

        Of a crop all positions count, those outside the photo too, as in the programs of PSA, IRN and SEAM.
        """
        import torch
        from torch.nn.functional import multilabel_soft_margin_loss

        from methods.inputs import inputs_of
        from methods.networks.heads import ClassMaps
        from methods.training import groups_of, train

        torch.manual_seed(surroundings.rng_seed)
        inputs = inputs_of(self.options, weak.photos, (4,), surroundings)
        o, classes = self.options, weak.label_space.foreground
        head = ClassMaps(inputs.channels[-1], classes, o.hidden, o.dropout, o.bias).to(surroundings.device)
        labels_NK = torch.from_numpy(weak.labels_NK()).to(surroundings.device)

        def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
            batch = inputs.draw(rows, rng)
            maps_BKHW = head(batch.levels()[-1]).float()
            return {"classification": multilabel_soft_margin_loss(maps_BKHW.mean((2, 3)), labels_NK[batch.rows])}

        training = self.options.training
        groups = groups_of(head, bias_factor=training.bias_factor)
        groups += inputs.groups(training.backbone_factor, training.bias_factor)
        modules = torch.nn.ModuleDict({"head": head, "inputs": inputs.module})
        log = train(modules, groups, len(weak.photos), step, training, surroundings, ahead=inputs.ahead)
        return Fit(inputs.weights_with(head=head), log)

    def apply(self, photos: Photos, surroundings: Surroundings) -> MapRecords:
        """Maps of each photo's own labels, in [0, 1]; several photos share a pass through the classifier.

        Where the photo keeps its aspect they are maps at its own size.
        """
        import torch

        from methods.features import batches
        from methods.networks.heads import ClassMaps
        from methods.training import part_of

        head = ClassMaps.of_state(part_of(surroundings.weights, "head")).to(surroundings.device).eval()
        if self.options.keeps_aspect:
            yield from self._at_own_size(head, photos, surroundings)
            return
        requests, bank = self.apply_features(), surroundings.stored
        for batch in batches(photos, surroundings.batch(TOGETHER)):
            ids, passes = [photo.id for photo in batch], {}
            for request in requests:
                features_BCHW = bank.features_BCHW(ids, [request] * len(ids)).to(surroundings.device)
                with torch.inference_mode():
                    passes[request] = head(features_BCHW).relu().split(1)
            for row, photo in enumerate(batch):
                own = {request: maps[row] for request, maps in passes.items()}
                yield surroundings.record(photo, summed_passes(own.__getitem__, photo, requests))

    def _at_own_size(self, head: ClassMaps, photos: Photos, surroundings: Surroundings) -> MapRecords:
        from methods.whole_photos import WholePhotos, peaked

        whole = WholePhotos(surroundings, (4,))
        for photo in photos:
            total_CHW = whole.total(
                photo, self.options.scales, self.options.flip, lambda one: head(one.levels[-1]).float().relu()
            )
            yield whole.record(photo, peaked(total_CHW))

    def scores_NK(self, photos: Photos, surroundings: Surroundings) -> NDArray[np.float32]:
        """Logits: means of the class maps over positions, over the photo as it is and mirrored."""
        import torch

        from methods.networks.heads import ClassMaps
        from methods.training import part_of

        head = ClassMaps.of_state(part_of(surroundings.weights, "head")).to(surroundings.device).eval()
        requests, bank = self.fit_features(), surroundings.stored
        with torch.inference_mode():
            rows = [bank.features_BCHW([p.id] * len(requests), requests).to(surroundings.device) for p in photos]
            logits_NK = torch.stack([head(features_BCHW).float().mean((0, 2, 3)) for features_BCHW in rows])
        scores_NK: NDArray[np.float32] = logits_NK.cpu().numpy()
        return scores_NK


def summed_maps(
    head: torch.nn.Module, photo: Photo, requests: Sequence[FeatureRequest], surroundings: Surroundings
) -> NDArray[np.float32]:
    """The maps of the photo's labels, (C, h, w) float32 in [0, 1], at the grid of the first request."""

    def maps_of(request: FeatureRequest) -> torch.Tensor:
        features_1CHW = surroundings.features_CHW(photo, request)[None].to(surroundings.device)
        maps_1KHW: torch.Tensor = head(features_1CHW).relu()
        return maps_1KHW

    return summed_passes(maps_of, photo, requests)


def summed_passes(
    maps_of: Callable[[FeatureRequest], torch.Tensor], photo: Photo, requests: Sequence[FeatureRequest]
) -> NDArray[np.float32]:
    """The maps of the photo's labels, summed over passes and divided by their maxima, (C, h, w) float32 in [0, 1].

    `maps_of` gives those of all classes in a pass, (1, K, h, w), not negative. The grid is that of the first pass.
    """
    total_1CHW = total_of_passes(maps_of, photo, requests)
    peaks_1C11 = total_1CHW.amax((2, 3), keepdim=True).clamp_min(1e-8)
    normalised: NDArray[np.float32] = (total_1CHW / peaks_1C11)[0].float().cpu().numpy()
    return normalised


def total_of_passes(
    maps_of: Callable[[FeatureRequest], torch.Tensor], photo: Photo, requests: Sequence[FeatureRequest]
) -> torch.Tensor:
    """The maps of the photo's labels, summed over passes, (1, C, h, w) at the grid of the first pass.

    `maps_of` gives those of all classes in a pass, (1, K, h, w); mirrored ones are turned back here.
    """
    import torch
    from torch.nn.functional import interpolate

    total = None
    with torch.inference_mode():
        for request in requests:
            maps_BKHW = maps_of(request)
            maps_BKHW = maps_BKHW.flip(3) if request.flip else maps_BKHW
            if total is None:
                total = maps_BKHW
            else:
                total = total + interpolate(maps_BKHW, size=total.shape[2:], mode="bilinear", align_corners=False)
        assert total is not None
        return total[:, list(photo.labels)]
