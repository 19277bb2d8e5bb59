"""Tables of numbers with a colour for each: recipes by setting, what a setting gains over clean, and classes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from results.glance import PLAIN, leading_records, names_among
from results.shown import Table
from results.verdict_tables import COMPARISONS
from results.verdict_tables import IMAGES_ALONE as ONE_SEED

__all__ = ["STEPS", "Cell", "HeatMap", "by_class", "by_setting", "gains"]

NOTHING = "–"
STEPS = 20
"""Of a colour: this many are told apart by eye, and a browser draws cells of few styles faster."""


class Cell(NamedTuple):
    """A number on a heat map; `share` (0..1) is how strong its colour is, None for a cell without a number."""

    text: str
    share: float | None
    is_loss: bool = False
    """Whether it has the colour of losses."""

    @property
    def step(self) -> int:
        """How strong its colour is, from 0 to STEPS."""
        return round(STEPS * (self.share or 0.0))


@dataclass(frozen=True)
class HeatMap:
    """A table of numbers with a colour for each: a row has a name, and a cell for each column."""

    title: str
    explained: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def by_setting(table: Table) -> HeatMap | None:
    """Recipe × setting at the leading stage of a board, with intervals; None for a single setting."""
    found = leading_records(table)
    if found is None:
        return None
    column, here = found
    settings = tuple(dict.fromkeys(record["setting"] for record in here))
    if len(settings) < 2:
        return None
    scale = [record["miou"] for record in here]
    cells: dict[str, dict[str, Cell]] = {}
    for name, record in zip(names_among(here), here, strict=True):
        text = f"{record['miou']:.3f}"
        if record["interval_low"] is not None:
            mark = ONE_SEED if record["rng_seeds"] == 1 else ""
            text += f"{mark} [{record['interval_low']:.3f}, {record['interval_high']:.3f}]"
        cells.setdefault(name, {})[record["setting"]] = Cell(text, _share(record["miou"], scale))
    has_intervals = any(record["interval_low"] is not None for record in here)
    has_marks = has_intervals and any(record["rng_seeds"] == 1 for record in here)
    explained = "mIoU with its 95 % interval" if has_intervals else "mIoU"
    explained += "; the stronger the colour, the higher"
    return HeatMap(
        f"Recipes by setting, {column.title}",
        explained + (f"; {ONE_SEED} a single rng seed" if has_marks else ""),
        settings,
        _rows(cells, settings),
    )


def gains(table: Table) -> HeatMap | None:
    """What each setting adds to the mIoU that a recipe has under `clean`; None where nothing is held against that."""
    section = next((each for each in table.sections if each.title.startswith(COMPARISONS)), None)
    if section is None:
        return None
    of_settings = [
        (line, record)
        for line, record in zip(section.lines, section.records, strict=True)
        if record["recipe"] == record["against"] and record["against_setting"] == PLAIN
    ]
    if not of_settings:
        return None
    settings = tuple(dict.fromkeys(record["setting"] for _, record in of_settings))
    most = max(abs(record["difference"]) for _, record in of_settings)
    cells: dict[str, dict[str, Cell]] = {}
    for line, record in of_settings:
        told = dict(zip(section.columns, line, strict=True))
        share = abs(record["difference"]) / most if most else 0.0
        cell = Cell(f"{told['Δ']} {told['95 % interval']} {told['verdict']}", share, record["difference"] < 0)
        cells.setdefault(record["recipe"], {})[record["setting"]] = cell
    explained = (
        f"mIoU under the setting less mIoU under {PLAIN}, with the 95 % interval of the difference, and what the test "
        "says for all planned comparisons together; blue: a gain, orange: a loss, the stronger the larger; "
        f"{ONE_SEED} a single rng seed"
    )
    return HeatMap(f"Gain of each setting over {PLAIN}", explained, settings, _rows(cells, settings))


def by_class(section: Table) -> HeatMap:
    """The section by class as a heat map: one scale for all classes, and one for the background."""
    told = [name for name in ("recipe", "setting", "scored") if name in section.columns]
    classes = section.columns[len(told) :]
    # The background is easy: on one scale with them it would leave no colours to the classes.
    background = classes[:1]
    scales = {name: _values(section, background if name in background else classes[1:]) for name in classes}
    rows = []
    for line, record in zip(section.lines, section.records, strict=True):
        values = [(record.get(name), scales[name]) for name in classes]
        shares = [None if value is None else _share(value, scale) for value, scale in values]
        cells = tuple(Cell(text, share) for text, share in zip(line[len(told) :], shares, strict=True))
        rows.append((" · ".join(line[: len(told)]), cells))
    explained = (
        "mean IoU over rng seeds; the stronger the colour, the higher, with a scale of its own for the background; "
        "– where a class is not defined for all of them"
    )
    return HeatMap(section.title, explained, classes, tuple(rows))


def _rows(cells: dict[str, dict[str, Cell]], columns: Sequence[str]) -> tuple[tuple[str, tuple[Cell, ...]], ...]:
    nothing = Cell(NOTHING, None)
    return tuple((name, tuple(of_name.get(column, nothing) for column in columns)) for name, of_name in cells.items())


def _values(section: Table, names: Collection[str]) -> list[float]:
    return [value for record in section.records for name in names if (value := record.get(name)) is not None]


def _share(value: float, scale: Sequence[float]) -> float:
    low, high = min(scale), max(scale)
    return 1.0 if high == low else (value - low) / (high - low)
