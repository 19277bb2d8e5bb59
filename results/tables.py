"""Result tables, as Markdown, as CSV and for the terminal."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pandas as pd

from results.boards import Board, boards
from results.lines import (
    SEEDS_TO_RANK,
    Cell,
    Column,
    Line,
    Measure,
    columns_of,
    leading_column,
    lines_of,
    measures_of,
)
from results.rows import rows_of

if TYPE_CHECKING:
    from rich.table import Table as RichTable

__all__ = ["Table", "tables"]


LABEL_MEASURES = (
    "pseudo labels (255 = background): mIoU where the pixels that a rule leaves undecided (255) count as background",
    "covered only: mIoU of the decided pixels alone, which are all that a segmentation network is taught; the same "
    "number where nothing is left undecided",
    "coverage: the share of pixels that are decided",
    "precision: of the pixels that pseudo labels give a class, the share that is right; mean over classes, background "
    "and with it what is undecided among them",
)
LABEL_HOURS = "label hours: annotators' work, estimated at 1 s a class and photo, 239.7 s a mask (Bearman et al. 2016)"


@dataclass(frozen=True)
class Table:
    """A table as it is shown; `records` are the same results as unrounded numbers, `sections` stand below it."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    records: tuple[dict[str, Any], ...] = ()
    sections: tuple["Table", ...] = ()

    def to_markdown(self, level: int = 2) -> str:
        """A heading of that level, the table, its notes and its sections."""
        bars = [self.columns, tuple("---" for _ in self.columns), *self.lines]
        body = "\n".join("| " + " | ".join(text.replace("|", r"\|") for text in line) + " |" for line in bars)
        parts = [f"{'#' * level} {self.title}", body]
        if self.notes:
            parts.append("\n".join(f"- {note}" for note in self.notes))
        return "\n\n".join([*(part.rstrip() for part in parts), *(s.to_markdown(level + 1) for s in self.sections)])

    def to_csv(self) -> str:
        """One record per line and scored stage, numbers unrounded, empty where there is none."""
        text = StringIO()
        writer = csv.DictWriter(text, list(self.records[0]) if self.records else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.records)
        return text.getvalue()

    def to_rich(self) -> "RichTable":
        """For the terminal; the notes are the caption."""
        from rich.table import Table as RichTable
        from rich.text import Text

        shown = RichTable(title=Text(self.title), caption=Text("\n".join(self.notes)), caption_justify="left")
        for position, column in enumerate(self.columns):
            shown.add_column(Text(column), justify="left" if position < 2 else "right")
        for line in self.lines:
            shown.add_row(*(Text(text) for text in line))
        return shown


def tables(frame: pd.DataFrame, provisional: str = "") -> list[Table]:
    """One table per board, those of ranked policies first, from rows as `results.load` gives them.

    `provisional` says how complete the rows of a run are that goes on: it stands in the title, and nothing is ranked.
    """
    return [_table(board, provisional) for board in boards(rows_of(frame))]


@dataclass
class _Notes:
    """Footnotes in order of their first mention."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        if text not in self.texts:
            self.texts.append(text)
        return f" [{self.texts.index(text) + 1}]"

    def listed(self) -> Iterator[str]:
        return (f"[{number}] {text}" for number, text in enumerate(self.texts, 1))


def _table(board: Board, provisional: str) -> Table:
    columns, lines, notes = columns_of(board), lines_of(board), _Notes()
    measures = tuple(measure for column in columns for measure in measures_of(column))
    head = (
        "recipe",
        "setting",
        *(measure.title for measure in measures),
        "rng seeds",
        "masks (choose+train)",
        "label hours",
        "seconds",
    )
    unranked = [_unranked(board, line, provisional) for line in lines]
    shown = tuple(_shown(line, measures, why, notes) for line, why in zip(lines, unranked, strict=True))
    marks = sorted({f"† not ranked: {why}" for why in unranked if why})
    scored = [f"{s.replace('_', ' ')} on {e.split} ({e.fingerprint[:12]})" for s, e in _evaluated(board)]
    about = ["mIoU, mean ± standard deviation over rng seeds; " + ", ".join(scored)]
    about += _order(lines)
    if len(measures) > len(columns):
        about += LABEL_MEASURES
    about += [*_declared(lines), LABEL_HOURS]
    about += dict.fromkeys(f"setting {line.setting}: {line.extra}" for line in lines if line.extra)
    records = tuple(
        _record(board, line, c, cell, not why)
        for line, why in zip(lines, unranked, strict=True)
        for c in columns
        if (cell := line.cells.get(c))
    )
    below = (_per_class(columns, lines),)
    title = board.title
    if provisional:
        title = f"PROVISIONAL, {provisional} · {title}"
    return Table(title, head, shown, (*about, *marks, *notes.listed()), records, below)


def _evaluated(board: Board) -> list[tuple[str, Any]]:
    stages = dict.fromkeys(c.stage for c in columns_of(board))
    return [(stage, board.evaluations[stage]) for stage in stages if stage in board.evaluations]


def _order(lines: list[Line]) -> list[str]:
    """By what lines are ordered, where that does not go without saying: some lack the stage that most of them have."""
    leading = leading_column(lines)
    if all(leading in line.cells for line in lines):
        return []
    return [
        f"order: by {leading.title}; a line without it stands above those at the end that it beats at its last stage"
    ]


def _declared(lines: list[Line]) -> list[str]:
    """Where options were chosen before the run, how many of the masks to choose by are those that this took."""
    declared = sorted({line.masks_declared for line in lines} - {0})
    if not declared:
        return []
    numbers = " or ".join(map(str, declared))
    return [
        f"masks (choose): {numbers} of them were used before the run, to choose the options that its suite declares"
    ]


def _unranked(board: Board, line: Line, provisional: str) -> str:
    if line.is_ceiling:
        return "a ceiling, trained on true masks"
    if provisional:
        return f"provisional, {provisional}"
    if not board.ranked:
        return f"policy {board.policy}"
    return f"fewer than {SEEDS_TO_RANK} rng seeds" if len(line.rng_seeds) < SEEDS_TO_RANK else ""


def _shown(line: Line, measures: tuple[Measure, ...], unranked: str, notes: _Notes) -> tuple[str, ...]:
    stale = notes.mark(f"made by other sources than today's: {', '.join(line.stale)}") if line.stale else ""
    recipe = f"{line.name}{' †' if unranked else ''}{stale}"
    cells = (_text(line.cells.get(measure.column), measure.field, notes) for measure in measures)
    masks = f"{line.masks_chosen}+{line.masks_trained}"
    work = f"{line.label_hours:.1f}"
    return (recipe, line.setting, *cells, str(len(line.rng_seeds)), masks, work, f"{line.seconds:.1f}")


def _text(cell: Cell | None, field: str, notes: _Notes) -> str:
    if cell is not None and cell.holes:
        return "✗" + notes.mark("; ".join(cell.holes))
    mean = cell.mean(field) if cell else None
    if cell is None or mean is None:
        return "–"
    std = cell.std(field)
    text = f"{mean:.3f}" if std is None else f"{mean:.3f} ± {std:.3f}"
    if field != "miou":
        return text
    if cell.undefined:
        text += notes.mark(f"undefined, left out of the mean: {', '.join(cell.undefined)}")
    if cell.same_counts_in:
        text += notes.mark(f"the same counts as {cell.same_counts_as} of {cell.same_counts_in}")
    elif cell.same_counts_as:
        text += notes.mark(f"the same counts as {cell.same_counts_as}: one measurement, not two")
    return text


def _record(board: Board, line: Line, column: Column, cell: Cell, is_ranked: bool) -> dict[str, Any]:
    return {
        "dataset": board.dataset,
        "split": cell.rows[0].split,
        "supervision": board.supervision,
        "training_mode": board.training_mode,
        "arithmetic": board.arithmetic,
        "backbone": line.option_set.backbone,
        "backbone_size": line.option_set.backbone_size,
        "options": line.option_set.options,
        "policy": board.policy,
        "protocol": board.protocol,
        "recipe": line.option_set.recipe,
        "setting": line.setting,
        "stage": column.stage,
        "variant": column.variant,
        "miou": cell.mean(),
        "miou_std": cell.std(),
        "miou_covered": cell.mean("miou_covered"),
        "miou_covered_std": cell.std("miou_covered"),
        "coverage": cell.mean("coverage"),
        "precision": cell.mean("precision"),
        "same_counts_as": " of ".join(filter(None, [cell.same_counts_as, cell.same_counts_in])),
        "thresholds": " ".join(f"{row.threshold:.3g}" for row in cell.rows if row.threshold is not None),
        "rng_seeds": len(line.rng_seeds),
        "ranked": is_ranked,
        "masks_chosen": line.masks_chosen,
        "masks_declared": line.masks_declared,
        "masks_trained": line.masks_trained,
        "label_hours": line.label_hours,
        "extra_photos": line.rows[0].extra_photos,
        "extra_dropped": line.rows[0].extra_dropped,
        "extra_filtered": line.rows[0].extra_filtered,
        "extra_in_stage_2": line.rows[0].extra_in_stage_2,
        "filter": line.rows[0].filter,
        "noise_rate": line.rows[0].noise_rate,
        "seconds": line.seconds,
        "holes": "; ".join(cell.holes),
    }


def _per_class(columns: tuple[Column, ...], lines: list[Line]) -> Table:
    complete = [
        (line, c, cell.rows) for line in lines for c in columns if (cell := line.cells.get(c)) and not cell.holes
    ]
    names = tuple(dict.fromkeys(name for _, _, rows in complete for name in rows[0].classes))
    shown, records = [], []
    for line, column, rows in complete:
        means = {
            name: _class_mean([dict(zip(r.classes, r.per_class, strict=False)).get(name) for r in rows])
            for name in names
        }
        shown.append(
            (line.name, line.setting, column.title, *("–" if v is None else f"{v:.3f}" for v in means.values()))
        )
        records.append({"recipe": line.name, "setting": line.setting, **column._asdict(), **means})
    return Table("IoU by class", ("recipe", "setting", "scored", *names), tuple(shown), (), tuple(records))


def _class_mean(values: list[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return fmean(defined) if len(defined) == len(values) else None
