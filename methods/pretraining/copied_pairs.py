"""True photos with their pseudo labels once more: the control of `synthesis`, which adds as many pairs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from methods.base import DrawnPair, Localized, Options, PairPretraining, Surroundings


class CopiedPairsOptions(Options):
    """How many pairs are added."""

    pairs: int = Field(128, ge=1, le=100_000, description="photos that come once more, drawn at random")


class CopiedPairs(PairPretraining):
    """Nothing is trained; no photo comes twice before all others have."""

    options_model = CopiedPairsOptions
    options: CopiedPairsOptions

    @property
    def pairs(self) -> int:
        """As the option says."""
        return self.options.pairs

    def draw(self, data: Localized, surroundings: Surroundings) -> Iterator[DrawnPair]:
        """Photos in random order, as they are."""
        assert data.pseudo_label is not None
        rng = np.random.default_rng(surroundings.rng_seed)
        photos = data.weak.photos
        for row in np.resize(rng.permutation(len(photos)), self.options.pairs):
            yield DrawnPair(photos[row].image(), data.pseudo_label(photos[row].id))
