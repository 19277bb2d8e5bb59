"""Result tables: a line for each recipe and setting of a board, ordered, ranked and explained."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, NamedTuple

import pandas as pd

from results.boards import Board, boards
from results.comparisons import CountsOf, Verdicts, verdicts
from results.facts import EPOCHS, Fact, Facts, facts_of
from results.lines import (
    SEEDS_TO_RANK,
    TIER_MARKS,
    Cell,
    Column,
    Line,
    Measure,
    columns_of,
    leading_column,
    lines_of,
    measures_of,
)
from results.oracle_gap import MAPS, ORACLE_GAP, OracleGaps
from results.rows import TIERS, Row, Tier, rows_of
from results.shown import BY_CLASS, TEXTS, Table
from results.verdict_tables import (
    HEAD,
    is_tied_with_the_best,
    rank_of,
    record_of,
    sections,
    shown_of,
    verdicts_explained,
)
from settings.errors import counted

__all__ = ["STALE", "VARIANTS", "tables"]

STALE = "made by other sources than today's"
"""How the footnote begins of a line whose modules have changed since."""

MEASURES = {
    "miou": "pseudo labels (255 = background): mIoU where the pixels that a rule leaves undecided (255) count as "
    "background",
    "miou_covered": "covered only: mIoU of the decided pixels alone, which are all that a segmentation network is "
    "taught; the same number where nothing is left undecided",
    "coverage": "coverage: the share of pixels that are decided",
    "precision": "precision: of the pixels that pseudo labels give a class, the share that is right; mean over "
    "classes, background and with it what is undecided among them",
}
"""What is told of pseudo labels, by the field of rows."""
ALL_DECIDED = "pseudo labels: every pixel is decided (coverage 1), so that this mIoU is that of the decided ones too"
ELSEWHERE: Mapping[Tier, str] = {
    "scored": "masks scored here: made elsewhere, wholly or in part; checked and scored here",
    "published": "published: copied from its source, and never ranked with what was measured here",
}
"""What the marks of lines that were not recomputed here say."""
LABEL_HOURS = "label hours: annotators' work, estimated at 1 s a class and photo, 239.7 s a mask (Bearman et al. 2016)"
MASKS = (
    "masks (choose+train): true masks that options were chosen on, in the run or before it, and that were trained on"
)
VARIANTS = {"ss": "one scale", "ms": "several scales", "flip": "mirrored too", "crf": "a CRF at the end"}
"""What the names of ways to run a segmentation network are made of."""


def _no_counts(row: Row) -> None:
    """Nothing is known of what the row was scored from."""


def tables(frame: pd.DataFrame, provisional: str = "", counts: CountsOf = _no_counts) -> list[Table]:
    """One table per board, those of ranked policies first, from rows as `results.load` gives them.

    `provisional` says how complete the rows of a run are that goes on: it stands in the title, and nothing is ranked.
    `counts` gives what a row was scored from: then lines of ranked policies have intervals, ranks and comparisons.
    """
    rows = rows_of(frame)
    gaps = OracleGaps.of(rows)
    return [_table(board, provisional, counts, gaps) for board in boards(rows)]


@dataclass
class _Notes:
    """Footnotes in order of their first mention."""

    numbers: dict[str, int] = field(default_factory=dict)

    def mark(self, text: str) -> str:
        return f" [{self.numbers.setdefault(text, len(self.numbers) + 1)}]"

    def listed(self) -> Iterator[str]:
        return (f"[{number}] {text}" for text, number in self.numbers.items())


class _Content(NamedTuple):
    """What a board's table is made of."""

    board: Board
    lines: list[Line]
    unranked: list[str]
    """Why each line has no rank; empty for one that may have one."""
    joined: dict[Column, Column]
    """Columns that are not shown, each by the one that says the same."""
    measures: tuple[Measure, ...]
    leading: Measure
    """What lines are ranked by."""
    verdicts: Verdicts | None
    gaps: list[float | None]
    """By line: how far the oracle's threshold is above the one that was used."""
    facts: Facts


def _table(board: Board, provisional: str, counts: CountsOf, gaps: OracleGaps) -> Table:
    content, notes = _content(board, provisional, counts, gaps), _Notes()
    lines, found = content.lines, content.verdicts
    told = _columns_told(content, notes)
    best = frozenset(n for n in range(len(lines)) if found and is_tied_with_the_best(found, n))
    marks = [
        *sorted({f"† not ranked: {why}" for why in content.unranked if why}),
        *(f"{TIER_MARKS[tier]} {told}" for tier, told in ELSEWHERE.items() if any(ln.tier == tier for ln in lines)),
    ]
    by_class = _per_class(tuple(dict.fromkeys(measure.column for measure in content.measures)), lines, content.facts)
    return Table(
        f"PROVISIONAL, {provisional} · {board.title}" if provisional else board.title,
        tuple(name for name, _ in told),
        tuple(zip(*(cells for _, cells in told), strict=True)),
        (*_about(content), *marks, *notes.listed()),
        tuple(_records(content)),
        (*(sections(found, lines) if found else ()), by_class),
        content.facts.common,
        tuple(_explained_first(content.board)),
        leading=content.leading.column,
        made_of=tuple(lines),
        bold=(content.leading.title, best) if best else None,
        apart=found.apart if found else frozenset(),
    )


def _content(board: Board, provisional: str, counts: CountsOf, gaps: OracleGaps) -> _Content:
    lines, columns = lines_of(board), columns_of(board)
    unranked = [_unranked(board, line, provisional) for line in lines]
    joined = _joined(columns, lines)
    measures = tuple(measure for column in columns if column not in joined for measure in _measures(column, lines))
    leading = leading_column(lines)
    leading = joined.get(leading, leading)
    found = None
    if board.ranked and not provisional:
        found = verdicts(lines, leading, counts, [not why for why in unranked])
    return _Content(
        board,
        lines,
        unranked,
        joined,
        measures,
        next(measure for measure in measures if measure.column == leading),
        found,
        [gaps.of_line(line) if board.ranked else None for line in lines],
        facts_of(lines),
    )


def _columns_told(content: _Content, notes: _Notes) -> list[tuple[str, list[str]]]:
    """Title and cells of every column, from left to right."""
    lines, found, facts = content.lines, content.verdicts, content.facts.differing
    titles = {column.title: other.title for column, other in content.joined.items()}
    names, texts = [], []
    for line, why in zip(lines, content.unranked, strict=True):
        names.append(_name(line, why, notes))
        cells = [_text(line.cells.get(each.column), each.field, titles, notes) for each in content.measures]
        texts.append(cells)
    told: list[tuple[str, list[str]]] = []
    if found and found.standings:
        told.append(("rank", [rank_of(found, n) for n in range(len(lines))]))
    told.append(("recipe", names))
    told += [_fact(fact, lines) for fact in facts if fact.title in TEXTS]
    for place, measure in enumerate(content.measures):
        told.append((measure.title, [cells[place] for cells in texts]))
        if found and measure == content.leading:
            beside = zip(*(shown_of(found, n) for n in range(len(lines))), strict=True)
            # Where nothing is held against a yardstick, nothing stands in the second.
            named = zip(HEAD if found.against_yardstick else HEAD[:1], beside, strict=False)
            told += [(title, list(cells)) for title, cells in named]
    if _has_gaps(content):
        told.append(("oracle gap", ["–" if gap is None else f"{gap:.3f}" for gap in content.gaps]))
    told += [_fact(fact, lines) for fact in facts if fact.title not in TEXTS]
    told.append(("seconds", [f"{line.seconds:.1f}" for line in lines]))
    return told


def _has_gaps(content: _Content) -> bool:
    return any(gap is not None for gap in content.gaps)


def _about(content: _Content) -> list[str]:
    """The notes that explain the table."""
    board, lines, found = content.board, content.lines, content.verdicts
    about = [*_explained_first(board)]
    about += [*_order(lines), *_joined_told(content.joined), *_explained(content.measures)]
    about += verdicts_explained(found, lines) if found else []
    about += [ORACLE_GAP] if _has_gaps(content) else []
    about += [_masks(lines), LABEL_HOURS]
    about += dict.fromkeys(f"setting {line.setting}: {line.extra}" for line in lines if line.extra)
    return list(filter(None, about))


def _explained_first(board: Board) -> list[str]:
    """What the title means, and what the numbers are and of which photos."""
    values = f"mIoU, mean ± standard deviation over rng seeds; {_evaluated(board)}"
    return list(filter(None, [board.title_explained, values]))


def _records(content: _Content) -> Iterator[dict[str, Any]]:
    """One a line and scored stage, whether or not the stage has a column."""
    lines, leading, columns = content.lines, content.leading.column, columns_of(content.board)
    for n, (line, why, gap) in enumerate(zip(lines, content.unranked, content.gaps, strict=True)):
        for column in columns:
            if cell := line.cells.get(column):
                yield {
                    **_record(content.board, line, column, cell, not why),
                    "oracle_gap": gap if column.stage in MAPS else None,
                    **record_of(content.verdicts if column == leading else None, n, lines),
                }


def _fact(fact: Fact, lines: list[Line]) -> tuple[str, list[str]]:
    return fact.title, [fact.value(line) or "–" for line in lines]


def _joined(columns: tuple[Column, ...], lines: list[Line]) -> dict[Column, Column]:
    """Columns of maps that say nothing of their own, each by that of the pseudo labels which were cut out of them.

    Such a column has the very same counts in every line: a threshold that was declared makes both of one measurement.
    """
    joined: dict[Column, Column] = {}
    labels = next((column for column in columns if column.stage == "pseudo_labels"), None)
    for column in columns:
        having = [line for line in lines if column in line.cells]
        if (
            labels is not None
            and column.stage in ("maps", "refined")
            and all(_same(ln, column, labels) for ln in having)
        ):
            joined[column] = labels
    return joined


def _same(line: Line, column: Column, other: Column) -> bool:
    """Whether a line has both cells without a hole, and with the same counts for each rng seed."""
    if other not in line.cells:
        return False
    one, two = line.cells[column], line.cells[other]
    counts = [row.counts for row in one.rows]
    return not one.holes and not two.holes and all(counts) and counts == [row.counts for row in two.rows]


def _joined_told(joined: dict[Column, Column]) -> list[str]:
    if not joined:
        return []
    names = ", ".join(column.title for column in joined)
    return [f"{names}: in each line the same counts as its pseudo labels, hence no column of their own"]


def _measures(column: Column, lines: list[Line]) -> tuple[Measure, ...]:
    """The measures of a column without those that no line has, and without those that full coverage makes idle."""
    cells = [line.cells[column] for line in lines if column in line.cells]
    measures = [
        measure
        for measure in measures_of(column)
        if measure.field == "miou" or any(c.mean(measure.field) is not None for c in cells)
    ]
    coverages = [row.coverage for cell in cells for row in cell.rows if row.status == "ok"]
    if column.stage != "pseudo_labels" or any(coverage != 1 for coverage in coverages):
        return tuple(measures)
    kept = [measure for measure in measures if measure.field not in ("miou_covered", "coverage")]
    return (kept[0]._replace(title=column.title), *kept[1:])


def _explained(measures: Iterable[Measure]) -> list[str]:
    """A note for each measure and abbreviation of the head that does not go without saying."""
    fields = [measure.field for measure in measures if measure.column.stage == "pseudo_labels"]
    told = [MEASURES[field] for field in fields]
    if fields and "coverage" not in fields:
        told[0] = ALL_DECIDED
    names = dict.fromkeys(name for measure in measures for name in measure.column.variant.split("+"))
    known = [f"{name} {VARIANTS[name]}" for name in names if name in VARIANTS]
    if known:
        told.append(f"segmentation: {', '.join(known)}")
    return told


def _evaluated(board: Board) -> str:
    """On which photos stages were scored, how many of their split they are, and the fingerprint of their masks."""
    stages: dict[str, list[str]] = {}
    for stage in dict.fromkeys(column.stage for column in columns_of(board)):
        if stage in board.evaluations:
            split, fingerprint = board.evaluations[stage]
            where = f"{_counted(board, stage)}{split} ({fingerprint[:12]})"
            stages.setdefault(where, []).append(stage.replace("_", " "))
    return "; ".join(f"{', '.join(names)} on {where}" for where, names in stages.items())


def _counted(board: Board, stage: str) -> str:
    """`31 photos of `, or `14 of 31 photos of ` where some have no true mask; empty where rows do not tell it."""
    scored = max(row.photos for row in board.rows if row.stage == stage)
    of_split = max(row.photos_of_split for row in board.rows if row.stage == stage)
    if not scored:
        return ""
    if scored < of_split:
        return f"{scored} of {counted(of_split, 'photo')} of "
    return f"{counted(scored, 'photo')} of "


def _order(lines: list[Line]) -> list[str]:
    """By what lines are ordered, where that does not go without saying: some lack the stage that most of them have."""
    leading = leading_column(lines)
    if all(leading in line.cells for line in lines):
        return []
    return [
        f"order: by {leading.title}; a line without it stands above those at the end that it beats at its last stage"
    ]


def _masks(lines: list[Line]) -> str:
    """What masks are counted, and how many of them were used before the run."""
    declared = sorted({line.masks_declared for line in lines} - {0})
    if not declared:
        return MASKS
    numbers = " or ".join(map(str, declared))
    return f"{MASKS}; {numbers} of the former before it, to choose the options that the suite declares"


def _unranked(board: Board, line: Line, provisional: str) -> str:
    if line.tier == "published":
        return "published: other masks, protocol or photos cannot be excluded"
    if line.is_ceiling:
        return "a ceiling, given true masks"
    if provisional:
        return f"provisional, {provisional}"
    if not board.ranked:
        return f"policy {board.policy}"
    return f"fewer than {SEEDS_TO_RANK} rng seeds" if len(line.rng_seeds) < SEEDS_TO_RANK else ""


def _name(line: Line, unranked: str, notes: _Notes) -> str:
    stale = notes.mark(f"{STALE}: {', '.join(line.stale)}") if line.stale else ""
    elsewhere = f" {TIER_MARKS[line.tier]}" if line.tier in TIER_MARKS else ""
    return f"{line.name}{elsewhere}{' †' if unranked else ''}{stale}"


def _text(cell: Cell | None, field: str, joined: Mapping[str, str], notes: _Notes) -> str:
    """A cell as it is shown; `joined` has the title of the column that stands for one that is not shown."""
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
        title = joined.get(cell.same_counts_as, cell.same_counts_as)
        text += notes.mark(f"the same counts as {title} of {cell.same_counts_in}")
    elif cell.same_counts_as and cell.same_counts_as not in joined:
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
        "inputs": cell.rows[0].inputs,
        "options": line.option_set.options,
        **{name: getattr(cell.rows[0], name) for name in EPOCHS},
        "policy": board.policy,
        "protocol": board.protocol,
        "recipe": line.option_set.recipe,
        "setting": line.setting,
        "stage": column.stage,
        "variant": column.variant,
        "tier": TIERS[line.tier],
        "miou": cell.mean(),
        "miou_std": cell.std(),
        "miou_covered": cell.mean("miou_covered"),
        "miou_covered_std": cell.std("miou_covered"),
        "coverage": cell.mean("coverage"),
        "precision": cell.mean("precision"),
        "same_counts_as": " of ".join(filter(None, [cell.same_counts_as, cell.same_counts_in])),
        "thresholds": " ".join(f"{row.threshold:.3g}" for row in cell.rows if row.threshold is not None),
        "photos": cell.rows[0].photos,
        "photos_of_split": cell.rows[0].photos_of_split,
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


def _per_class(columns: tuple[Column, ...], lines: list[Line], facts: Facts) -> Table:
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
        settings = (line.setting,) if facts.has_settings else ()
        shown.append((line.name, *settings, column.title, *("–" if v is None else f"{v:.3f}" for v in means.values())))
        records.append({"recipe": line.name, "setting": line.setting, **column._asdict(), **means})
    head = ("recipe", "setting", "scored") if facts.has_settings else ("recipe", "scored")
    return Table(BY_CLASS, (*head, *names), tuple(shown), (), tuple(records))


def _class_mean(values: list[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return fmean(defined) if len(defined) == len(values) else None
