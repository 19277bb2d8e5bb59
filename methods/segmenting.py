"""How a trained segmentation network is run: on which copies of a photo, with a CRF or without; docs/methods.md §8.

None of it trains anything anew: one network gives several rows, each named by its variant. Copies vote by the mean of
their probabilities at photo size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from pydantic import Field, field_validator

from methods.base import BackboneOptions, FeatureRequest, PseudoLabelled, Segmenter
from methods.dense_crf import dense_crf, require_dense_crf
from settings.errors import UserError
from settings.options import GrownOptions, Options
from settings.records import UNKNOWN, Mask, Photo

if TYPE_CHECKING:
    import torch

SINGLE_SCALE = "ss"
SIDES = (32, 2048)
"""The least and the largest side (pixels) that photos are resized to, as in `backbone.size`."""


class Pass(NamedTuple):
    """One copy of a photo: at `scale` times its usual size, mirrored or not."""

    scale: float
    flip: bool


class CrfKernels(Options):
    """A dense CRF's kernels (pixels, grey levels) and its mean-field steps.

    The defaults are those that DeepLab v2 with ResNet-101 was released with for PASCAL VOC (Chen et al., TPAMI 2018).
    """

    gaussian_sxy: float = Field(1.0, gt=0, le=1000)
    gaussian_compat: float = Field(3.0, ge=0, le=1000)
    bilateral_sxy: float = Field(67.0, gt=0, le=10_000)
    bilateral_srgb: float = Field(3.0, gt=0, le=1000)
    bilateral_compat: float = Field(4.0, ge=0, le=1000)
    iterations: int = Field(10, ge=1, le=1000)


class Inference(Options):
    """The copies whose probabilities are averaged, and what is done with the mean."""

    scales: tuple[Annotated[float, Field(gt=0, le=4)], ...] = Field(
        (1.0,), min_length=1, max_length=8, description="sizes of the copies of a photo, relative to the usual one"
    )
    flip: bool = Field(False, description="each copy mirrored too")
    crf: CrfKernels | bool = Field(False, description="a dense CRF on the mean, by the extra `crf`; or its kernels")

    @field_validator("scales")
    @classmethod
    def _distinct(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(scales)) < len(scales):
            raise ValueError("each scale once")
        return scales

    @property
    def passes(self) -> tuple[Pass, ...]:
        """Every scale, plain and (where asked for) mirrored."""
        return tuple(Pass(scale, flip) for scale in self.scales for flip in (False, True)[: 1 + self.flip])

    @property
    def kernels(self) -> CrfKernels | None:
        """Those of the CRF; None without one."""
        if isinstance(self.crf, CrfKernels):
            return self.crf
        return CrfKernels() if self.crf else None

    @property
    def variant(self) -> str:
        """As rows name it: `ss`, `ms` (any other scales), then `+flip`, then `+crf`."""
        scales = SINGLE_SCALE if self.scales == (1.0,) else "ms"
        return "+".join([scales, *["flip"] * self.flip, *["crf"] * bool(self.crf)])


class SegmenterOptions(GrownOptions):
    """What the options of every segmenter with variants begin with; `inference` belongs into its `apply_options`."""

    later_options = frozenset({"inference"})
    inference: Inference = Field(Inference(), description="how photos are segmented, where `segment` says nothing else")


def variant_of(segmenter: Segmenter) -> str:
    """The name of the way in which a segmenter is run; `ss` for one that knows no other."""
    options = segmenter.options
    return options.inference.variant if isinstance(options, SegmenterOptions) else SINGLE_SCALE


def variants_of(
    segmenter: Segmenter, changes: Sequence[Inference], backbone: BackboneOptions, recipe: str
) -> tuple[Segmenter, ...]:
    """The segmenter once for each of `changes`: what a change sets replaces that of its own `inference`.

    The segmenter alone where it learns nothing or knows no variants. Raises UserError for a variant that comes twice,
    for a scale whose copies are too small or too large, and for a CRF that is not installed.
    """
    own = segmenter.options
    if not (segmenter.trained and isinstance(own, SegmenterOptions)):
        return (segmenter,)
    found: dict[str, Segmenter] = {}
    for change in changes:
        set_by_change = {name: getattr(change, name) for name in change.model_fields_set}
        inference = own.inference.model_copy(update=set_by_change)
        if inference.variant in found:
            expected = "each variant once, since rows and columns are told apart by its name"
            raise UserError("segment", f"'{inference.variant}' twice (recipe {recipe})", expected)
        variant = type(segmenter)(own.model_copy(update={"inference": inference}))
        _check_sides(variant.apply_features(), backbone)
        if inference.crf:
            require_dense_crf(f"segment ({inference.variant})", "leave crf out")
        found[inference.variant] = variant
    return tuple(found.values())


def _check_sides(requests: Sequence[FeatureRequest], backbone: BackboneOptions) -> None:
    least, most = SIDES
    for request in requests:
        side = round(backbone.size * request.scale)
        if not least <= side <= most:
            found = f"scale {request.scale:g}, at which photos have a side of {side} pixels"
            within = f"a scale from {least / backbone.size:.3g} to {most / backbone.size:.3g}"
            raise UserError("segment", found, f"{least} to {most} pixels", f"of {backbone.size}: {within}")


def check_usable(data: PseudoLabelled) -> None:
    """Raise ValueError where no pixel of any pseudo label is known."""
    if all((data.pseudo_label(photo.id) == UNKNOWN).all() for photo in data.photos):
        raise ValueError(f"no pixel of the {len(data.photos)} pseudo labels is usable: all are {UNKNOWN}")


def mask_of(logits: Sequence[torch.Tensor], size: tuple[int, int], inference: Inference, photo: Photo) -> Mask:
    """The winning class of each pixel, uint8 at `size` (height, width), from logits_CHW of every pass, none mirrored.

    One pass needs no probabilities, except for a CRF: the largest logit wins.
    """
    kernels = inference.kernels
    if len(logits) == 1 and kernels is None:
        return argmax_at(logits[0], size)
    probabilities_CHW = mean_probabilities(logits, size)
    if kernels is None:
        return _winner(probabilities_CHW)
    refined_CHW = dense_crf(photo.image(), probabilities_CHW.cpu().numpy(), **kernels.model_dump())
    refined: Mask = refined_CHW.argmax(0).astype(np.uint8)
    return refined


def mean_probabilities(logits: Sequence[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
    """(C, height, width): the mean over passes of the softmax of their logits_CHW, upsampled bilinearly first."""
    first, *others = (_upsampled(logits_CHW, size).softmax(0) for logits_CHW in logits)
    return sum(others, start=first) / len(logits)


def argmax_at(logits_CHW: torch.Tensor, size: tuple[int, int]) -> Mask:
    """The winning class at (height, width), uint8."""
    return _winner(_upsampled(logits_CHW, size))


def _winner(scores_CHW: torch.Tensor) -> Mask:
    """The class of the highest score, the first of equal ones, uint8 (h, w)."""
    import torch

    # torch's argmax over another axis than the last takes a CPU 20 times as long.
    highest_HW, winner_HW = scores_CHW[0], torch.zeros_like(scores_CHW[0], dtype=torch.uint8)
    for number, score_HW in enumerate(scores_CHW[1:], 1):
        winner_HW.masked_fill_(score_HW > highest_HW, number)
        highest_HW = torch.maximum(highest_HW, score_HW)
    winner: Mask = winner_HW.cpu().numpy()
    return winner


def _upsampled(logits_CHW: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    from torch.nn.functional import interpolate

    return interpolate(logits_CHW[None], size=size, mode="bilinear", align_corners=False)[0]
