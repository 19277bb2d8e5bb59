"""C²AM (Xie et al., CVPR 2022): where photos show objects, learned from the photos alone. On features of the frozen
backbone; formulas in docs/methods.md §7."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from methods.base import Cue, FeatureRequest, Fit, Photos, Saliency, Surroundings, TrainingOptions
from settings.options import Options
from settings.records import Photo

if TYPE_CHECKING:
    import torch
    from torch import nn

    from methods.inputs import FrozenInputs

LEVELS = (3, 4)
"""The last two of the backbone, concatenated."""


class C2amOptions(Options):
    """Training, the passes whose maps are summed, and where foreground begins."""

    alpha: float = Field(0.25, ge=0, le=10, description="how fast a pair's weight falls with its rank")
    training: TrainingOptions = TrainingOptions(epochs=5, batch=128, learning_rate=0.05)
    scales: tuple[Annotated[float, Field(gt=0, le=4)], ...] = Field((1.0,), min_length=1, max_length=8)
    flip: bool = Field(True, description="add the mirrored photo at inference")
    threshold: float = Field(0.4, gt=0, lt=1, description="of the map's maximum: what becomes a saliency of ½")


class C2am(Cue):
    """The map divided by its maximum, bent so that the threshold is a saliency of ½."""

    options_model = C2amOptions
    version = 2
    options: C2amOptions
    apply_options = frozenset({"scales", "flip", "threshold"})

    @property
    def supervision(self) -> str:
        """Empty: it learns from photos alone."""
        return ""

    def fit_features(self) -> tuple[FeatureRequest, ...]:
        """The backbone's last two levels of each photo, plain and mirrored."""
        return tuple(FeatureRequest(flip=flip, level=level) for flip in (False, True) for level in LEVELS)

    def apply_features(self) -> tuple[FeatureRequest, ...]:
        """The backbone's last two levels of each photo at every scale, plain and (by option) mirrored."""
        flips = (False, True) if self.options.flip else (False,)
        passes = [(scale, flip) for scale in self.options.scales for flip in flips]
        return tuple(FeatureRequest(scale, flip, level) for scale, flip in passes for level in LEVELS)

    def fit(self, photos: Photos, surroundings: Surroundings) -> Fit:
        """Contrast of foreground and background, on photos mirrored at random.

        The paper decides by the border strips after the first epoch whether the map shows the background; here the
        last weights decide, over all photos.
        """
        import torch

        from methods.inputs import FrozenInputs
        from methods.networks.c2am import ForegroundHead, contrast_loss
        from methods.networks.grids import joined
        from methods.training import groups_of, named_tensors, train

        torch.manual_seed(surroundings.rng_seed)
        inputs, training = FrozenInputs(photos, LEVELS, surroundings.stored, surroundings.device), self.options.training
        head, share = ForegroundHead(sum(inputs.channels)).to(surroundings.device), surroundings.share

        def step(rows: NDArray[np.int64], rng: np.random.Generator) -> dict[str, torch.Tensor]:
            flips, items = rng.random(len(rows)) < 0.5, len(rows)
            features_BCHW = joined(inputs(share.of(rows), share.of(flips)))
            foreground_BHW = head(features_BCHW).float().sigmoid()
            loss = contrast_loss(features_BCHW, foreground_BHW, self.options.alpha, lambda v: share.gathered(v, items))
            return {"between": loss.between, "foreground": loss.foreground, "background": loss.background}

        log = train(head, groups_of(head), len(photos), step, training, surroundings)
        head.eval()
        inverted = torch.tensor([_shows_background(head, inputs, len(photos))])
        return Fit({**named_tensors(head=head), "inverted": inverted}, log)

    def apply(self, photos: Photos, surroundings: Surroundings) -> Iterator[Saliency]:
        """One saliency map a photo, uint8 at photo size, in the order of `photos`."""
        from methods.networks.c2am import ForegroundHead
        from methods.training import part_of

        head = ForegroundHead.of_state(part_of(surroundings.weights, "head")).to(surroundings.device).eval()
        inverted = bool(surroundings.weights["inverted"])
        for photo in photos:
            map_HW = self._map(head, inverted, photo, surroundings)
            bent_HW = np.interp(map_HW, (0, self.options.threshold, 1), (0, 0.5, 1))
            saliency_HW: Saliency = (bent_HW * 255).round().astype(np.uint8)
            yield saliency_HW

    def _map(self, head: nn.Module, inverted: bool, photo: Photo, surroundings: Surroundings) -> NDArray[np.float32]:
        """The positive logits of all passes, summed and divided by the maximum, at photo size.

        Where the head shows the background, 1 − logit stands for the logit of each pass.
        """
        import torch

        from methods.features import batches
        from methods.networks.grids import joined, resized

        size, requests, device = surroundings.image_size(photo), self.apply_features(), surroundings.device
        total_HW = torch.zeros(size, device=device)
        with torch.inference_mode():
            for levels in batches(requests, len(LEVELS)):
                features = [surroundings.features_CHW(photo, request)[None].to(device) for request in levels]
                logits_1HW = head(joined(features)).float()
                logits_1HW = logits_1HW.flip(2) if levels[0].flip else logits_1HW
                shown_1HW = (1 - logits_1HW if inverted else logits_1HW).relu()
                total_HW += resized(shown_1HW[None], size)[0, 0]
        map_HW: NDArray[np.float32] = (total_HW / (total_HW.max() + 1e-5)).cpu().numpy()
        return map_HW


def _shows_background(head: nn.Module, inputs: FrozenInputs, photos: int) -> bool:
    """Whether most of the border is what the head calls foreground."""
    import torch

    from methods.features import batches
    from methods.networks.c2am import border_mean
    from methods.networks.grids import joined

    means = []
    with torch.inference_mode():
        for rows in batches(range(photos), 64):
            features_BCHW = joined(inputs(np.array(rows), np.zeros(len(rows), np.bool_)))
            means += [border_mean(head(features_BCHW).float().sigmoid())] * len(rows)
    return sum(means) > len(means) / 2
