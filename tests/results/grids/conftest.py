"""A grid of two switches, measured with made counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest

from results.comparisons import CountsOf
from results.grids.design import FULL, Design, Factor, level_sets
from results.metrics.image_sums import ImageSums
from results.rows import Row
from tests.results.conftest import make_row

IMAGES = 40
FACTORS = (Factor("common", ("on", "off")), Factor("refs", ("3", "0")))
NAMES = ("co", "co--refs-0", "co--common-off", "co--common-off--refs-0")
FOUND = dict(zip(NAMES, (0.8, 0.8, 0.5, 0.6), strict=True))
"""The share of pixels of either class that a cell finds."""


@dataclass
class MadeGrid:
    """Rows of a grid, and what each was scored from."""

    design: Design
    rows: list[Row] = field(default_factory=list)
    sums: dict[tuple[object, ...], ImageSums] = field(default_factory=dict)

    @property
    def counts(self) -> CountsOf:
        """What a row was scored from."""
        return lambda row: self.sums.get(row.identity)

    def add(self, sums: ImageSums, **changes: object) -> None:
        """A row of pseudo labels with these counts."""
        miou = float(np.mean(sums.hits_NC.sum(0) / (sums.truth_NC + sums.predicted_NC - sums.hits_NC).sum(0)))
        row = make_row(stage="pseudo_labels", miou=miou, counts=str(len(self.rows)), **changes)
        self.rows.append(row)
        self.sums[row.identity] = sums


def sums_of(found: float, rng: np.random.Generator) -> ImageSums:
    """Two classes of 1,000 pixels a photo, of which about this share is found."""
    truth_NC = np.full((IMAGES, 2), 1000)
    hits_NC = np.rint(1000 * np.clip(found + 0.05 * rng.standard_normal((IMAGES, 2)), 0, 1)).astype(np.int64)
    missed_NC = truth_NC - hits_NC
    hits, missed = hits_NC.sum(0), missed_NC.sum(0)
    confusion_KK = np.array([[hits[0], missed[0]], [missed[1], hits[1]]])
    names = tuple(f"photo-{n:02}" for n in range(IMAGES))
    return ImageSums(names, hits_NC, hits_NC + missed_NC[:, ::-1], truth_NC, confusion_KK)


def make_grid(
    found: Mapping[str, float] = FOUND, policies: tuple[str, ...] = ("fixed",), variance: bool = False
) -> MadeGrid:
    """Three rng seeds of each cell under each policy."""
    cells = dict(zip(NAMES, level_sets(FACTORS, FULL), strict=True))
    made, rng = MadeGrid(Design("co", FULL, FACTORS, cells, variance=variance)), np.random.default_rng(5)
    for name, share in found.items():
        for policy in policies:
            for seed in range(3):
                made.add(sums_of(share, rng), recipe=name, policy=policy, rng_seed=seed)
    return made


@pytest.fixture
def grid() -> MadeGrid:
    """A grid of four cells: common adds 0.25, and refs matters without it alone."""
    return make_grid()
