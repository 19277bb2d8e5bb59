"""Colour jitter, an augmentation of photos: random brightness, contrast, saturation and hue in a random order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torchvision.transforms.v2 import functional  # type: ignore[import-untyped]

from methods.photo_inputs import ColourJitterOptions
from settings.records import Image

CHANGES = (
    functional.adjust_brightness_image,
    functional.adjust_contrast_image,
    functional.adjust_saturation_image,
    functional.adjust_hue_image,
)
"""In the order of `ColourJitter`'s fields."""


Jitter = list[tuple[int, float]]
"""What was drawn for a photo: (place in `CHANGES`, by how much), in order."""


class ColourJitter(NamedTuple):
    """Strengths: factors are uniform in [1 − s, 1 + s], the turn of the hue in [−hue, hue] (1 is the whole circle)."""

    brightness: float
    contrast: float
    saturation: float
    hue: float

    def draw(self, rng: np.random.Generator) -> Jitter:
        """The changes of one photo, by `rng` alone: how much of each, and in which order."""
        amounts = rng.uniform([1 - s for s in self[:3]] + [-self.hue], [1 + s for s in self[:3]] + [self.hue])
        return [(int(which), float(amounts[which])) for which in rng.permutation(len(CHANGES))]


def jitter_of(options: ColourJitterOptions) -> ColourJitter | None:
    """The jitter that options ask for; None where nothing would change."""
    jitter = ColourJitter(**options.model_dump())
    return jitter if any(jitter) else None


def jittered(image: Image, jitter: Sequence[tuple[int, float]]) -> Image:
    """The photo after the changes that were drawn: uint8 RGB of the same shape (H, W, 3)."""
    changed = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    for which, amount in jitter:
        changed = CHANGES[which](changed, amount)
    return changed.permute(1, 2, 0).contiguous().numpy()
