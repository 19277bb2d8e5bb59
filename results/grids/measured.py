"""A grid's cells as they were measured: each against the full method, the effects of factors, shares of variance."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from results.boards import Board
from results.comparisons import CountsOf, sums_of_line
from results.grids.design import Design
from results.grids.effects import Effect, effects, missing_for_effects
from results.grids.variance import Share, shares
from results.lines import Column, Line, leading_column, lines_of
from results.rows import Row
from results.selection import is_ranked
from results.statistics import Difference, PixelSums, Sample, contrast, corrected, difference, samples

__all__ = ["GridBoard", "GridCell", "GridVariance", "grid_boards", "grid_variances"]

MUST_AGREE = {
    "dataset": "data set",
    "protocol": "protocol",
    "protocol_version": "protocol version",
    "evaluation_fingerprint": "scored on masks of fingerprint",
    "training_fingerprint": "trained on photos and labels of fingerprint",
}
"""What cells and the full method must have in common: the field of rows, and what it is called."""
POLICY = "threshold policy"
"""A factor beside those of the grid where a suite has several policies."""


@dataclass(frozen=True)
class GridCell:
    """One cell of a grid under one policy and setting."""

    line: Line
    against_full: Difference | None
    """Its mIoU less the full method's; None for the full method, and where one of them has a hole or no counts. p and
    verdict hold for all cells of the grid together (Holm)."""


@dataclass(frozen=True)
class GridBoard:
    """The cells of a grid under one policy and setting, which were scored on the same masks."""

    design: Design
    dataset: str
    setting: str
    policy: str
    column: Column
    """What is compared: the last stage that most cells have."""
    cells: Mapping[str, GridCell]
    """By recipe, in the order of the design; those that are refused are not among them."""
    effects: tuple[tuple[Effect, Difference], ...]
    """Main effects, corrected together (Holm), then interactions of two factors, likewise."""
    images: int
    rng_seeds: tuple[int, ...]
    """Over which effects are told: those that all measured cells have."""
    notes: tuple[str, ...]
    """Which cells are refused or missing, and why."""


@dataclass(frozen=True)
class GridVariance:
    """Which share of the variance of mIoU each factor explains, the threshold policy among them where it varies."""

    dataset: str
    setting: str
    column: Column
    policies: tuple[str, ...]
    cells: int
    images: int
    rng_seeds: tuple[int, ...]
    shares: tuple[Share, ...]
    """Empty where a note says why."""
    notes: tuple[str, ...]


class _Place(NamedTuple):
    """A cell under a policy."""

    recipe: str
    policy: str


@dataclass(frozen=True)
class _Measured:
    """Lines of cells under one setting; those that are complete have samples, which were made together."""

    column: Column
    lines: Mapping[_Place, Line]
    samples: Mapping[_Place, Sample]
    seeds: Mapping[_Place, tuple[int, ...]]
    images: int
    notes: tuple[str, ...]

    def over(self, place: _Place, seeds: Sequence[int]) -> Sample:
        """The sample of a cell over these of its rng seeds."""
        return self.samples[place].of([self.seeds[place].index(seed) for seed in seeds])

    def common(self, places: Iterable[_Place]) -> tuple[int, ...]:
        """The rng seeds that all of these cells have, ascending; none without a cell."""
        having = [set(self.seeds[place]) for place in places]
        return tuple(sorted(set.intersection(*having))) if having else ()


def grid_boards(design: Design, rows: Sequence[Row], counts: CountsOf) -> list[GridBoard]:
    """What was measured of a grid, a board for each setting and ranked policy that has the full method."""
    found = []
    for of_setting in _by_setting(design, rows):
        for policy in dict.fromkeys(row.policy for row in of_setting):
            own = [row for row in of_setting if row.policy == policy]
            measured = _measured(design, own, counts)
            if measured is not None:
                found.append(_board(design, own[0], measured))
    return found


def grid_variances(design: Design, rows: Sequence[Row], counts: CountsOf) -> list[GridVariance]:
    """Shares of variance over all ranked policies, one table a setting, where the design asks for them."""
    if not design.variance:
        return []
    found = []
    for own in _by_setting(design, rows):
        measured = _measured(design, own, counts)
        if measured is not None:
            found.append(_variance(design, own, measured))
    return found


def _by_setting(design: Design, rows: Sequence[Row]) -> list[list[Row]]:
    """The rows of cells under ranked policies, apart by setting."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.recipe in design.cells and is_ranked(row.policy):
            groups.setdefault(row.setting, []).append(row)
    return list(groups.values())


def _measured(design: Design, rows: Sequence[Row], counts: CountsOf) -> _Measured | None:
    """The cells under one setting, less those that were scored on other masks; None without the full method."""
    whole = [row for row in rows if row.recipe == design.base]
    if not whole:
        return None
    refused = _refused(design.base, rows, whole)
    lines: dict[_Place, Line] = {}
    policies = tuple(dict.fromkeys(row.policy for row in rows))
    for policy in policies:
        own = [row for row in rows if row.policy == policy and row.recipe not in refused]
        lines |= {_Place(line.option_set.recipe, policy): line for line in lines_of(_as_board(whole[0], own))}
    column = leading_column(lines.values())
    sums: dict[_Place, PixelSums] = {}
    notes = [f"refused: {name}: {why}" for name, why in refused.items()]
    for place in (_Place(name, policy) for name in design.cells for policy in policies if name not in refused):
        line = lines.get(place)
        found = sums_of_line(line, column, counts) if line else None
        if found is not None:
            sums[place] = found
        elif place.recipe not in design.skipped:
            notes.append(f"nothing is told of {place.recipe}, policy {place.policy}: {_lack(line, column)}")
    images = next((found.images for found in sums.values()), 0)
    drawn = samples(list(sums.values())) if images > 1 else []
    seeds = {place: tuple(row.rng_seed for row in lines[place].cells[column].rows) for place in sums}
    return _Measured(column, lines, dict(zip(sums, drawn, strict=False)), seeds, images, tuple(notes))


def _refused(base: str, rows: Sequence[Row], whole: Sequence[Row]) -> dict[str, str]:
    """The cells that cannot be held against the full method, by name, each with the reason."""
    expected = {row.stage: row for row in whole if row.status == "ok"}
    refused: dict[str, str] = {}
    for row in rows:
        reference = expected.get(row.stage)
        if reference is None or row.status != "ok":
            continue
        for field, what in MUST_AGREE.items():
            own, other = str(getattr(row, field)), str(getattr(reference, field))
            if own != other:
                stage = row.stage.replace("_", " ")
                refused.setdefault(row.recipe, f"{what} {own[:12]}, where {base} has {other[:12]} ({stage})")
    return refused


def _as_board(first: Row, rows: Sequence[Row]) -> Board:
    """Rows of a grid as one board: a factor may change what a recipe is supervised by, or how it is trained."""
    return Board(
        first.dataset, first.policy, first.protocol, first.protocol_version, first.training_mode, first.supervision,
        first.arithmetic, tuple(rows),
    )  # fmt: skip


def _lack(line: Line | None, column: Column) -> str:
    cell = line.cells.get(column) if line else None
    if cell is None:
        return f"it has no {column.title}"
    return "; ".join(cell.holes) or "its counts are not kept"


def _board(design: Design, first: Row, measured: _Measured) -> GridBoard:
    against = _against_full(design.base, measured)
    cells = {place.recipe: GridCell(line, against.get(place)) for place, line in measured.lines.items()}
    told, notes = _effects(design, first.policy, measured)
    return GridBoard(
        design,
        first.dataset,
        first.setting,
        first.policy,
        measured.column,
        {name: cells[name] for name in design.cells if name in cells},
        told,
        measured.images,
        measured.common(measured.samples),
        (*measured.notes, *notes),
    )


def _against_full(base: str, measured: _Measured) -> dict[_Place, Difference]:
    found = {}
    for place in measured.samples:
        full = place._replace(recipe=base)
        if place == full or full not in measured.samples:
            continue
        if common := measured.common([place, full]):
            found[place] = difference(measured.over(place, common), measured.over(full, common))
    return dict(zip(found, corrected(list(found.values())), strict=True))


def _effects(
    design: Design, policy: str, measured: _Measured
) -> tuple[tuple[tuple[Effect, Difference], ...], list[str]]:
    """Effects and interactions with their differences, and notes on what cannot be told."""
    having, seeds = {place.recipe for place in measured.samples}, measured.common(measured.samples)
    if lacking := missing_for_effects(design, having):
        return (), [f"no effects: a fraction needs all of its cells, and these are missing: {', '.join(lacking)}"]
    if not seeds:
        return (), ["no effects: the cells have no rng seed in common"]
    own = {name: measured.over(_Place(name, policy), seeds) for name in having}
    found = effects(design, having)
    told: list[tuple[Effect, Difference]] = []
    for order in (1, 2):
        family = [effect for effect in found if len(effect.factors) == order]
        contrasts = [contrast([own[name] for name in each.weights], list(each.weights.values())) for each in family]
        told += zip(family, corrected(contrasts), strict=True)
    return tuple(told), []


def _variance(design: Design, rows: Sequence[Row], measured: _Measured) -> GridVariance:
    policies = tuple(dict.fromkeys(row.policy for row in rows))
    names, levels = [factor.name for factor in design.factors], [len(factor.levels) for factor in design.factors]
    if len(policies) > 1:
        names, levels = [*names, POLICY], [*levels, len(policies)]
    order = [_Place(name, policy) for name in design.cells for policy in policies]
    told: list[Share] = []
    notes = [*measured.notes]
    seeds = measured.common(measured.samples)
    if all(place in measured.samples for place in order):
        try:
            told = shares(names, levels, [measured.over(place, seeds) for place in order])
        except ValueError as error:
            notes.append(f"no shares: {error}")
    else:
        notes.append("no shares: they need every cell under every policy")
    first = rows[0]
    return GridVariance(
        first.dataset,
        first.setting,
        measured.column,
        policies,
        len(order),
        measured.images,
        seeds,
        tuple(told),
        tuple(notes),
    )
