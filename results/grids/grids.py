"""All that a leaderboard says of its grid: boards of cells, effects and shares of variance, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from results.comparisons import CountsOf
from results.grids.design import Design
from results.grids.measured import GridBoard, GridVariance, grid_boards, grid_variances
from results.grids.tables import ablation_table, effect_tables, variance_table
from results.rows import Row
from results.shown import Table

__all__ = ["Grids", "measured_grids"]


@dataclass(frozen=True)
class Grids:
    """What was measured of a grid, under every setting and ranked policy."""

    design: Design
    boards: tuple[GridBoard, ...]
    variances: tuple[GridVariance, ...]

    @property
    def measured(self) -> list[GridBoard]:
        """The boards on which some cell stands beside the full method: there is nothing to draw of others."""
        return [board for board in self.boards if any(cell.against_full for cell in board.cells.values())]

    @property
    def ablations(self) -> list[Table]:
        """A table of cells for each board."""
        return [ablation_table(board) for board in self.boards]

    @property
    def effects(self) -> list[Table]:
        """Main effects and interactions, board by board."""
        return [table for board in self.boards for table in effect_tables(board)]

    @property
    def shares(self) -> list[Table]:
        """What explains the variance, a table for each setting."""
        return [variance_table(variance, self.design) for variance in self.variances]

    @property
    def tables(self) -> list[Table]:
        """All of them, in the order in which they are read."""
        return [*self.ablations, *self.effects, *self.shares]


def measured_grids(design: Design, rows: Sequence[Row], counts: CountsOf) -> Grids:
    """From a leaderboard's rows, and what each was scored from."""
    boards, variances = grid_boards(design, rows, counts), grid_variances(design, rows, counts)
    return Grids(design, tuple(boards), tuple(variances))
