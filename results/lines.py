"""The lines of a board: one per recipe, options and setting, with a cell per scored stage, taken over rng seeds."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import NamedTuple

from results.boards import Board
from results.rows import CEILING, STAGES, TIERS, OptionSet, Row, Tier

__all__ = [
    "SEEDS_TO_RANK",
    "TIER_MARKS",
    "VARIANTS",
    "Cell",
    "Column",
    "Line",
    "Measure",
    "columns_of",
    "leading_column",
    "lines_of",
    "measures_of",
    "names_of",
    "pipeline_order",
]

SEEDS_TO_RANK = 3
"""With fewer rng seeds a line is shown, marked, and not ranked."""
VARIANTS = ("", "ss", "ss+flip", "ss+crf", "ss+flip+crf", "ms", "ms+flip", "ms+crf", "ms+flip+crf")


TIER_MARKS: Mapping[Tier, str] = {"scored": "‡", "published": "§"}
"""What stands behind the name of a line that was not recomputed here."""


class Column(NamedTuple):
    """A scored stage and its variant."""

    stage: str
    variant: str

    @property
    def title(self) -> str:
        """As a table's head shows it."""
        return f"{self.stage.replace('_', ' ')} {self.variant}".strip()


class Measure(NamedTuple):
    """A number that rows tell of a scored stage, with a column of its own in tables."""

    column: Column
    field: str
    """Of `results.rows.Row`."""
    title: str
    """As a table's head shows it."""


LABEL_MEASURES = {
    "miou": "pseudo labels (255 = background)",
    "miou_covered": "covered only",
    "coverage": "coverage",
    "precision": "precision",
}
"""What is told of pseudo labels, by the field of rows; of every other stage its mIoU alone."""


def measures_of(column: Column) -> tuple[Measure, ...]:
    """What is told of a scored stage, its mIoU first."""
    if column.stage != "pseudo_labels":
        return (Measure(column, "miou", column.title),)
    return tuple(Measure(column, field, title) for field, title in LABEL_MEASURES.items())


@dataclass(frozen=True)
class Cell:
    """One stage of one line over its rng seeds. With a hole in it there is no mean."""

    rows: tuple[Row, ...]
    holes: tuple[str, ...]
    same_counts_as: str = ""
    """The title of a cell with the very same counts, before it in the line or further up; empty for most."""
    same_counts_in: str = ""
    """The line of that cell; empty where it is the same line, and the two are one measurement."""
    _stds: dict[str, float | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def mean(self, field: str = "miou") -> float | None:
        """Of a field of rows (0..1); None for an incomplete cell, and where a row does not tell it."""
        values = self._values(field)
        return fmean(values) if values else None

    def std(self, field: str = "miou") -> float | None:
        """The sample standard deviation over rng seeds; None for fewer than two, and where there is no mean."""
        # Exact, hence dear, and asked for by the table and by its records.
        if field not in self._stds:
            values = self._values(field)
            self._stds[field] = stdev(values) if len(values) > 1 else None
        return self._stds[field]

    @property
    def undefined(self) -> tuple[str, ...]:
        """Classes left out of the mean of any rng seed."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.undefined))

    def _values(self, field: str) -> list[float]:
        """Of all rows; empty where the cell has a hole, or one of the rows no value."""
        values: list[float | None] = [getattr(row, field) for row in self.rows]
        known = [value for value in values if value is not None]
        return known if len(known) == len(values) and not self.holes else []


@dataclass(frozen=True)
class Line:
    """A recipe with its options under a setting."""

    name: str
    """The recipe, and what tells it from others of its name."""
    option_set: OptionSet
    setting: str
    cells: dict[Column, Cell]
    rows: tuple[Row, ...]

    @property
    def rng_seeds(self) -> tuple[int, ...]:
        """Ascending."""
        return tuple(sorted({row.rng_seed for row in self.rows}))

    @property
    def is_ceiling(self) -> bool:
        """Whether it was given true masks: to train on, or to name what it found without them."""
        return any(row.supervision == CEILING for row in self.rows)

    @property
    def tier(self) -> Tier:
        """How much of it was done here."""
        return self.option_set.tier

    @property
    def is_floor(self) -> bool:
        """Whether it uses no label at all, as all-background does."""
        return not any(row.supervision for row in self.rows)

    @property
    def masks_chosen(self) -> int:
        """Masks read to choose options."""
        return max(row.masks_chosen for row in self.rows)

    @property
    def masks_trained(self) -> int:
        """Masks read to train on."""
        return max(row.masks_trained for row in self.rows)

    @property
    def masks_declared(self) -> int:
        """Of the masks read to choose options, those that were read before the run."""
        return max(row.masks_declared for row in self.rows)

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
    """The board's lines, best first by the last stage that most of them have; then by the others; holes last.

    A line without that stage stands above those at the end that it beats at the last stage which it does have.
    """
    names = names_of(row.option_set for row in board.rows)
    groups: dict[tuple[OptionSet, str], list[Row]] = {}
    for row in sorted(board.rows, key=lambda row: (row.option_set, row.setting, row.rng_seed)):
        groups.setdefault((row.option_set, row.setting), []).append(row)
    lines = [_line(names[options], options, setting, tuple(rows)) for (options, setting), rows in groups.items()]
    return _told_apart(_ordered(lines))


def leading_column(lines: Iterable[Line]) -> Column:
    """The column that lines are ordered by: the last stage that most of them have, floors and ceilings not counted."""
    return _importance(lines)[0]


def _importance(lines: Iterable[Line]) -> list[Column]:
    """The columns in the order in which they decide which line is better."""
    lines = list(lines)
    # A control has every stage, whatever was left out of the recipes that a table is about.
    contenders = [line for line in lines if not line.is_floor and not line.is_ceiling] or lines
    having = {column: 0 for line in lines for column in line.cells}
    for line in contenders:
        for column in line.cells:
            having[column] += 1
    # Of a stage's variants first the one that most lines have: a line without it has nothing to be compared by.
    last_first = sorted(having, key=lambda c: (-STAGES.index(c.stage), -having[c], pipeline_order(c)))
    common = [column for column in last_first if 2 * having[column] > len(contenders)]
    leading = common[0] if common else max(last_first, key=lambda column: having[column])
    return [leading, *(column for column in last_first if column != leading)]


def _ordered(lines: list[Line]) -> list[Line]:
    importance = _importance(lines)
    best_first = sorted(lines, key=lambda line: [-_score(line, column) for column in importance])
    ordered = [line for line in best_first if importance[0] in line.cells]
    for line in best_first:
        if importance[0] in line.cells:
            continue
        # Upwards from the end, as far as it is the better one: so nothing is above it that it was not compared with.
        place = len(ordered)
        while place and _beats(line, ordered[place - 1], importance):
            place -= 1
        ordered.insert(place, line)
    return ordered


def _beats(line: Line, other: Line, importance: list[Column]) -> bool:
    """Whether a line without the leading stage is better than another at the last stage that it has."""
    own = next((column for column in importance if _score(line, column) >= 0), None)
    if own is None:
        return False
    if own in other.cells:
        return _score(line, own) > _score(other, own)
    # A floor is the same masks at every stage: any of its numbers will do. Others cannot be compared.
    if not other.is_floor:
        return line.is_ceiling
    return _score(line, own) > max(_score(other, column) for column in other.cells)


def names_of(option_sets: Iterable[OptionSet]) -> dict[OptionSet, str]:
    """What each line is called: its recipe; where one recipe was run with several options, also what differs."""
    by_recipe: dict[str, set[OptionSet]] = {}
    for each in option_sets:
        by_recipe.setdefault(each.recipe, set()).add(each)
    names: dict[OptionSet, str] = {}
    for recipe, of_one_recipe in by_recipe.items():
        names |= _names_of_one_recipe(recipe, of_one_recipe)
    return names


def _names_of_one_recipe(recipe: str, option_sets: set[OptionSet]) -> dict[OptionSet, str]:
    if len(option_sets) == 1:
        return dict.fromkeys(option_sets, recipe)
    has_tiers = len({each.tier for each in option_sets}) > 1
    has_backbones = len({each.backbone for each in option_sets}) > 1
    has_sizes = len({each.backbone_size for each in option_sets}) > 1
    on_one_backbone = Counter((each.backbone, each.backbone_size, each.tier) for each in option_sets)
    names = {}
    for each in option_sets:
        differences = []
        if has_tiers and each.tier != "recomputed":
            differences.append(TIERS[each.tier])
        # Of what was made elsewhere no backbone is known.
        if has_backbones and each.tier == "recomputed":
            differences.append(each.backbone or "no backbone")
        if has_sizes and each.backbone_size:
            differences.append(f"{each.backbone_size} px")
        if on_one_backbone[each.backbone, each.backbone_size, each.tier] > 1:
            differences.append(f"options {each.options}")
        if not each.options and each.tier == "recomputed":
            differences = ["options not recorded"]
        names[each] = f"{recipe} ({', '.join(differences)})" if differences else recipe
    return names


def _told_apart(lines: list[Line]) -> list[Line]:
    """The lines with a word at each cell whose counts another cell has had already."""
    first: dict[tuple[str, ...], tuple[Line, Column]] = {}
    told = []
    for line in lines:
        cells = {}
        for column in sorted(line.cells, key=pipeline_order):
            cell = line.cells[column]
            counts = tuple(row.counts for row in cell.rows)
            if all(counts) and not cell.holes:
                other, where = first.setdefault(counts, (line, column))
                if other is not line:
                    named = f"{other.name}, setting {other.setting}"
                    cell = replace(cell, same_counts_as=where.title, same_counts_in=named)
                elif where != column:
                    cell = replace(cell, same_counts_as=where.title)
            cells[column] = cell
        told.append(replace(line, cells=cells))
    return told


def _line(name: str, option_set: OptionSet, setting: str, rows: tuple[Row, ...]) -> Line:
    seeds = {row.rng_seed for row in rows}
    columns = {Column(row.stage, row.variant) for row in rows}
    cells = {c: _cell(tuple(r for r in rows if (r.stage, r.variant) == c), seeds) for c in columns}
    return Line(name, option_set, setting, cells, rows)


def _cell(rows: tuple[Row, ...], seeds: set[int]) -> Cell:
    reasons = {row.rng_seed: row.reason or "no class is defined" for row in rows if row.miou is None}
    reasons |= dict.fromkeys(seeds - {row.rng_seed for row in rows}, "no row")
    return Cell(rows, tuple(f"rng seed {seed}: {reasons[seed]}" for seed in sorted(reasons)))


def _score(line: Line, column: Column) -> float:
    mean = line.cells[column].mean() if column in line.cells else None
    return -1.0 if mean is None else mean


def pipeline_order(column: Column) -> tuple[int, int, str]:
    """Sorts columns: maps, refined, pseudo labels, segmentation by variant."""
    known = VARIANTS.index(column.variant) if column.variant in VARIANTS else len(VARIANTS)
    return STAGES.index(column.stage), known, column.variant
