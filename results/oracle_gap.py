"""The oracle gap: what the best threshold on the very masks that are reported would add to a line's maps."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean

from results.lines import Line
from results.rows import Row
from results.selection import ORACLE

__all__ = ["MAPS", "ORACLE_GAP", "OracleGaps"]

MAPS = ("maps", "refined")
"""The stages that have a threshold of their own."""
ORACLE_GAP = (
    "oracle gap: what the best threshold on the very masks that are reported would add to the mIoU of the maps, which "
    "is what a choice of the threshold could still win, mean over rng seeds"
)


@dataclass(frozen=True)
class OracleGaps:
    """The mIoU of the oracle policy's rows, by all that they have in common with the row of another policy."""

    best: Mapping[Hashable, float]

    @classmethod
    def of(cls, rows: Iterable[Row]) -> "OracleGaps":
        """From all rows of a leaderboard; those of other policies are passed over."""
        return cls({_place(row): row.miou for row in rows if row.policy == ORACLE and row.miou is not None})

    def of_line(self, line: Line) -> float | None:
        """The oracle's mIoU less the line's, mean over rng seeds; None where one of them has no such row."""
        gaps = []
        for row in line.rows:
            if row.stage not in MAPS:
                continue
            best = self.best.get(_place(row))
            if best is None or row.miou is None:
                return None
            gaps.append(best - row.miou)
        return fmean(gaps) if gaps else None


def _place(row: Row) -> Hashable:
    """What a row was made of and scored on, but for its policy."""
    made_of = (row.dataset, row.option_set, row.setting, row.training_mode, row.arithmetic, row.rng_seed)
    return (*made_of, row.stage, row.evaluation_fingerprint, row.protocol, row.protocol_version)
