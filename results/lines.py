"""The lines of a board: one per recipe and setting, with a cell per scored stage, taken over rng seeds."""

from dataclasses import dataclass
from statistics import fmean, stdev
from typing import NamedTuple

from results.boards import Board
from results.rows import CEILING, STAGES, Row

__all__ = ["SEEDS_TO_RANK", "Cell", "Column", "Line", "columns_of", "lines_of", "pipeline_order"]

SEEDS_TO_RANK = 3
"""With fewer rng seeds a line is shown, marked, and not ranked."""
VARIANTS = ("", "ss", "ss+flip", "ss+crf", "ss+flip+crf", "ms", "ms+flip", "ms+crf", "ms+flip+crf")


class Column(NamedTuple):
    """A scored stage and its variant."""

    stage: str
    variant: str

    @property
    def title(self) -> str:
        """As a table's head shows it."""
        return f"{self.stage.replace('_', ' ')} {self.variant}".strip()


@dataclass(frozen=True)
class Cell:
    """One stage of one line over its rng seeds. With a hole in it there is no mean."""

    rows: tuple[Row, ...]
    holes: tuple[str, ...]

    @property
    def mean(self) -> float | None:
        """mIoU, 0..1; None for an incomplete cell."""
        return None if self.holes else fmean(self._mious)

    @property
    def std(self) -> float | None:
        """The sample standard deviation over rng seeds; None for fewer than two and for an incomplete cell."""
        return None if self.holes or len(self.rows) < 2 else stdev(self._mious)

    @property
    def undefined(self) -> tuple[str, ...]:
        """Classes left out of the mean of any rng seed."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.undefined))

    @property
    def _mious(self) -> list[float]:
        return [row.miou for row in self.rows if row.miou is not None]


@dataclass(frozen=True)
class Line:
    """A recipe under a setting."""

    recipe: str
    setting: str
    cells: dict[Column, Cell]
    rows: tuple[Row, ...]

    @property
    def rng_seeds(self) -> tuple[int, ...]:
        """Ascending."""
        return tuple(sorted({row.rng_seed for row in self.rows}))

    @property
    def is_ceiling(self) -> bool:
        """Whether it trained on true masks."""
        return any(row.supervision == CEILING for row in self.rows)

    @property
    def masks_chosen(self) -> int:
        """Masks read to choose options."""
        return max(row.masks_chosen for row in self.rows)

    @property
    def masks_trained(self) -> int:
        """Masks read to train on."""
        return max(row.masks_trained for row in self.rows)

    @property
    def label_hours(self) -> float:
        """Estimated work of annotators."""
        return max(row.label_hours for row in self.rows)

    @property
    def extra(self) -> str:
        """What is to be known of its extra photos, in words; empty where there are none."""
        row = self.rows[0]
        if not (row.extra_photos or row.extra_dropped or row.extra_filtered):
            return ""
        parts = [f"{row.extra_photos} extra photos", f"{row.extra_dropped} dropped by the audit"]
        parts += [f"{row.extra_filtered} by the filter {row.filter}"] if row.filter else []
        parts += [f"{row.noise_rate:.0%} noise"] if row.noise_rate is not None else []
        parts += [f"none of {', '.join(row.without_extra)}"] if row.without_extra else []
        return f"{', '.join(parts)}; {'also' if row.extra_in_stage_2 else 'not'} in stage 2"

    @property
    def seconds(self) -> float:
        """Mean over rng seeds; a row's seconds hold those of the stages before it, so the longest is the whole."""
        return fmean(max(r.seconds for r in self.rows if r.rng_seed == s) for s in self.rng_seeds)

    @property
    def stale(self) -> tuple[str, ...]:
        """Components whose artefacts were made by other sources."""
        return tuple(sorted({name for row in self.rows for name in row.stale}))


def columns_of(board: Board) -> tuple[Column, ...]:
    """The stages that the board's rows score, in the order of the pipeline."""
    found = {Column(row.stage, row.variant) for row in board.rows}
    return tuple(sorted(found, key=pipeline_order))


def lines_of(board: Board) -> list[Line]:
    """The board's lines, best first by the last stage; then by the stages before it; holes last."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(board.rows, key=lambda row: (row.recipe, row.setting, row.rng_seed)):
        groups.setdefault((row.recipe, row.setting), []).append(row)
    lines = [_line(recipe, setting, tuple(rows)) for (recipe, setting), rows in groups.items()]
    # Of a stage's variants first the one that most lines have: a line without it has nothing to be compared by.
    lacking = {column: sum(column not in line.cells for line in lines) for column in columns_of(board)}
    importance = sorted(lacking, key=lambda c: (-STAGES.index(c.stage), lacking[c], pipeline_order(c)))
    return sorted(lines, key=lambda line: [-_score(line, column) for column in importance])


def _line(recipe: str, setting: str, rows: tuple[Row, ...]) -> Line:
    seeds = {row.rng_seed for row in rows}
    columns = {Column(row.stage, row.variant) for row in rows}
    cells = {c: _cell(tuple(r for r in rows if (r.stage, r.variant) == c), seeds) for c in columns}
    return Line(recipe, setting, cells, rows)


def _cell(rows: tuple[Row, ...], seeds: set[int]) -> Cell:
    reasons = {row.rng_seed: row.reason or "no class is defined" for row in rows if row.miou is None}
    reasons |= dict.fromkeys(seeds - {row.rng_seed for row in rows}, "no row")
    return Cell(rows, tuple(f"rng seed {seed}: {reasons[seed]}" for seed in sorted(reasons)))


def _score(line: Line, column: Column) -> float:
    mean = line.cells[column].mean if column in line.cells else None
    return -1.0 if mean is None else mean


def pipeline_order(column: Column) -> tuple[int, int, str]:
    """Sorts columns: maps, refined, pseudo labels, segmentation by variant."""
    known = VARIANTS.index(column.variant) if column.variant in VARIANTS else len(VARIANTS)
    return STAGES.index(column.stage), known, column.variant
