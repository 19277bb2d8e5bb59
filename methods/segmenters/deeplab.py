"""DeepLabV3+ on pseudo labels. With a frozen backbone only the decoder is trained, on stored features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field, PositiveInt

from methods.base import (
    BackboneOptions,
    Cost,
    FeatureRequest,
    Fit,
    Photos,
    PseudoLabelled,
    Segmenter,
    Surroundings,
    TrainingOptions,
)
from methods.photo_inputs import PhotoInputs
from methods.segmenting import Pass, SegmenterOptions, check_usable, mask_of
from settings.options import Options
from settings.records import UNKNOWN, Mask

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from methods.inputs import Inputs
    from methods.networks.deeplab import Decoded, DeepLabHead

LEVELS = (1, 4)
"""timm's feature levels that the decoder reads: stride 4 and the output stride."""
BATCH = 4
"""Photos a forward pass of the trained head."""


class PixelContrast(Options):
    """Supervised contrast between pixels of a batch, as in ECGAN's second paper (arXiv 2307.12084)."""

    weight: float = Field(0.1, gt=0, le=100, description="of the loss, beside cross-entropy")
    temperature: float = Field(0.1, ge=0.01, le=10)
    samples: int = Field(64, ge=2, le=4096, description="pixels of a class, batch and scale, at most")
    scales: tuple[PositiveInt, ...] = Field((1,), min_length=1, max_length=4, description="sides of blocks (positions)")
    length: int = Field(64, ge=2, le=1024, description="of the vectors that are compared")
    classes: Literal["true", "shuffled"] = Field("true", description="shuffled: the control, pixels' labels permuted")


class Edges(Options):
    """A branch that tells the edges of pseudo labels, and gates the features (after arXiv 2003.13898)."""

    weight: float = Field(0.5, gt=0, le=100, description="of the loss, beside cross-entropy")
    targets: Literal["labels", "noise"] = Field("labels", description="noise: the control, as many edges at random")


class DeepLabOptions(SegmenterOptions, PhotoInputs):
    """The decoder and its training."""

    later_options = frozenset({"pixel_contrast", "edges"})
    width: int = Field(64, ge=8, le=1024, multiple_of=8, description="channels of the decoder")
    atrous_rates: tuple[PositiveInt, PositiveInt, PositiveInt] = (3, 6, 9)
    training: TrainingOptions = TrainingOptions(epochs=6, batch=8, learning_rate=0.15)
    pixel_contrast: PixelContrast | None = Field(None, description="a further loss; none by default")
    edges: Edges | None = Field(None, description="an edge branch; none by default")

    @property
    def pixels_seen(self) -> float:
        """Every scale, plain and (by option) mirrored."""
        return sum(scale**2 for scale in self.inference.scales) * (1 + self.inference.flip)


class DeepLab(Segmenter):
    """Cross-entropy at stride 4 on pixels whose pseudo label is known."""

    options_model = DeepLabOptions
    apply_options = frozenset({"inference", "aspect"})
    fit_cost = Cost(0.0085, channels="width", usual_channels=64)
    apply_cost = Cost(0.0055, channels="width", usual_channels=64)
    options: DeepLabOptions
    version = 2

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """Both levels, plain and mirrored."""
        return tuple(FeatureRequest(flip=flip, level=level) for flip in (False, True) for level in LEVELS)

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """Both levels of every pass; none where the photo keeps its aspect."""
        if self.options.keeps_aspect:
            return ()
        passes = self.options.inference.passes
        return tuple(FeatureRequest(*one, level) for one in passes for level in LEVELS)

    def fit(self, data: PseudoLabelled, surroundings: Surroundings) -> Fit:
        """Train on photos mirrored at random, or on crops; ValueError when no pixel has a usable pseudo label."""
        import torch

        from methods.inputs import inputs_of
        from methods.networks.cross_entropy import mean_cross_entropy
        from methods.training import groups_of, train

        torch.manual_seed(surroundings.rng_seed)
        check_usable(data)
        inputs = inputs_of(self.options, data.photos, LEVELS, surroundings, data.mask_of)
        head = self._head(inputs, data.label_space.foreground + 1).to(surroundings.device)
        projection = self._projection().to(surroundings.device)
        share, side = surroundings.share, self._seen_side(surroundings.backbone) // 4

        def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
            batch = inputs.draw(rows, rng)
            low, high = batch.levels()
            low = _at_least(low, (side, side))
            # At the decoder's grid: that of a crop whose side is no whole number of cells has one more.
            truth_BHW = batch.masks_BHW(low.shape[2])
            known = share.even((truth_BHW != UNKNOWN).sum(), len(rows))
            decoded = head.decoded(low, high)
            logits_BCHW = head.classifier(decoded.features_BCHW)
            losses = {"cross_entropy": mean_cross_entropy(logits_BCHW.float(), truth_BHW, known)}
            if self.options.pixel_contrast or self.options.edges:
                # Drawn for a slice of the batch: other processes draw otherwise, and go on alike.
                own_rng = np.random.default_rng([int(rng.integers(2**62)), share.rank])
                losses |= self._further(decoded, projection, truth_BHW, own_rng)
            return losses

        training = self.options.training
        groups = groups_of(head, bias_factor=training.bias_factor)
        groups += groups_of(projection, bias_factor=training.bias_factor)
        groups += inputs.groups(training.backbone_factor, training.bias_factor)
        modules = torch.nn.ModuleDict({"head": head, "projection": projection, "inputs": inputs.module})
        log = train(modules, groups, len(data.photos), step, training, surroundings, ahead=inputs.ahead)
        return Fit(inputs.weights_with(head=head), log)

    def apply(self, photos: Photos, surroundings: Surroundings) -> Iterator[Mask]:
        """Scores of every pass at photo size, averaged as probabilities where there are several; argmax.

        Where the photo keeps its aspect, passes are of the photo at `scales` times its own size.
        """
        from methods.features import batches
        from methods.networks.deeplab import DeepLabHead
        from methods.training import part_of

        state = part_of(surroundings.weights, "head")
        head = DeepLabHead.of_state(state, self.options.atrous_rates).to(surroundings.device).eval()
        inference = self.options.inference
        if self.options.keeps_aspect:
            yield from self._at_own_size(head, photos, surroundings)
            return
        for batch in batches(photos, surroundings.batch(BATCH)):
            ids = [photo.id for photo in batch]
            logits = [_logits_BCHW(head, ids, one, surroundings) for one in inference.passes]
            for photo, *logits_CHW in zip(batch, *logits, strict=True):
                yield mask_of(logits_CHW, surroundings.image_size(photo), inference, photo)

    def _at_own_size(self, head: DeepLabHead, photos: Photos, surroundings: Surroundings) -> Iterator[Mask]:
        from methods.whole_photos import Pass as WholePass
        from methods.whole_photos import WholePhotos

        def logits_BCHW(one: WholePass) -> torch.Tensor:
            low, high = one.levels
            height, width = (length // 4 for length in one.size)
            scores_BCHW: torch.Tensor = head(_at_least(low, (height, width)), high).float()
            return scores_BCHW

        whole, inference = WholePhotos(surroundings, LEVELS), self.options.inference
        for photo in photos:
            logits = whole.at_photo(photo, inference.scales, inference.flip, logits_BCHW)
            yield mask_of(logits, whole.size(photo), inference, photo)

    def _seen_side(self, backbone: BackboneOptions) -> int:
        """Of the squares that training sees (pixels)."""
        return self.options.inputs.crop if self.options.inputs else backbone.size

    def _head(self, inputs: Inputs, classes: int) -> DeepLabHead:
        from methods.networks.deeplab import DeepLabHead

        low, high = inputs.channels
        edges = self.options.edges is not None
        return DeepLabHead(low, high, classes, self.options.width, self.options.atrous_rates, edges)

    def _projection(self) -> nn.Module:
        """What contrast compares pixels by; an empty module without it."""
        from torch import nn

        from methods.networks.pixel_contrast import PixelProjection

        contrast = self.options.pixel_contrast
        return nn.Identity() if contrast is None else PixelProjection(self.options.width, contrast.length)

    def _further(
        self, decoded: Decoded, projection: nn.Module, truth_BHW: torch.Tensor, rng: np.random.Generator
    ) -> dict[str, torch.Tensor]:
        """The loss terms beside cross-entropy that the options ask for, weighted."""
        from methods.networks.pixel_contrast import PixelProjection, edge_loss, edges_of, pixel_contrast

        losses: dict[str, torch.Tensor] = {}
        if contrast := self.options.pixel_contrast:
            assert isinstance(projection, PixelProjection)
            labels_BHW = truth_BHW if contrast.classes == "true" else _permuted(truth_BHW, rng)
            losses["pixel_contrast"] = contrast.weight * pixel_contrast(
                projection,
                decoded.features_BCHW.float(),
                labels_BHW,
                contrast.samples,
                contrast.scales,
                contrast.temperature,
                rng,
            )
        if edges := self.options.edges:
            assert decoded.edges_BHW is not None
            edges_BHW = edges_of(truth_BHW)
            if edges.targets == "noise":
                edges_BHW = _permuted(edges_BHW, rng)
            losses["edges"] = edges.weight * edge_loss(decoded.edges_BHW.float(), edges_BHW)
        return losses


def _permuted(values_BHW: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """The same known values at other known places."""
    import torch

    known = values_BHW != UNKNOWN
    order = torch.from_numpy(rng.permutation(int(known.sum()))).to(values_BHW.device)
    permuted_BHW = values_BHW.clone()
    permuted_BHW[known] = values_BHW[known][order]
    return permuted_BHW


def _logits_BCHW(head: DeepLabHead, ids: Sequence[str], one: Pass, surroundings: Surroundings) -> torch.Tensor:
    """Scores of one pass; of a mirrored one they are mirrored back."""
    import torch

    requests = [FeatureRequest(*one, level) for level in LEVELS]
    bank, device = surroundings.stored, surroundings.device
    low, high = (bank.features_BCHW(ids, [request] * len(ids)).to(device) for request in requests)
    side = round(surroundings.backbone.size * one.scale)
    with torch.inference_mode():
        logits_BCHW: torch.Tensor = head(_at_least(low, (side // 4, side // 4)), high).float()
    return logits_BCHW.flip(3) if one.flip else logits_BCHW


def _at_least(low_BCHW: torch.Tensor, cells: tuple[int, int]) -> torch.Tensor:
    """The shallow level; enlarged to so many cells (down, across) where it has fewer, as a plain transformer's has."""
    from methods.networks.grids import resized

    return low_BCHW if low_BCHW.shape[2] >= cells[0] else resized(low_BCHW, cells)
