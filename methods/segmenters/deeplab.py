"""DeepLabV3+ on pseudo labels. With a frozen backbone only the decoder is trained, on stored features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field, PositiveInt

from methods.base import Cost, FeatureRequest, Fit, Photos, PseudoLabelled, Segmenter, Surroundings, TrainingOptions
from methods.segmenting import Pass, SegmenterOptions, mask_of
from settings.masks import resize_mask
from settings.records import UNKNOWN, Mask

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from methods.inputs import Inputs
    from methods.networks.deeplab import DeepLabHead

LEVELS = (1, 4)
"""timm's feature levels that the decoder reads: stride 4 and the output stride."""
BATCH = 4
"""Photos a forward pass of the trained head."""


class DeepLabOptions(SegmenterOptions):
    """The decoder and its training."""

    width: int = Field(64, ge=8, le=1024, multiple_of=8, description="channels of the decoder")
    atrous_rates: tuple[PositiveInt, PositiveInt, PositiveInt] = (3, 6, 9)
    training: TrainingOptions = TrainingOptions(epochs=6, batch=8, learning_rate=0.15)


class DeepLab(Segmenter):
    """Cross-entropy at stride 4 on pixels whose pseudo label is known."""

    options_model = DeepLabOptions
    apply_options = frozenset({"inference"})
    fit_cost = Cost(0.0085, channels="width", usual_channels=64)
    apply_cost = Cost(0.0055, channels="width", usual_channels=64)
    options: DeepLabOptions
    version = 2

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """Both levels, plain and mirrored."""
        return tuple(FeatureRequest(flip=flip, level=level) for flip in (False, True) for level in LEVELS)

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """Both levels of every pass."""
        passes = self.options.inference.passes
        return tuple(FeatureRequest(*one, level) for one in passes for level in LEVELS)

    def fit(self, data: PseudoLabelled, surroundings: Surroundings) -> Fit:
        """Train on photos mirrored at random; raises ValueError when no pixel has a usable pseudo label."""
        import torch

        from methods.inputs import training_inputs
        from methods.networks.cross_entropy import mean_cross_entropy
        from methods.training import groups_of, train

        torch.manual_seed(surroundings.rng_seed)
        inputs = training_inputs(data.photos, LEVELS, surroundings)
        head = self._head(inputs, data.label_space.foreground + 1).to(surroundings.device)
        masks_NHW = torch.from_numpy(_small_masks(data, surroundings.backbone.size // 4)).to(surroundings.device)
        share = surroundings.share

        def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
            flips, items = rng.random(len(rows)) < 0.5, len(rows)
            rows, flips = share.of(rows), share.of(flips)
            truth_BHW = masks_NHW[rows].long()
            truth_BHW[flips] = truth_BHW[flips].flip(2)
            known = share.even((truth_BHW != UNKNOWN).sum(), items)
            low, high = inputs(rows, flips)
            logits_BCHW = head(_at_least(low, truth_BHW.shape[1]), high)
            return {"cross_entropy": mean_cross_entropy(logits_BCHW.float(), truth_BHW, known)}

        training = self.options.training
        groups = groups_of(head, bias_factor=training.bias_factor)
        groups += inputs.groups(training.backbone_factor, training.bias_factor)
        modules = torch.nn.ModuleDict({"head": head, "inputs": inputs.module})
        log = train(modules, groups, len(data.photos), step, training, surroundings)
        return Fit(inputs.weights_with(head=head), log)

    def apply(self, photos: Photos, surroundings: Surroundings) -> Iterator[Mask]:
        """Scores of every pass at photo size, averaged as probabilities where there are several; argmax."""
        from methods.features import batches
        from methods.networks.deeplab import DeepLabHead
        from methods.training import part_of

        state = part_of(surroundings.weights, "head")
        head = DeepLabHead.of_state(state, self.options.atrous_rates).to(surroundings.device).eval()
        inference = self.options.inference
        for batch in batches(photos, surroundings.batch(BATCH)):
            ids = [photo.id for photo in batch]
            logits = [_logits_BCHW(head, ids, one, surroundings) for one in inference.passes]
            for photo, *logits_CHW in zip(batch, *logits, strict=True):
                yield mask_of(logits_CHW, surroundings.image_size(photo), inference, photo)

    def _head(self, inputs: Inputs, classes: int) -> DeepLabHead:
        from methods.networks.deeplab import DeepLabHead

        low, high = inputs.channels
        return DeepLabHead(low, high, classes, self.options.width, self.options.atrous_rates)


def _logits_BCHW(head: DeepLabHead, ids: Sequence[str], one: Pass, surroundings: Surroundings) -> torch.Tensor:
    """Scores of one pass; of a mirrored one they are mirrored back."""
    import torch

    requests = [FeatureRequest(*one, level) for level in LEVELS]
    bank, device = surroundings.stored, surroundings.device
    low, high = (bank.features_BCHW(ids, [request] * len(ids)).to(device) for request in requests)
    side = round(surroundings.backbone.size * one.scale)
    with torch.inference_mode():
        logits_BCHW: torch.Tensor = head(_at_least(low, side // 4), high).float()
    return logits_BCHW.flip(3) if one.flip else logits_BCHW


def _at_least(low_BCHW: torch.Tensor, cells: int) -> torch.Tensor:
    """The shallow level; enlarged to so many cells a side where it has fewer, as a plain transformer's has."""
    from methods.networks.grids import resized

    return low_BCHW if low_BCHW.shape[2] >= cells else resized(low_BCHW, (cells, cells))


def _small_masks(data: PseudoLabelled, side: int) -> NDArray[np.uint8]:
    """All pseudo labels, nearest-resized to (N, side, side); raises ValueError when none of their pixels is known."""
    masks_NHW = np.stack([resize_mask(data.pseudo_label(photo.id), side, side) for photo in data.photos])
    if (masks_NHW == UNKNOWN).all():
        raise ValueError(f"no pixel of the {len(masks_NHW)} pseudo labels is usable: all are {UNKNOWN}")
    return masks_NHW
